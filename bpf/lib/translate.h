// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The slow path's stage between parsing and find_ends: where does this packet really go?
//
// A packet of a known connection goes where the connection's entry says. One that opens a connection to a service gets a backend.
// From here on scratch.packet holds the destination behind the service; what the packet carries stands in scratch.nat.from.
// The packet itself is changed at the end, when it is known that it may leave.
#pragma once

#include "bpf/lib/dsr.h"
#include "bpf/lib/hook.h"
#include "bpf/lib/lb_select.h"

static __always_inline bool masquerades(const bool v6)
{
	return v6 ? lb_cfg.masquerade6 : lb_cfg.masquerade4;
}

// The connection's first packet, or one that could be.
static __always_inline bool opens(const struct packet *p)
{
	return p->proto != IPPROTO_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline bool is_closing(__u16 flags)
{
	return flags & (FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH);
}

// What the checksums change by on the way from `from` to `to`.
static __always_inline void compute_deltas(struct flow_rewrite *to, const struct tuple *from, __u8 proto, const bool v6)
{
	to->addr_delta = add_deltas(address_delta(&from->saddr, &to->saddr, v6), address_delta(&from->daddr, &to->daddr, v6));
	to->port_delta = word_delta(from->sport, to->sport);
	// ICMP's identifier stands for both ports.
	if (proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6)
		to->port_delta = add_deltas(to->port_delta, word_delta(from->dport, to->dport));
	if (from->sport == to->sport && from->dport == to->dport)
		to->port_delta = 0;
}

// The same for the replies of a connection that is rewritten in that direction only.
static __always_inline void reply_deltas(struct flow_rewrite *to, const struct tuple *from, const bool v6)
{
	to->addr_delta = address_delta(&from->daddr, &to->saddr, v6);
	to->port_delta = from->dport == to->sport ? 0 : word_delta(from->dport, to->sport);
}

// The destination is another one from here on: so are the generations that the decision rests on.
static __always_inline void redirect_to(struct scratch *s, const union axo_addr *daddr, __be16 dport, const bool v6)
{
	const struct generations *g = generations();
	__u32 bucket = addr_bucket(daddr, v6);

	s->packet.daddr = *daddr;
	s->packet.dport = dport;
	if (g)
		s->stamp += READ_ONCE(g->ipcache[bucket & (GENERATION_BUCKETS - 1)]) - s->generation_dst;
	s->bucket_dst = bucket;
}

static __always_inline void use_known(struct scratch *s, const struct flow *flow, const bool v6)
{
	struct translation *t = &s->nat;

	t->stage = NAT_KNOWN;
	t->to = flow->rewrite;
	t->flags = flow->flags & (FLOW_F_NODE_PORT | FLOW_F_DSR | FLOW_F_LOOPBACK | FLOW_F_SNAT | FLOW_F_TRANSLATED);
	t->backend_id = flow->backend_id;
	t->rev_nat = flow->rev_nat;
	t->answer = !!(t->flags & FLOW_F_NODE_PORT);
	redirect_to(s, &t->to.daddr, t->to.dport, v6);
}

// An ICMP error about a translated packet goes to the end that the other one stands for.
static __always_inline void translate_error(struct __sk_buff *skb, struct scratch *s, const bool v6)
{
	struct translation *t = &s->nat;
	struct packet *p = &s->packet, *q = &s->quoted;
	struct flow *flow;

	if (parse_icmp_quote(skb) || !same_addr(&q->daddr, &p->daddr, v6))
		return;
	t->dir = make_flow_key(&s->key, &q->saddr, &q->daddr, q->sport, q->dport, q->proto, v6);
	flow = lookup_flow(&s->key, v6);
	if (!flow || !rewrites(flow->flags, t->dir))
		return;
	t->from.saddr = q->saddr;
	t->from.daddr = q->daddr;
	// Outside of the quote there are no ports. Whoever on the way sends the error keeps its address.
	t->outer.saddr = same_addr(&q->saddr, &p->saddr, v6) ? flow->rewrite.saddr : p->saddr;
	t->outer.daddr = flow->rewrite.daddr;
	t->outer.addr_delta =
		add_deltas(address_delta(&p->saddr, &t->outer.saddr, v6), address_delta(&p->daddr, &t->outer.daddr, v6));
	use_known(s, flow, v6);
}

// The service that the packet is sent to, in scratch.service. False: none, or one that may not be used from here (nat.refuse).
static __always_inline bool look_up_service(struct scratch *s, __u32 hook, const bool v6)
{
	const bool outside = hook != HOOK_POD_EGRESS;
	const __u8 scope = outside ? LB_SCOPE_EXTERNAL : LB_SCOPE_INTERNAL;
	struct packet *p = &s->packet;
	const struct endpoint_info *ep;

	// The node's own address, coming in, is a forgery: what becomes of it is the stack's matter.
	if (outside && (ep = lookup_endpoint(&p->saddr, v6)) && (ep->flags & ENDPOINT_F_HOST))
		return false;
	if (has_ports(p->proto) && find_service(&p->daddr, p->dport, p->proto, scope, &s->service, v6)) {
		if (outside && !(s->service.flags & LB_F_ROUTABLE) && !lb_cfg.external_cluster_ip)
			s->nat.refuse = DROP_IS_CLUSTER_IP;
	} else {
		ep = lookup_endpoint(&p->daddr, v6);
		if (ep && !(ep->flags & ENDPOINT_F_HOST))
			return false; // a pod
		if (!is_service_port(p->dport, p->proto) || !serves_node_ports(&p->daddr, v6) ||
		    (!ep && (outside || !is_remote_node(ipcache_identity(&p->daddr, v6)))) ||
		    !find_service(NULL, p->dport, p->proto, scope, &s->service, v6)) {
			if (!ep && is_virtual_address(&p->daddr, v6))
				s->nat.refuse = DROP_NO_SERVICE;
			return false;
		}
	}
	if (outside && !may_use_service(&s->service, &p->saddr, v6))
		s->nat.refuse = DROP_NOT_IN_SRC_RANGE;
	return !s->nat.refuse;
}

static __always_inline void choose_backend(struct scratch *s, __u32 hook, const bool v6)
{
	struct lb_affinity_key client = { .family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4 };
	const struct lb_service *service = &s->service;
	struct translation *t = &s->nat;
	const struct lb_backend *backend;
	struct packet *p = &s->packet;
	__u32 hash, id = 0;

	// Also of one that has no backend: the node's policy is asked about it all the same.
	if (hook != HOOK_POD_EGRESS)
		t->flags = FLOW_F_NODE_PORT;
	client.client = p->saddr;
	hash = service->algorithm == LB_MAGLEV ? lb_hash(&p->saddr, p->sport, p->dport, p->proto, v6) : bpf_get_prandom_u32();
	backend = select_backend(service, hash, &client, &id);
	t->backend_id = id;
	t->rev_nat = service->rev_nat_index;
	if (!backend) {
		t->refuse = DROP_NO_SERVICE;
		t->answer = !lb_cfg.no_backend_drop;
		return;
	}
	t->to.saddr = p->saddr;
	t->to.sport = p->sport;
	t->to.daddr = backend->address;
	t->to.dport = backend->port;
	// SCTP's checksum would have to be computed over the whole packet.
	if (p->proto == IPPROTO_SCTP && t->to.dport != p->dport) {
		t->refuse = DROP_NAT_UNSUPP_PROTO;
		return;
	}
	if (hook != HOOK_POD_EGRESS) {
		t->answer = 1;
		if (lb_cfg.mode == LB_MODE_DSR || (lb_cfg.mode == LB_MODE_HYBRID && p->proto == IPPROTO_TCP) ||
		    (lb_cfg.mode == LB_MODE_ANNOTATION && (service->flags2 & LB_F2_DSR)))
			t->flags |= FLOW_F_DSR;
	} else if (same_addr(&t->to.daddr, &p->saddr, v6)) {
		// With its own address as the source a pod would take it for a packet that has lost its way.
		t->flags = FLOW_F_LOOPBACK;
		if (v6)
			read_ip6(t->to.saddr.ip6, lb_cfg.loopback_ip6);
		else
			t->to.saddr.ip4 = lb_cfg.loopback_ip4;
	}
	redirect_to(s, &t->to.daddr, t->to.dport, v6);
	// The agent clears the entry before it bumps the backend's address, whose generation has been read just now.
	barrier();
	if (has_backend(id, &t->to.daddr, t->to.dport, p->proto, v6))
		t->stage = NAT_NEW;
	else
		t->refuse = DROP_NO_SERVICE;
}

// At the uplink: whose packet is this, and which entry does it have there? False: nothing is translated.
static __always_inline bool at_uplink(struct scratch *s, struct flow **flow, const bool v6)
{
	struct translation *t = &s->nat;
	const struct endpoint_info *ep = lookup_endpoint(&s->packet.saddr, v6);
	bool wanted;

	if (!ep)
		return false;
	if (ep->flags & ENDPOINT_F_HOST) // does its own connection stand in the way of one that has taken its port?
		wanted = *flow && ((*flow)->flags & (FLOW_F_SNAT | FLOW_F_TRANSLATED)) == (FLOW_F_SNAT | FLOW_F_TRANSLATED);
	else // every packet of a pod has an entry since its own device; replies keep their address
		wanted = masquerades(v6) && *flow && !((t->dir ^ (*flow)->flags) & FLOW_F_INITIATOR_HIGH);
	// What has been moved once stays moved, whatever has become of who stood in its way.
	set_zone(&s->key, FLOW_ZONE_UPLINK, v6);
	*flow = lookup_flow(&s->key, v6);
	if (!wanted && !*flow) {
		set_zone(&s->key, FLOW_ZONE_DEFAULT, v6);
		return false;
	}
	t->zone = FLOW_ZONE_UPLINK;
	t->stage = NAT_LEAVE;
	return true;
}

static __always_inline int translate(struct __sk_buff *skb, __u32 hook, const bool v6)
{
	struct scratch *s = scratch();
	struct translation *t;
	struct flow *flow;
	struct packet *p;
	bool known, service = false;

	if (!s)
		return 0;
	t = &s->nat;
	p = &s->packet;
	if (p->flags & PACKET_ICMP_ERROR) {
		translate_error(skb, s, v6);
		return 0;
	}
	t->from.saddr = p->saddr;
	t->from.daddr = p->daddr;
	t->from.sport = p->sport;
	t->from.dport = p->dport;
	t->dir = make_flow_key(&s->key, &p->saddr, &p->daddr, p->sport, p->dport, p->proto, v6);
	if (p->flags & PACKET_ICMP_OTHER)
		return 0;
	flow = lookup_flow(&s->key, v6);
	known = flow && rewrites(flow->flags, t->dir);
	if (hook == HOOK_NETDEV_EGRESS && !known) {
		if (!at_uplink(s, &flow, v6))
			return 0;
		known = flow && rewrites(flow->flags, t->dir);
	}
	// Replies, and what cannot be the first packet of another connection, keep what they have.
	if (flow && (!opens(p) || (t->dir ^ flow->flags) & FLOW_F_INITIATOR_HIGH || (flow->flags & FLOW_F_TRANSLATED))) {
		if (known)
			use_known(s, flow, v6);
		return 0;
	}
	if (known && p->proto == IPPROTO_TCP && is_closing(flow->flags)) {
		t->afresh = 1;
		known = false;
	}
	if (hook == HOOK_POD_EGRESS ? lb_cfg.pods : lb_cfg.node_port && (hook == HOOK_NETDEV || hook == HOOK_OVERLAY))
		service = look_up_service(s, hook, v6);
	if (t->refuse)
		return 0;
	if (known && (service ? s->service.rev_nat_index == flow->rev_nat &&
					has_backend(flow->backend_id, &flow->rewrite.daddr, flow->rewrite.dport, p->proto, v6)
			      : !flow->backend_id)) {
		use_known(s, flow, v6);
		return 0;
	}
	t->afresh |= known || service;
	if (service)
		choose_backend(s, hook, v6);
	else if (dsr_by_geneve() && hook == HOOK_OVERLAY)
		t->dsr = read_tunnel_option(skb, &t->frontend, v6);
	else if (dsr_possible() && !dsr_by_geneve() && hook == HOOK_NETDEV)
		t->dsr = read_frontend(skb, p, &t->frontend, v6);
	return 0;
}

__noinline int translate4(struct __sk_buff *skb, __u32 hook)
{
	return translate(skb, hook, false);
}

__noinline int translate6(struct __sk_buff *skb, __u32 hook)
{
	return translate(skb, hook, true);
}
