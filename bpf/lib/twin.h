// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The second entry of a translated connection, under the addresses that its other end sees: what it becomes, the source port
// that it reserves, and how both entries keep the same state.
#pragma once

#include "bpf/lib/translate.h"

#define CLOSING (FLOW_F_CLOSING_LOW | FLOW_F_CLOSING_HIGH)
// What both entries agree on, besides the ends that are closing.
#define TWIN_STATE (FLOW_F_ESTABLISHED | FLOW_F_REPLIED | FLOW_F_FAST)

// Does this entry rewrite the replies of the connection at hand?
static __always_inline bool points_back(const struct flow_rewrite *r, const struct translation *t, const bool v6)
{
	return r->sport == t->from.dport && r->dport == t->from.sport && r->zone == t->zone &&
	       same_addr(&r->saddr, &t->from.daddr, v6) && same_addr(&r->daddr, &t->from.saddr, v6);
}

static __always_inline __u16 swap_closing(__u16 flags, __u32 swap)
{
	__u16 closing = flags & CLOSING;

	if (swap)
		closing = (closing & FLOW_F_CLOSING_LOW ? FLOW_F_CLOSING_HIGH : 0) | (closing & FLOW_F_CLOSING_HIGH ? FLOW_F_CLOSING_LOW : 0);
	return (flags & ~CLOSING) | closing;
}

// Key and contents of the entry beside one that rewrites packets of direction dir, but for its halves. Returns its direction of
// the same packets.
static __always_inline __u32 build_twin(struct scratch *s, const struct flow *flow, __u32 dir, const bool v6)
{
	const struct translation *t = &s->nat;
	struct flow *twin = &s->twin;
	__u32 twin_dir, swap;

	twin_dir = make_flow_key(&s->twin_key, &t->to.saddr, &t->to.daddr, t->to.sport, t->to.dport, s->packet.proto, v6);
	OPAQUE(twin_dir);
	set_zone(&s->twin_key, t->to.zone, v6);
	swap = (twin_dir ^ dir) & 1;
	__builtin_memset(twin, 0, sizeof(*twin));
	twin->created = flow->created;
	twin->expires = s->life.expires;
	twin->identity_src = flow->identity_src;
	twin->identity_dst = flow->identity_dst;
	twin->endpoint_src = flow->endpoint_src;
	twin->endpoint_dst = flow->endpoint_dst;
	twin->egress_cookie = flow->egress_cookie;
	twin->ingress_cookie = flow->ingress_cookie;
	twin->rev_nat = flow->rev_nat;
	twin->backend_id = flow->backend_id;
	twin->icmp_type = flow->icmp_type;
	twin->flags = swap_closing(s->life.flags, swap) & ~(FLOW_F_REWRITE_LOW | FLOW_F_REWRITE_HIGH);
	twin->flags ^= FLOW_F_TRANSLATED | (swap ? FLOW_F_INITIATOR_HIGH : 0);
	twin->flags |= twin_dir ? FLOW_F_REWRITE_LOW : FLOW_F_REWRITE_HIGH;
	twin->tcp_flags[0] = s->life.tcp_flags[swap ? 1 : 0];
	twin->tcp_flags[1] = s->life.tcp_flags[swap ? 0 : 1];
	twin->rewrite.saddr = t->from.daddr;
	twin->rewrite.daddr = t->from.saddr;
	twin->rewrite.sport = t->from.dport;
	twin->rewrite.dport = t->from.sport;
	twin->rewrite.zone = t->zone;
	twin->rewrite.addr_delta = ~t->to.addr_delta;
	twin->rewrite.port_delta = t->to.port_delta ? ~t->to.port_delta : 0;
	return twin_dir;
}

// An int: the JIT of older kernels (5.10) calls the map's function, whose result has 32 bits.
static __always_inline int insert_twin(struct scratch *s, __u64 flags, const bool v6)
{
	if (v6)
		return (int)bpf_map_update_elem(&cilium_flows6, &s->twin_key.v6, &s->twin, flags);
	return (int)bpf_map_update_elem(&cilium_flows4, &s->twin_key.v4, &s->twin, flags);
}

static __always_inline void remove_flow(const union flow_key *key, const bool v6)
{
	if (v6)
		bpf_map_delete_elem(&cilium_flows6, &key->v6);
	else
		bpf_map_delete_elem(&cilium_flows4, &key->v4);
}

static __always_inline void remove_twin(struct scratch *s, const bool v6)
{
	remove_flow(&s->twin_key, v6);
}

#define TCP_STATE_LISTEN 10

// A socket of the node that the replies would otherwise go to.
static __always_inline bool is_port_of_node(struct __sk_buff *skb, const struct scratch *s, const bool v6)
{
	const struct flow_rewrite *to = &s->nat.to;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	__u32 size, state;

	if (!(s->nat.flags & FLOW_F_SNAT))
		return false;
	if (v6) {
		size = sizeof(tuple.ipv6);
		__builtin_memcpy(tuple.ipv6.saddr, to->daddr.ip6, 16);
		__builtin_memcpy(tuple.ipv6.daddr, to->saddr.ip6, 16);
		tuple.ipv6.sport = to->dport;
		tuple.ipv6.dport = to->sport;
	} else {
		size = sizeof(tuple.ipv4);
		tuple.ipv4.saddr = to->daddr.ip4;
		tuple.ipv4.daddr = to->saddr.ip4;
		tuple.ipv4.sport = to->dport;
		tuple.ipv4.dport = to->sport;
	}
	if (s->packet.proto == IPPROTO_TCP) {
		socket = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
		if (!socket)
			return false;
		state = socket->state;
		bpf_sk_release(socket);
		return state != TCP_STATE_LISTEN;
	}
	if (s->packet.proto != IPPROTO_UDP)
		return false;
	socket = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

static __always_inline void count_tries(__u32 tries, const bool v6)
{
	__u32 *count;

	if (v6)
		count = bpf_map_lookup_elem(&cilium_snat_v6_alloc_retries, &tries);
	else
		count = bpf_map_lookup_elem(&cilium_snat_v4_alloc_retries, &tries);
	if (count)
		*count += 1;
}

static __always_inline bool in_nat_range(__be16 port)
{
	return bpf_ntohs(port) >= lb_cfg.nat_port_low && bpf_ntohs(port) <= lb_cfg.nat_port_high;
}

// The twin with another source port.
static __always_inline void move_to_port(struct scratch *s, __be16 port, __u32 twin_dir, const bool v6)
{
	struct translation *t = &s->nat;
	const __u8 proto = s->packet.proto;
	const bool both = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	__be16 *ports = v6 ? s->twin_key.v6.port : s->twin_key.v4.port;

	twin_dir &= 1;
	ports[twin_dir] = port;
	if (both)
		ports[twin_dir ^ 1] = port;
	t->to.sport = port;
	t->to.port_delta = word_delta(t->from.sport, port);
	if (both)
		t->to.dport = port;
	else
		t->to.port_delta = add_deltas(t->to.port_delta, word_delta(t->from.dport, t->to.dport));
	s->twin.rewrite.port_delta = ~t->to.port_delta;
}

#define PORT_TAKEN 1

// A connection of the node itself, whose address stays.
static __always_inline bool moves_own_port(const struct scratch *s, const bool v6)
{
	return s->nat.zone == FLOW_ZONE_UPLINK && same_addr(&s->nat.from.saddr, &s->nat.to.saddr, v6);
}

// Enters the twin, which is what holds the source port. 0, PORT_TAKEN, or -DROP_*.
static __always_inline int take_port(struct __sk_buff *skb, struct scratch *s, const bool v6)
{
	const struct flow *other;
	int ret = insert_twin(s, BPF_NOEXIST, v6);

	if (ret == -EEXIST) {
		other = lookup_flow(&s->twin_key, v6);
		// What is left of an earlier connection: this client's, or one that has expired and only waits for the collector.
		if (!other || ((__s32)(other->expires - now_tick()) >= 0 && !points_back(&other->rewrite, &s->nat, v6)))
			return PORT_TAKEN;
		ret = insert_twin(s, BPF_ANY, v6);
	}
	if (ret) {
		s->event.ext_error = (__s8)ret;
		return -DROP_CT_CREATE_FAILED;
	}
	if (!is_port_of_node(skb, s, v6))
		return 0;
	remove_flow(&s->twin_key, v6);
	return PORT_TAKEN;
}

// Functions of their own: the verifier looks at them once, not once for each of the tries.
__noinline int take_port4(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	return s ? take_port(skb, s, false) : -DROP_HOST_NOT_READY;
}

__noinline int take_port6(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	return s ? take_port(skb, s, true) : -DROP_HOST_NOT_READY;
}

__noinline int move_to_port4(__u32 port, __u32 twin_dir)
{
	struct scratch *s = scratch();

	if (s)
		move_to_port(s, bpf_htons(port), twin_dir, false);
	return 0;
}

__noinline int move_to_port6(__u32 port, __u32 twin_dir)
{
	struct scratch *s = scratch();

	if (s)
		move_to_port(s, bpf_htons(port), twin_dir, true);
	return 0;
}

// A source port for a new connection, and the twin with it. 0, or -DROP_*.
static __always_inline int reserve(struct __sk_buff *skb, __u32 twin_dir, const bool v6)
{
	const __u32 range = (__u32)lb_cfg.nat_port_high - lb_cfg.nat_port_low + 1;
	struct scratch *s = scratch();
	bool translated;
	__u32 port;
	int ret;

	if (!s)
		return -DROP_HOST_NOT_READY;
	translated = s->nat.flags & FLOW_F_SNAT;
	// The client keeps its port if it can. The node's own connection is here because it cannot.
	if (!translated || (in_nat_range(s->nat.to.sport) && !moves_own_port(s, v6)) || !has_l4_id(&s->packet)) {
		ret = v6 ? take_port6(skb) : take_port4(skb);
		if (!ret && translated)
			count_tries(0, v6);
		if (ret != PORT_TAKEN)
			return ret;
	}
	// Where there is no port that could be another one, one connection at a time is all there is.
	if (!has_l4_id(&s->packet) || s->packet.proto == IPPROTO_SCTP)
		return -DROP_NAT_NO_MAPPING;
	for (__u32 tries = 1; tries < NAT_PORT_TRIES; tries++) {
		// Each try all over again: a walk through the range would meet the crowds that earlier walks have left.
		port = lb_cfg.nat_port_low + bpf_get_prandom_u32() % range;
		if (v6)
			move_to_port6(port, twin_dir);
		else
			move_to_port4(port, twin_dir);
		ret = v6 ? take_port6(skb) : take_port4(skb);
		if (!ret)
			count_tries(tries, v6);
		if (ret != PORT_TAKEN)
			return ret;
	}
	count_tries(NAT_PORT_TRIES, v6);
	return -DROP_NAT_NO_MAPPING;
}

__noinline int reserve4(struct __sk_buff *skb, __u32 twin_dir)
{
	return reserve(skb, twin_dir, false);
}

__noinline int reserve6(struct __sk_buff *skb, __u32 twin_dir)
{
	return reserve(skb, twin_dir, true);
}

// The state of a known connection, scratch.life, for its other entry. Missing, it is made again from scratch.twin. Not 0: the
// place is another connection's.
static __always_inline int keep_twin(__u32 dir, const bool v6)
{
	struct scratch *s = scratch();
	struct flow *twin;
	__u32 swap;

	if (!s)
		return 0;
	swap = (make_flow_key(&s->twin_key, &s->nat.to.saddr, &s->nat.to.daddr, s->nat.to.sport, s->nat.to.dport, s->packet.proto, v6) ^ dir) & 1;
	set_zone(&s->twin_key, s->nat.to.zone, v6);
	twin = lookup_flow(&s->twin_key, v6);
	if (!twin) {
		const struct flow *flow = lookup_flow(&s->key, v6);

		// A table that is full has no place for it: the next packet tries again.
		if (!flow)
			return 0;
		build_twin(s, flow, dir, v6);
		insert_twin(s, BPF_NOEXIST, v6);
		return 0;
	}
	if (!points_back(&twin->rewrite, &s->nat, v6)) {
		// Without its port this connection has no replies. The next packet begins a new one.
		remove_flow(&s->key, v6);
		return 1;
	}
	twin->flags = (twin->flags & ~(CLOSING | TWIN_STATE)) | (swap_closing(s->life.flags, swap) & (CLOSING | TWIN_STATE));
	twin->tcp_flags[0] = s->life.tcp_flags[swap];
	twin->tcp_flags[1] = s->life.tcp_flags[swap ^ 1];
	twin->expires = s->life.expires;
	return 0;
}

__noinline int keep_twin4(__u32 dir)
{
	return keep_twin(dir, false);
}

__noinline int keep_twin6(__u32 dir)
{
	return keep_twin(dir, true);
}
