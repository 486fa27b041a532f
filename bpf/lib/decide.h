// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The slow path: who sends, who receives, which way out; then the flow's entry is written and the
// decision carried out. Read in the order a packet meets it:
//
//   parse -> source -> (generations) -> destination -> flow entry -> route -> size -> event -> out
//
// Generations are read before anything they cover is looked up (bpf/api/generation.h).
#pragma once

#include "bpf/lib/event.h"
#include "bpf/lib/fast.h"
#include "bpf/lib/icmp.h"

enum hook {
	HOOK_POD_EGRESS,  // cil_from_container: what a pod sends
	HOOK_POD_INGRESS, // cil_to_container: what reaches a pod through the stack
	HOOK_NETDEV,	  // cil_from_netdev
	HOOK_OVERLAY,	  // cil_from_overlay
	HOOK_HOST,	  // cil_from_host: what the node routes towards pods
};

#define ID_HOST 1
#define ID_WORLD 2
#define ID_WORLD_IPV4 9
#define ID_WORLD_IPV6 10
#define MAX_GLOBAL_IDENTITY 0x00ffffff

static __always_inline __u32 world_identity(const bool v6)
{
	if (node_cfg.ipv4 && node_cfg.ipv6)
		return v6 ? ID_WORLD_IPV6 : ID_WORLD_IPV4;
	return ID_WORLD;
}

static __noinline struct endpoint_info *lookup_endpoint(const union axo_addr *addr, const bool v6)
{
	struct endpoint_key key = { .family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4 };

	if (v6)
		__builtin_memcpy(key.addr.ip6, addr->ip6, 16);
	else
		key.addr.ip4 = addr->ip4;
	return bpf_map_lookup_elem(&cilium_lxc, &key);
}

static __noinline const struct remote_endpoint_info *lookup_ipcache(const union axo_addr *addr, const bool v6)
{
	struct ipcache_key key = { .family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4 };

	if (v6) {
		key.prefixlen = IPCACHE_STATIC_PREFIX + 128;
		__builtin_memcpy(key.addr.ip6, addr->ip6, 16);
	} else {
		key.prefixlen = IPCACHE_STATIC_PREFIX + 32;
		key.addr.ip4 = addr->ip4;
	}
	return bpf_map_lookup_elem(&cilium_ipcache_v2, &key);
}

static __always_inline __u32 ipcache_identity(const union axo_addr *addr, const bool v6)
{
	const struct remote_endpoint_info *info = lookup_ipcache(addr, v6);

	// "world" of a dual-stack cluster has one identity per family.
	if (!info || info->sec_identity == ID_WORLD)
		return world_identity(v6);
	return info->sec_identity;
}

static __always_inline bool is_link_scope(const union axo_addr *addr, const bool v6)
{
	if (v6)
		return (addr->ip6[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) ||
		       (addr->ip6[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
	return (addr->ip4 & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || addr->ip4 == 0xffffffff;
}

// Next hop and device towards an address by the kernel's routes. False: the kernel would not
// forward this (local, unreachable, forwarding off …), so it is the kernel that must answer.
static __always_inline bool resolve_route(struct __sk_buff *skb, struct bpf_fib_lookup *fib, struct flow_half *half, const union axo_addr *src,
					  const union axo_addr *dst, __u16 overhead, const bool v6)
{
	long ret;

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = CTX_FIELD(skb, ifindex);
	// Not the real length: it asks for the route's MTU without a verdict about this packet (5.12).
	fib->tot_len = 1;
	if (v6) {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, src->ip6, 16);
		__builtin_memcpy(fib->ipv6_dst, dst->ip6, 16);
	} else {
		fib->family = AF_INET;
		fib->ipv4_src = src->ip4;
		fib->ipv4_dst = dst->ip4;
	}
	ret = bpf_fib_lookup(skb, fib, sizeof(*fib), node_cfg.has_fib_skip_neigh ? AXO_FIB_LOOKUP_SKIP_NEIGH : 0);
	if (ret != BPF_FIB_LKUP_RET_SUCCESS && ret != BPF_FIB_LKUP_RET_NO_NEIGH)
		return false;
	half->ifindex_out = fib->ifindex;
	half->mtu = (fib->mtu_result > 1 ? fib->mtu_result : node_cfg.mtu) - overhead;
	if (fib->family == AF_INET6) {
		half->flags |= FLOW_HALF_NH_V6;
		__builtin_memcpy(half->route.next_hop.ip6, fib->ipv6_dst, 16);
	} else {
		half->route.next_hop.ip4 = fib->ipv4_dst;
	}
	return true;
}

// The way to a tunnel endpoint: pushed headers where that is on and possible, the device otherwise.
static __always_inline void route_tunnel(struct __sk_buff *skb, struct bpf_fib_lookup *fib, struct flow_half *half, const struct remote_endpoint_info *info)
{
	const bool endpoint_v6 = info->flags & IPCACHE_F_IPV6_TUNNEL_EP;
	union axo_addr node = {};

	half->action = FLOW_TUNNEL_DEV;
	half->flags = endpoint_v6 ? FLOW_HALF_TUNNEL_V6 : 0;
	half->mtu = node_cfg.mtu - tunnel_cfg.overhead;
	half->route.tunnel_endpoint = info->tunnel_endpoint;
	if (!tunnel_cfg.fast || endpoint_v6 != !!tunnel_cfg.underlay_v6)
		return;
	if (tunnel_cfg.underlay_v6) {
		__builtin_memcpy(node.ip6, (const void *)tunnel_cfg.node_ip6, 16);
		if (!resolve_route(skb, fib, half, &node, &half->route.tunnel_endpoint, tunnel_cfg.overhead, true))
			return;
	} else {
		node.ip4 = tunnel_cfg.node_ip4;
		if (!resolve_route(skb, fib, half, &node, &half->route.tunnel_endpoint, tunnel_cfg.overhead, false))
			return;
	}
	half->action = FLOW_ENCAP;
}

static __always_inline void route_local(struct flow_half *half, const struct endpoint_info *ep)
{
	half->action = FLOW_DELIVER;
	half->flags = node_cfg.has_redirect_peer && !node_cfg.legacy_routing ? FLOW_HALF_PEER : 0;
	half->mtu = 0xffff;
	half->ifindex_out = ep->ifindex;
	half->deliver.dmac = ep->mac;
	half->deliver.smac = ep->node_mac;
}

// An endpoint of this node, copied out of the map: what a decision needs of it.
struct local_end {
	__u32 ifindex;
	__u32 identity;
	__u16 id; // 0: not local
};

static __always_inline __be16 tunnel_source_port(struct __sk_buff *skb)
{
	__u32 low = tunnel_cfg.sport_low ? tunnel_cfg.sport_low : 32768;
	__u32 high = tunnel_cfg.sport_high > low ? tunnel_cfg.sport_high : 61000;

	return bpf_htons(low + bpf_get_hash_recalc(skb) % (high - low + 1));
}

// TCP's and everybody else's life: flags, lifetime, whether plain packets may be replayed.
// Returns whether this packet says something new that should be reported.
static __always_inline bool advance_state(struct flow *flow, struct flow_half *half, const struct packet *p, __u32 dir, __u32 now)
{
	__u16 flags = flow->flags;
	const bool original = dir == !!(flags & FLOW_F_INITIATOR_HIGH);
	const __u16 closing = FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH;
	bool report = false;
	__u8 seen;

	if (!original && !(flags & FLOW_F_REPLIED)) {
		flags |= FLOW_F_REPLIED;
		report = true;
	}
	if (p->proto == IPPROTO_TCP) {
		seen = dir ? flow->tcp_flags[1] : flow->tcp_flags[0];
		if (p->tcp_flags & ~seen & trace_cfg.report_tcp_flags)
			report = true;
		if (dir)
			flow->tcp_flags[1] = seen | p->tcp_flags;
		else
			flow->tcp_flags[0] = seen | p->tcp_flags;
		if (p->tcp_flags & TCP_RST)
			flags |= closing;
		else if (p->tcp_flags & TCP_FIN)
			flags |= dir ? FLOW_F_CLOSING_HIGH : FLOW_F_CLOSING_LOW;
		if (!(p->tcp_flags & TCP_SYN))
			flags |= FLOW_F_ESTABLISHED;
		if ((flags & closing) == closing) {
			flow->expires = now + ct_cfg.regular_tcp_fin;
			flags &= ~FLOW_F_FAST;
		} else if (flags & FLOW_F_ESTABLISHED) {
			flow->expires = now + ct_cfg.regular_tcp;
			flags |= FLOW_F_FAST;
		} else {
			flow->expires = now + ct_cfg.regular_tcp_syn;
		}
	} else {
		flow->expires = now + ct_cfg.regular_any;
		flags |= FLOW_F_FAST;
	}
	// Every packet is to be reported: none may leave by the fast path.
	if (trace_cfg.aggregation < TRACE_AGGREGATE_MEDIUM) {
		flags &= ~FLOW_F_FAST;
		report = true;
	}
	flow->flags = flags;
	return report;
}

static __always_inline __u8 trace_point(const struct flow_half *half, const enum hook hook, bool to_host)
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
		return to_host ? TRACE_TO_HOST : TRACE_TO_STACK;
	}
}

// Carries out scratch.out.
static __always_inline long forward(struct __sk_buff *skb, struct scratch *s, const bool at_ingress, const bool v6)
{
	struct flow_half *out = &s->out;

	if (out->action == FLOW_STACK)
		return AXO_PASS;
	if (!decrement_ttl(skb, ETH_HLEN, v6))
		return -DROP_INVALID;
	switch (out->action) {
	case FLOW_DELIVER:
		return deliver(skb, out, at_ingress);
	case FLOW_NEIGH:
		return redirect_next_hop(skb, out);
	case FLOW_ENCAP:
		return push_tunnel_headers(skb);
	case FLOW_TUNNEL_DEV:
		return hand_to_tunnel_device(skb);
	default:
		return -DROP_NO_FIB;
	}
}

static __always_inline int slow_path(struct __sk_buff *skb, const enum hook hook, const bool v6)
{
	const bool at_ingress = hook != HOOK_HOST && hook != HOOK_POD_INGRESS;
	const __u8 direction = hook == HOOK_POD_EGRESS ? METRIC_EGRESS : METRIC_INGRESS;
	__u32 ifindex_in = hook == HOOK_OVERLAY ? tunnel_cfg.ifindex : CTX_FIELD(skb, ifindex);
	__u32 now = now_tick(), dir, base_stamp, stamp, header_len;
	struct scratch *s = scratch();
	struct local_end src = {}, dst = {};
	struct axo_mac src_mac = {}, src_node_mac = {};
	struct endpoint_info *dst_ep;
	const struct generations *g;
	struct flow *flow, *fresh;
	struct event_args *ev;
	union flow_key *key;
	struct packet *p;
	struct flow_half *half;
	bool fresh_decision = false, report = false, is_new = false, related = false, to_host = false;
	int reason, line;
	long ret;

	g = generations();
	if (!s || !g)
		return AXO_DROP; // cannot happen: array maps have all their entries
	p = &s->packet;
	ev = &s->event;
	key = &s->key;
	fresh = &s->flow;
	__builtin_memset(ev, 0, sizeof(*ev));

#define DROP(r)            \
	do {               \
		reason = (r); \
		line = __LINE__; \
		goto drop; \
	} while (0)

	ret = v6 ? parse6(skb) : parse4(skb);

	// --- destination, as far as it decides whether this packet is ours at all
	fresh->half[0].bucket_src = addr_bucket(&p->saddr, v6);
	fresh->half[0].bucket_dst = addr_bucket(&p->daddr, v6);
	fresh->half[0].dep_src = 0;
	fresh->half[0].dep_dst = 0;
	base_stamp = current_stamp(g, &fresh->half[0]);
	dst_ep = lookup_endpoint(&p->daddr, v6);
	if (dst_ep && !(dst_ep->flags & ENDPOINT_F_HOST)) {
		dst.id = dst_ep->lxc_id;
		dst.ifindex = dst_ep->ifindex;
		dst.identity = dst_ep->sec_id;
	}
	to_host = dst_ep && (dst_ep->flags & ENDPOINT_F_HOST);
	switch (hook) {
	case HOOK_NETDEV:
		// The node's own traffic, and in legacy routing everybody's, is the stack's business.
		if (!dst.id || node_cfg.legacy_routing)
			return AXO_PASS;
		break;
	case HOOK_OVERLAY:
		if (!dst.id)
			return AXO_PASS;
		break;
	case HOOK_HOST:
		if (to_host || is_link_scope(&p->daddr, v6))
			return AXO_PASS;
		break;
	case HOOK_POD_INGRESS:
		if (!dst.id || dst.ifindex != CTX_FIELD(skb, ifindex))
			return AXO_PASS;
		break;
	case HOOK_POD_EGRESS:
		break;
	}

	// --- source
	if (hook == HOOK_POD_EGRESS) {
		__u32 ifindex = CTX_FIELD(skb, ifindex);
		struct endpoint_device *dev = bpf_map_lookup_elem(&cilium_lxc_dev, &ifindex);

		if (!dev)
			DROP(DROP_NO_LXC);
		src.id = dev->lxc_id;
		src.identity = dev->sec_id;
		src.ifindex = ifindex;
		src_mac = dev->mac;
		src_node_mac = dev->node_mac;
		if (!(dev->flags & ENDPOINT_DEV_F_NO_SIP_CHECK)) {
			__u32 differs = v6 ? (p->saddr.ip6[0] ^ dev->ip6[0]) | (p->saddr.ip6[1] ^ dev->ip6[1]) |
						     (p->saddr.ip6[2] ^ dev->ip6[2]) | (p->saddr.ip6[3] ^ dev->ip6[3])
					   : p->saddr.ip4 ^ dev->ip4;

			if (differs) {
				ev->endpoint_src = src.id;
				ev->identity_src = src.identity;
				// Neighbour discovery and multicast listening use link-local sources: not forwarded, no event.
				if (v6 && is_link_scope(&p->saddr, true) && is_link_scope(&p->daddr, true))
					return AXO_PASS;
				DROP(DROP_INVALID_SIP);
			}
		}
	} else if (hook == HOOK_OVERLAY) {
		struct bpf_tunnel_key tunnel = {};

		if (bpf_skb_get_tunnel_key(skb, &tunnel, offsetof(struct bpf_tunnel_key, local_ipv4), 0) &&
		    bpf_skb_get_tunnel_key(skb, &tunnel, offsetof(struct bpf_tunnel_key, local_ipv4), BPF_F_TUNINFO_IPV6))
			DROP(DROP_NO_TUNNEL_KEY);
		src.identity = tunnel.tunnel_id;
		if (src.identity <= ID_HOST || src.identity > MAX_GLOBAL_IDENTITY)
			DROP(DROP_INVALID_IDENTITY);
		if (src.identity == ID_WORLD || src.identity == ID_WORLD_IPV4 || src.identity == ID_WORLD_IPV6)
			src.identity = ipcache_identity(&p->saddr, v6);
	} else {
		struct endpoint_info *src_ep = lookup_endpoint(&p->saddr, v6);

		if (src_ep && (src_ep->flags & ENDPOINT_F_HOST)) {
			src.identity = ID_HOST;
		} else if (src_ep) {
			// A local pod's address never comes in from the wire.
			if (hook == HOOK_NETDEV)
				DROP(DROP_INVALID_SIP);
			src.id = src_ep->lxc_id;
			src.identity = src_ep->sec_id;
			src.ifindex = src_ep->ifindex;
			src_mac = src_ep->mac;
			src_node_mac = src_ep->node_mac;
		} else {
			src.identity = ipcache_identity(&p->saddr, v6);
		}
	}
	ev->identity_src = src.identity;
	ev->endpoint_src = src.id;
	ev->endpoint_dst = dst.id;
	ev->identity_dst = dst.identity;
	// What could not be parsed is reported with as much as is known of it by now.
	if (ret < 0)
		DROP(-ret);
	if (hook == HOOK_POD_EGRESS && is_link_scope(&p->daddr, v6)) {
		// Groups and link scope end at the pod's own link: the node's stack may listen, nothing is forwarded.
		return AXO_PASS;
	}
	stamp = base_stamp + READ_ONCE(g->policy[src.id]) + READ_ONCE(g->policy[dst.id]);

	// --- the flow's entry
	if (p->flags & PACKET_ICMP_ERROR) {
		struct packet *quoted = &s->quoted;

		flow = NULL;
		if (!parse_icmp_quote(skb)) {
			dir = make_flow_key(key, &quoted->saddr, &quoted->daddr, quoted->sport, quoted->dport, quoted->proto, v6);
			flow = lookup_flow(key, v6);
		}
		related = flow != NULL;
		flow = fresh;
		dir = 0;
	} else {
		dir = make_flow_key(key, &p->saddr, &p->daddr, p->sport, p->dport, p->proto, v6);
		flow = lookup_flow(key, v6);
		if (flow) {
			const bool original = dir == !!(flow->flags & FLOW_F_INITIATOR_HIGH);
			const __u16 closing = FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH;

			// Another endpoint has the address now, or the ports are used again.
			if ((original ? flow->endpoint_src : flow->endpoint_dst) != src.id ||
			    (original ? flow->endpoint_dst : flow->endpoint_src) != dst.id ||
			    (p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && (flow->flags & closing)))
				flow = NULL;
		}
		is_new = !flow;
		if (is_new)
			flow = fresh;
	}
	if (flow == fresh) {
		__builtin_memset(fresh, 0, sizeof(*fresh));
		flow->created = now;
		flow->flags = dir ? FLOW_F_INITIATOR_HIGH : 0;
		if (src.id && dst.id)
			flow->flags |= FLOW_F_LOCAL;
		flow->endpoint_src = src.id;
		flow->endpoint_dst = dst.id;
		flow->identity_src = src.identity;
	}
	half = half_of(flow, dir);

	// --- route: again only if the cached one is not current
	if (!half_is_current(half, ifindex_in, now) || half->identity != src.identity) {
		fresh_decision = true;
		WRITE_ONCE(half->stamp, 0);
		barrier();
		half->flags = 0;
		half->ifindex_in = ifindex_in;
		half->ifindex_out = 0;
		half->identity = src.identity;
		half->dep_src = src.id;
		half->dep_dst = dst.id;
		half->bucket_src = addr_bucket(&p->saddr, v6);
		half->bucket_dst = addr_bucket(&p->daddr, v6);
		half->mtu = 0xffff;
		half->action = FLOW_STACK;
		if (dst.id) {
			if (hook != HOOK_POD_INGRESS)
				route_local(half, dst_ep);
		} else if (to_host) {
			dst.identity = ID_HOST;
		} else {
			const struct remote_endpoint_info *info = lookup_ipcache(&p->daddr, v6);

			dst.identity = !info || info->sec_identity == ID_WORLD ? world_identity(v6) : info->sec_identity;
			if (tunnel_cfg.protocol && info && (info->flags & IPCACHE_F_HAS_TUNNEL_EP) &&
			    !(info->flags & IPCACHE_F_SKIP_TUNNEL)) {
				route_tunnel(skb, &s->fib, half, info);
			} else if (hook == HOOK_HOST) {
				// Routes to cilium_host exist for pods only: there is no such pod.
				DROP(DROP_UNROUTABLE);
			} else if (!node_cfg.legacy_routing && resolve_route(skb, &s->fib, half, &p->saddr, &p->daddr, 0, v6)) {
				if (half->ifindex_out == node_cfg.host_ifindex || half->ifindex_out == node_cfg.net_ifindex)
					DROP(DROP_UNROUTABLE);
				half->action = FLOW_NEIGH;
			} else {
				half->mtu = 0xffff;
			}
		}
		half->decided_at = now;
		barrier();
		WRITE_ONCE(half->stamp, stamp);
		// Towards the interval's next report.
		report = true;
	} else {
		dst.identity = dst.id ? dst.identity : dir == !!(flow->flags & FLOW_F_INITIATOR_HIGH) ? flow->identity_dst : flow->identity_src;
	}
	ev->identity_dst = dst.identity;

	if (is_new) {
		flow->identity_dst = dst.identity;
		if (half->action == FLOW_ENCAP)
			flow->tunnel_sport = tunnel_source_port(skb);
		// The way back to a pod of this node is known already: its first reply needs no decision.
		if (src.id && hook == HOOK_POD_EGRESS) {
			struct flow_half *back = half_of(flow, dir ^ 1);

			back->identity = dst.identity;
			back->dep_src = dst.id;
			back->dep_dst = src.id;
			back->bucket_src = half->bucket_dst;
			back->bucket_dst = half->bucket_src;
			back->mtu = 0xffff;
			back->action = FLOW_DELIVER;
			back->flags = node_cfg.has_redirect_peer && !node_cfg.legacy_routing ? FLOW_HALF_PEER : 0;
			back->ifindex_out = src.ifindex;
			back->deliver.dmac = src_mac;
			back->deliver.smac = src_node_mac;
			if (dst.id)
				back->ifindex_in = dst.ifindex;
			else if (half->action == FLOW_ENCAP || half->action == FLOW_TUNNEL_DEV)
				back->ifindex_in = tunnel_cfg.ifindex;
			else if (half->action == FLOW_NEIGH)
				back->ifindex_in = half->ifindex_out;
			else
				back->ifindex_in = node_cfg.host_ifindex;
			back->decided_at = now;
			back->stamp = stamp;
		}
	} else if (fresh_decision && half->action == FLOW_ENCAP && !flow->tunnel_sport) {
		flow->tunnel_sport = tunnel_source_port(skb);
	}

	// --- size, hops
	if (p->ttl <= 1 && half->action != FLOW_STACK) {
		count_packet(DROP_TTL_EXCEEDED, direction, CTX_FIELD(skb, len));
		return reply_time_exceeded(skb, at_ingress, v6);
	}
	header_len = p->l4_off - ETH_HLEN + (p->proto == IPPROTO_TCP ? 20 : 8);
	if (unlikely(wire_length(skb, CTX_FIELD(skb, len) - ETH_HLEN, header_len) > half->mtu)) {
		if (p->flags & PACKET_DF) {
			__u32 mtu = half->mtu;

			count_packet(REASON_MTU_ERROR_MSG, direction, CTX_FIELD(skb, len));
			return reply_too_big(skb, mtu, at_ingress, v6);
		}
		// May be fragmented: by the kernel, natively or behind the tunnel device.
		if (half->action == FLOW_NEIGH) {
			count_packet(FORWARDED, direction, CTX_FIELD(skb, len));
			return AXO_PASS;
		}
		if (half->action == FLOW_ENCAP) {
			count_packet(FORWARDED, direction, CTX_FIELD(skb, len));
			s->out = *half;
			s->out.flags = tunnel_cfg.underlay_v6 ? FLOW_HALF_TUNNEL_V6 : 0;
			return hand_to_tunnel_device(skb);
		}
	}

	account(half, CTX_FIELD(skb, len));
	if (!(p->flags & PACKET_ICMP_ERROR))
		report |= advance_state(flow, half, p, dir, now);
	if (is_new) {
		ret = insert_flow(key, flow, v6);
		if (ret) {
			ev->ext_error = (__s8)ret;
			DROP(DROP_CT_CREATE_FAILED);
		}
		report = true;
	}

	// --- event, counters, out
	if (report && trace_cfg.trace) {
		const bool original = dir == !!(flow->flags & FLOW_F_INITIATOR_HIGH);

		ev->type = EVENT_TRACE;
		ev->subtype = trace_point(half, hook, to_host);
		ev->reason = (p->flags & PACKET_ICMP_ERROR) ? (related ? TRACE_REASON_RELATED : TRACE_REASON_NEW)
			    : is_new			  ? TRACE_REASON_NEW
			    : original			  ? TRACE_REASON_ESTABLISHED
							  : TRACE_REASON_REPLY;
		ev->flags = (hook == HOOK_POD_EGRESS ? 0 : EVENT_F_INGRESS) |
			   (hook == HOOK_OVERLAY || half->action == FLOW_ENCAP || half->action == FLOW_TUNNEL_DEV ? EVENT_F_TUNNEL : 0);
		ev->ifindex = half->action == FLOW_STACK ? CTX_FIELD(skb, ifindex) : half->ifindex_out;
		ev->packets = half->packets;
		ev->bytes = half->bytes;
		report_event(skb);
	}
	count_packet(FORWARDED, direction, CTX_FIELD(skb, len));
	s->out = *half;
	s->out_sport = flow->tunnel_sport;
	ret = forward(skb, s, at_ingress, v6);
	if (unlikely(ret < AXO_PASS))
		DROP(-ret);
	return ret;

drop:
	count_packet(reason, direction, CTX_FIELD(skb, len));
	if (trace_cfg.drop) {
		fill_drop(skb, ev, reason, direction, line);
		report_event(skb);
	}
	return AXO_DROP;
#undef DROP
}
