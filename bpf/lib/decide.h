// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The slow path: where to (translate.h), who sends, who receives (ends.h), which way out (route.h); then the flow's entry is written and the
// decision carried out. Read in the order a packet meets it:
//
//   parse -> (generations) -> translate -> destination -> source -> flow entry -> route -> source address -> policy -> size ->
//   other entry -> event -> out
//
// Generations are read before anything they cover is looked up (bpf/api/generation.h).
#pragma once

#include "bpf/lib/route.h"

// A pod of this node asks, or is answered. A server's pod meets others' questions on the fast path.
static __always_inline bool is_pods_dns(const struct scratch *s)
{
	const struct packet *p = &s->packet;

	if (p->proto != IPPROTO_UDP)
		return false;
	return (p->dport == bpf_htons(DNS_PORT) && s->src.id) || (p->sport == bpf_htons(DNS_PORT) && s->dst.id);
}

// TCP's and everybody else's life: flags, lifetime, whether plain packets may be replayed. Works on
// scratch.life; returns whether this packet says something new that should be reported.
__noinline int advance_state(__u32 dir, __u32 now)
{
	struct scratch *s = scratch();
	const __u16 closing = FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH;
	struct connection_life *life;
	int report = 0;
	__u16 flags;
	__u8 seen;

	if (!s)
		return 0;
	life = &s->life;
	flags = life->flags;
	dir &= 1;
	if (dir != !!(flags & FLOW_F_INITIATOR_HIGH) && !(flags & FLOW_F_REPLIED)) {
		flags |= FLOW_F_REPLIED;
		report = 1;
	}
	if (s->packet.proto == IPPROTO_TCP) {
		__u8 tcp_flags = s->packet.tcp_flags;

		seen = life->tcp_flags[dir];
		if (tcp_flags & ~seen & trace_cfg.report_tcp_flags)
			report = 1;
		life->tcp_flags[dir] = seen | tcp_flags;
		// Of replies that go past this node nobody sees the end.
		if ((tcp_flags & TCP_RST) || ((tcp_flags & TCP_FIN) && nat_on() && is_one_way(flags)))
			flags |= closing;
		else if (tcp_flags & TCP_FIN)
			flags |= dir ? FLOW_F_CLOSING_HIGH : FLOW_F_CLOSING_LOW;
		if (!(tcp_flags & TCP_SYN))
			flags |= FLOW_F_ESTABLISHED;
		if ((flags & closing) == closing) {
			life->expires = now + ct_cfg.regular_tcp_fin;
			flags &= ~FLOW_F_FAST;
		} else if (flags & FLOW_F_ESTABLISHED) {
			life->expires = now + ct_cfg.regular_tcp;
			flags |= FLOW_F_FAST;
		} else {
			life->expires = now + ct_cfg.regular_tcp_syn;
		}
	} else {
		life->expires = now + ct_cfg.regular_any;
		// Each DNS message is told of: the fast path does not look into packets.
		if (trace_cfg.dns && is_pods_dns(s))
			flags &= ~FLOW_F_FAST;
		else
			flags |= FLOW_F_FAST;
	}
	// Every packet is to be reported: none may leave by the fast path.
	if (trace_cfg.aggregation < TRACE_AGGREGATE_MEDIUM) {
		flags &= ~FLOW_F_FAST;
		report = 1;
	}
	life->flags = flags;
	return report;
}

static __always_inline __u8 trace_point(const struct flow_half *half, __u32 hook, bool to_host)
{
	switch (half->action) {
	case FLOW_DELIVER:
		return TRACE_TO_LXC;
	case FLOW_ENCAP:
	case FLOW_TUNNEL_DEV:
		return TRACE_TO_OVERLAY;
	case FLOW_NEIGH:
		return TRACE_TO_NETWORK;
	default:
		if (hook == HOOK_POD_INGRESS)
			return TRACE_TO_LXC;
		if (hook == HOOK_NETDEV_EGRESS)
			return TRACE_TO_NETWORK;
		return to_host ? TRACE_TO_HOST : TRACE_TO_STACK;
	}
}

// Of a packet that has its tunnel key. 0: done.
__noinline int name_frontend(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	if (!s)
		return -DROP_HOST_NOT_READY;
	if (s->packet.ethertype == ETH_P_IPV6)
		return put_tunnel_option(skb, &s->nat.from, true) ? 0 : -DROP_WRITE_ERROR;
	return put_tunnel_option(skb, &s->nat.from, false) ? 0 : -DROP_WRITE_ERROR;
}

// Carries out scratch.out. A verdict, or -DROP_*.
__noinline int forward(struct __sk_buff *skb, __u32 at_ingress)
{
	struct scratch *s = scratch();
	struct flow_half *out;
	int ret;

	if (!s)
		return -DROP_HOST_NOT_READY;
	out = &s->out;
	if (out->action == FLOW_STACK)
		return AXO_PASS;
	if (!decrement_ttl(skb, ETH_HLEN, s->packet.ethertype == ETH_P_IPV6))
		return -DROP_INVALID;
	switch (out->action) {
	case FLOW_DELIVER:
		return at_ingress ? deliver(skb, out, true) : deliver(skb, out, false);
	case FLOW_NEIGH:
		return redirect_next_hop(skb, out);
	case FLOW_ENCAP:
		return push_tunnel_headers(skb);
	case FLOW_TUNNEL_DEV:
		ret = hand_to_tunnel_device(skb);
		return ret >= 0 && names_frontend(s) && name_frontend(skb) ? -DROP_WRITE_ERROR : ret;
	default:
		return -DROP_NO_FIB;
	}
}

// Is the entry that was found this connection's, or the remains of one that had the same addresses and ports?
static __always_inline bool same_connection(const struct flow *flow, const struct scratch *s, __u32 dir)
{
	const bool original = dir == !!(flow->flags & FLOW_F_INITIATOR_HIGH);
	const struct packet *p = &s->packet;

	if ((original ? flow->endpoint_src : flow->endpoint_dst) != s->src.id ||
	    (original ? flow->endpoint_dst : flow->endpoint_src) != s->dst.id)
		return false;
	return p->proto != IPPROTO_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN ||
	       !(flow->flags & (FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH));
}

// Does an error go to whom the packet that it quotes came from?
static __always_inline bool is_for(const struct packet *quoted, const struct packet *error, const bool v6)
{
	if (v6)
		return !((quoted->daddr.ip6[0] ^ error->daddr.ip6[0]) | (quoted->daddr.ip6[1] ^ error->daddr.ip6[1]) |
			 (quoted->daddr.ip6[2] ^ error->daddr.ip6[2]) | (quoted->daddr.ip6[3] ^ error->daddr.ip6[3]));
	return quoted->daddr.ip4 == error->daddr.ip4;
}

// Path MTU discovery works whatever the policy.
static __always_inline bool is_mtu_error(const struct packet *p, const bool v6)
{
	return v6 ? p->icmp_type == ICMPV6_PKT_TOOBIG : p->icmp_type == ICMP_DEST_UNREACH && p->icmp_code == ICMP_FRAG_NEEDED;
}

// A pod that reaches itself; and what legacy routing only translates at the uplink: the program that delivers it asks.
static __always_inline bool is_unasked(const struct scratch *s, __u32 hook)
{
	return (s->nat.flags & FLOW_F_LOOPBACK) || (node_cfg.legacy_routing && hook == HOOK_NETDEV && s->nat.stage && !s->to_host);
}

// What policy is to be asked: about the connection as it was opened, not about this packet.
static __always_inline int judge(struct __sk_buff *skb, __u32 hook, const bool v6)
{
	struct scratch *s = scratch();
	struct connection_policy *q;
	const struct packet *p;

	if (!s)
		return AXO_DROP;
	q = &s->policy;
	p = &s->packet;
	if (p->flags & PACKET_ICMP_ERROR) {
		if (s->event.reason == TRACE_REASON_RELATED || is_mtu_error(p, v6))
			return AXO_PASS;
	}
	if (is_asked_at_frontend(s) && ask_frontend(skb) != AXO_PASS)
		return AXO_DROP;
	if (nat_on() && is_unasked(s, hook))
		return AXO_PASS;
	q->slot = policy_slot_of(p->proto);
	if (s->reply) {
		q->reference[POLICY_EGRESS] = s->dst.policy;
		q->reference[POLICY_INGRESS] = s->src.policy;
		q->ask = (has_say(&s->dst) ? 1 << POLICY_EGRESS : 0) | (has_say(&s->src) ? 1 << POLICY_INGRESS : 0);
		// Where a connection goes is what the ipcache says, as when it was opened; who opens it is what the tunnel says.
		q->peer[POLICY_EGRESS] = hook == HOOK_OVERLAY ? ipcache_identity(&p->saddr, v6) : s->src.identity;
		q->peer[POLICY_INGRESS] = who_opened(s);
		q->port = bpf_ntohs(p->sport);
	} else {
		q->reference[POLICY_EGRESS] = s->src.policy;
		q->reference[POLICY_INGRESS] = s->dst.policy;
		q->ask = (has_say(&s->src) ? 1 << POLICY_EGRESS : 0) | (has_say(&s->dst) ? 1 << POLICY_INGRESS : 0);
		q->peer[POLICY_EGRESS] = s->dst.identity;
		q->peer[POLICY_INGRESS] = s->src.identity;
		q->port = bpf_ntohs(p->dport);
	}
	if (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6)
		q->port = s->reply || (p->flags & PACKET_LATER_FRAG) ? q->opener_icmp_type : p->icmp_type;
	return apply_policy(skb, s);
}

__noinline int judge4(struct __sk_buff *skb, __u32 hook)
{
	return judge(skb, hook, false);
}

__noinline int judge6(struct __sk_buff *skb, __u32 hook)
{
	return judge(skb, hook, true);
}

// Puts scratch.out into the flow. A reader on another CPU sees the old decision, none, or the new one.
static __always_inline void store_decision(struct flow_half *half, const struct flow_half *out)
{
	WRITE_ONCE(half->stamp, 0);
	barrier();
	half->decided_at = out->decided_at;
	half->ifindex_in = out->ifindex_in;
	half->ifindex_out = out->ifindex_out;
	half->identity = out->identity;
	half->action = out->action;
	half->flags = out->flags;
	half->mtu = out->mtu;
	half->dep_src = out->dep_src;
	half->dep_dst = out->dep_dst;
	half->bucket_src = out->bucket_src;
	half->bucket_dst = out->bucket_dst;
	half->route = out->route; // the union's larger member
	barrier();
	WRITE_ONCE(half->stamp, out->stamp);
}

static __always_inline void report_trace(struct __sk_buff *skb, struct scratch *s, const struct flow_half *half, __u32 hook)
{
	struct event_args *ev = &s->event;
	const bool tunnelled = hook == HOOK_OVERLAY || half->action == FLOW_ENCAP || half->action == FLOW_TUNNEL_DEV;

	ev->type = EVENT_TRACE;
	ev->subtype = trace_point(half, hook, s->to_host);
	ev->flags = (is_egress(hook) ? 0 : EVENT_F_INGRESS) | (tunnelled ? EVENT_F_TUNNEL : 0);
	ev->ifindex = half->action == FLOW_STACK ? CTX_FIELD(skb, ifindex) : half->ifindex_out;
	ev->rule_cookie = s->policy.cookie[is_egress(hook) ? POLICY_EGRESS : POLICY_INGRESS];
	ev->packets = half->packets;
	ev->bytes = half->bytes;
	report_event(skb);
}

// What a pod asks, where it leaves the pod, and what it is answered, where it is about to reach it: once each.
static __always_inline void report_dns(struct __sk_buff *skb, struct scratch *s, const struct flow_half *half, __u32 hook)
{
	const struct packet *p = &s->packet;
	struct event_args *ev = &s->event;

	if (p->flags & PACKET_FRAGMENT)
		return;
	if (p->dport == bpf_htons(DNS_PORT) ? hook != HOOK_POD_EGRESS : trace_point(half, hook, s->to_host) != TRACE_TO_LXC)
		return;
	ev->type = EVENT_DNS;
	ev->subtype = 0;
	ev->flags = is_egress(hook) ? 0 : EVENT_F_INGRESS;
	ev->ifindex = CTX_FIELD(skb, ifindex);
	ev->rule_cookie = POLICY_COOKIE_NONE;
	ev->packets = ev->bytes = 0;
	report_dns_message(skb);
}

// Does the way out take it in one piece?
static __always_inline bool fits(struct __sk_buff *skb, const struct packet *p, const struct flow_half *half)
{
	__u32 header_len = p->l4_off - ETH_HLEN + (p->proto == IPPROTO_TCP ? 20 : 8);

	return wire_length(skb, CTX_FIELD(skb, len) - ETH_HLEN, header_len) <= half->mtu;
}

// What has the node's own address, coming in, the stack takes for a forgery: it cannot be left to it to be fragmented.
static __always_inline bool may_fragment(const struct scratch *s, const struct flow_half *half)
{
	return !(half->action == FLOW_NEIGH && nat_on() && s->nat.stage && (s->nat.flags & (FLOW_F_SNAT | FLOW_F_NODE_PORT)));
}

// Left to somebody who can fragment: the kernel's stack, or the tunnel device.
static __always_inline void let_fragment(struct flow_half *out)
{
	if (out->action == FLOW_NEIGH) {
		out->action = FLOW_STACK;
	} else if (out->action == FLOW_ENCAP) {
		out->action = FLOW_TUNNEL_DEV;
		out->flags = (out->flags & (FLOW_HALF_AS_NODE | FLOW_HALF_AS_WORLD)) | (tunnel_cfg.underlay_v6 ? FLOW_HALF_TUNNEL_V6 : 0);
	}
}

// What the entry of a new connection says of its translation.
static __always_inline void note_translation(struct scratch *s, struct flow *flow, __u32 dir, const bool v6)
{
	struct translation *t = &s->nat;

	if (t->stage) {
		if (t->stage == NAT_NEW)
			compute_deltas(&t->to, &t->from, s->packet.proto, v6);
		flow->rewrite = t->to;
		flow->flags |= t->flags | (FLOW_F_REWRITE_LOW << (dir & 1));
		flow->backend_id = t->backend_id;
		flow->rev_nat = t->rev_nat;
	} else if (t->dsr) {
		// The replies' part of what the node with the frontend has done.
		flow->rewrite.saddr = t->frontend.saddr;
		flow->rewrite.sport = t->frontend.sport;
		flow->rewrite.daddr = t->from.saddr;
		flow->rewrite.dport = t->from.sport;
		reply_deltas(&flow->rewrite, &t->from, v6);
		flow->flags |= FLOW_F_DSR | (FLOW_F_REWRITE_HIGH >> (dir & 1));
	}
}

// The other entry of a new connection. 0, or -DROP_*.
static __always_inline int open_twin(struct __sk_buff *skb, struct scratch *s, struct flow *flow, const struct flow_half *half, __u32 dir,
				     __u32 hook, __u32 now, const bool v6)
{
	__u32 twin_dir = build_twin(s, flow, dir, v6);
	int ret;

	if (hook == HOOK_POD_EGRESS)
		decide_way_back(s, half, half_of(&s->twin, twin_dir ^ 1), now);
	ret = v6 ? reserve6(skb, twin_dir) : reserve4(skb, twin_dir);
	flow->rewrite = s->nat.to; // the port may have become another
	return ret;
}

// The flow's entry, the decision, and out.
static __always_inline int connect(struct __sk_buff *skb, __u32 hook, const bool v6)
{
	const bool at_ingress = is_at_ingress(hook);
	const __u8 direction = is_egress(hook) ? METRIC_EGRESS : METRIC_INGRESS;
	__u32 now = now_tick(), dir = 0;
	struct scratch *s = scratch();
	struct flow *flow = NULL;
	struct flow_half *half;
	struct packet *p;
	long ret;

	if (!s)
		return AXO_DROP; // cannot happen: an array map has all its entries
	p = &s->packet;
	// These live in memory: in registers the verifier would follow each of their values separately.
	WRITE_ONCE(s->is_new, 0);
	WRITE_ONCE(s->report, p->flags & PACKET_ICMP_ERROR);
	s->event.reason = TRACE_REASON_NEW;
	s->policy.cookie[POLICY_EGRESS] = s->policy.cookie[POLICY_INGRESS] = POLICY_COOKIE_NONE;
	if (READ_ONCE(p->flags) & PACKET_ICMP_ERROR) {
		// An error belongs to the flow it quotes and makes none of its own; it is routed by its own addresses.
		if (nat_on() && s->nat.stage) {
			s->event.reason = TRACE_REASON_RELATED;
		} else if (!parse_icmp_quote(skb)) {
			struct packet *q = &s->quoted;

			make_flow_key(&s->key, &q->saddr, &q->daddr, q->sport, q->dport, q->proto, v6);
			if (is_for(q, p, v6) && lookup_flow(&s->key, v6))
				s->event.reason = TRACE_REASON_RELATED;
		}
	} else {
		if (nat_on()) // by its addresses as it came
			dir = READ_ONCE(s->nat.dir);
		else
			dir = make_flow_key(&s->key, &p->saddr, &p->daddr, p->sport, p->dport, p->proto, v6);
		flow = lookup_flow(&s->key, v6);
		if (flow && ((nat_on() && s->nat.afresh) || !same_connection(flow, s, dir)))
			flow = NULL;
		if (!flow) {
			WRITE_ONCE(s->is_new, 1);
			WRITE_ONCE(s->report, 1);
		}
	}
	if (!flow) {
		flow = &s->flow;
		__builtin_memset(flow, 0, sizeof(*flow));
		flow->created = now;
		flow->flags = (dir ? FLOW_F_INITIATOR_HIGH : 0) | (s->src.id && s->dst.id ? FLOW_F_LOCAL : 0);
		flow->endpoint_src = s->src.id;
		flow->endpoint_dst = s->dst.id;
		flow->icmp_type = p->icmp_type;
	}
	// Of an error there is no entry: it opens nothing and replies to nothing.
	WRITE_ONCE(s->reply, (dir ^ flow->flags) & FLOW_F_INITIATOR_HIGH);
	if (!READ_ONCE(s->is_new) && !(READ_ONCE(p->flags) & PACKET_ICMP_ERROR))
		s->event.reason = TRACE_REASON_ESTABLISHED + READ_ONCE(s->reply);
	half = half_of(flow, dir);
	if (!half_is_current(half, s->ifindex_in, now) || half->identity != s->src.identity ||
	    (READ_ONCE(p->flags) & PACKET_ICMP_OTHER)) {
		ret = v6 ? decide_route6(skb, hook) : decide_route4(skb, hook);
		if (ret)
			DROP(-ret);
		if (nat_on() && READ_ONCE(s->is_new) && s->nat.stage != NAT_KNOWN) {
			ret = v6 ? choose_source6(hook) : choose_source4(hook);
			if (ret)
				DROP(-ret);
		}
		s->event.identity_dst = s->dst.identity;
		s->policy.opener = flow->identity_src;
		s->policy.opener_ifindex = half_of(flow, dir ^ 1)->ifindex_in;
		s->policy.opener_icmp_type = flow->icmp_type;
		ret = v6 ? judge6(skb, hook) : judge4(skb, hook);
		if (ret != AXO_PASS) {
			// The entry stays, to be decided again by every packet: what allows it opens it with the next one.
			flow->flags &= ~FLOW_F_FAST;
			WRITE_ONCE(flow->half[0].stamp, 0);
			WRITE_ONCE(flow->half[1].stamp, 0);
			if (!READ_ONCE(s->reply))
				flow->identity_src = s->src.identity;
			return AXO_DROP;
		}
		if (!READ_ONCE(s->reply)) {
			flow->identity_src = s->src.identity;
			flow->identity_dst = s->dst.identity;
		}
		flow->egress_cookie = s->policy.cookie[POLICY_EGRESS];
		flow->ingress_cookie = s->policy.cookie[POLICY_INGRESS];
		store_decision(half, &s->out);
		if (half->action == FLOW_ENCAP && !flow->tunnel_sport)
			flow->tunnel_sport = tunnel_source_port(skb);
		WRITE_ONCE(s->report, 1);
	} else {
		s->policy.cookie[POLICY_EGRESS] = flow->egress_cookie;
		s->policy.cookie[POLICY_INGRESS] = flow->ingress_cookie;
		if (!s->dst.id)
			s->dst.identity = READ_ONCE(s->reply) ? flow->identity_src : flow->identity_dst;
	}
	s->event.identity_dst = s->dst.identity;
	if (nat_on() && (READ_ONCE(s->is_new) || s->nat.dsr))
		note_translation(s, flow, dir, v6);
	if (READ_ONCE(s->is_new) && hook == HOOK_POD_EGRESS && !(nat_on() && s->nat.stage))
		decide_way_back(s, half, half_of(flow, dir ^ 1), now);

	if (p->ttl <= 1 && half->action != FLOW_STACK) {
		count_packet(DROP_TTL_EXCEEDED, direction, CTX_FIELD(skb, len));
		return reply_time_exceeded(skb, at_ingress, v6);
	}
	if (unlikely(!fits(skb, p, half)) && ((p->flags & PACKET_DF) || !may_fragment(s, half))) {
		count_packet(REASON_MTU_ERROR_MSG, direction, CTX_FIELD(skb, len));
		return reply_too_big(skb, half->mtu, at_ingress, v6);
	}
	account(half, CTX_FIELD(skb, len));
	if (!(READ_ONCE(p->flags) & PACKET_ICMP_ERROR)) {
		s->life.flags = flow->flags;
		s->life.tcp_flags[0] = flow->tcp_flags[0];
		s->life.tcp_flags[1] = flow->tcp_flags[1];
		if (advance_state(dir, now))
			WRITE_ONCE(s->report, 1);
		flow->flags = s->life.flags;
		flow->tcp_flags[0] = s->life.tcp_flags[0];
		flow->tcp_flags[1] = s->life.tcp_flags[1];
		flow->expires = s->life.expires;
		if (nat_on() && s->nat.stage && !(s->nat.flags & FLOW_F_DSR)) {
			if (!READ_ONCE(s->is_new)) {
				ret = v6 ? keep_twin6(dir) : keep_twin4(dir);
				if (ret)
					DROP(DROP_NAT_NO_MAPPING);
			} else if (s->nat.stage == NAT_NEW) {
				ret = open_twin(skb, s, flow, half, dir, hook, now, v6);
				if (ret)
					DROP(-ret);
			}
		}
	}
	if (READ_ONCE(s->is_new)) {
		ret = insert_flow(&s->key, flow, v6);
		// A table full of pods' connections does not cut the node off: what its policy allows passes, and is not remembered.
		if (ret && !(node_cfg.host_firewall && !s->src.id && !s->dst.id && half->action == FLOW_STACK)) {
			s->event.ext_error = (__s8)ret;
			if (nat_on() && s->nat.stage == NAT_NEW && !(s->nat.flags & FLOW_F_DSR))
				remove_twin(s, v6);
			DROP(DROP_CT_CREATE_FAILED);
		}
	}
	if (trace_cfg.trace && READ_ONCE(s->report))
		report_trace(skb, s, half, hook);
	if (trace_cfg.dns && is_pods_dns(s))
		report_dns(skb, s, half, hook);
	count_packet(FORWARDED, direction, CTX_FIELD(skb, len));
	s->out = *half;
	s->out_sport = flow->tunnel_sport;
	if (unlikely(!fits(skb, p, half)) || (s->out.action == FLOW_ENCAP && names_frontend(s)))
		let_fragment(&s->out);
	if (nat_on() && s->nat.stage && !(v6 ? apply_translation6(skb) : apply_translation4(skb)))
		DROP(DROP_WRITE_ERROR);
	ret = forward(skb, at_ingress);
	if (unlikely(ret < AXO_PASS))
		DROP(-ret);
	return ret;
}

__noinline int connect4(struct __sk_buff *skb, __u32 hook)
{
	return connect(skb, hook, false);
}

__noinline int connect6(struct __sk_buff *skb, __u32 hook)
{
	return connect(skb, hook, true);
}

static __always_inline int slow_path(struct __sk_buff *skb, const enum hook hook, const bool v6)
{
	const struct generations *g = generations();
	struct scratch *s = scratch();
	int verdict;

	if (!s || !g)
		return AXO_DROP; // cannot happen: array maps have all their entries
	verdict = find_ends(skb, s, g, hook, v6);
	if (verdict != FORWARD)
		return verdict;
	return v6 ? connect6(skb, hook) : connect4(skb, hook);
}

#undef DROP
