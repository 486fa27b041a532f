// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Which way out: to a local endpoint, through the tunnel, by the kernel's routes, or to its stack.
#pragma once

#include "bpf/lib/ends.h"

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
		read_ip6(node.ip6, tunnel_cfg.node_ip6);
		if (!resolve_route(skb, fib, half, &node, &half->route.tunnel_endpoint, tunnel_cfg.overhead, true))
			return;
	} else {
		node.ip4 = tunnel_cfg.node_ip4;
		if (!resolve_route(skb, fib, half, &node, &half->route.tunnel_endpoint, tunnel_cfg.overhead, false))
			return;
	}
	half->action = FLOW_ENCAP;
}

static __always_inline void route_local(struct flow_half *half, const struct local_end *end)
{
	half->action = FLOW_DELIVER;
	half->flags = node_cfg.has_redirect_peer && !node_cfg.legacy_routing ? FLOW_HALF_PEER : 0;
	half->mtu = 0xffff;
	half->ifindex_out = end->ifindex;
	half->deliver.dmac = end->mac;
	half->deliver.smac = end->node_mac;
}

static __always_inline __be16 tunnel_source_port(struct __sk_buff *skb)
{
	__u32 low = tunnel_cfg.sport_low ? tunnel_cfg.sport_low : 32768;
	__u32 high = tunnel_cfg.sport_high > low ? tunnel_cfg.sport_high : 61000;

	return bpf_htons(low + bpf_get_hash_recalc(skb) % (high - low + 1));
}

// A service's packet between a client outside and a backend or the other way, of which neither is here for the stack to see.
static __always_inline bool is_service_transit(const struct scratch *s)
{
	return nat_on() && s->nat.stage && (s->nat.flags & FLOW_F_NODE_PORT);
}

// Through the tunnel? With native routing only what tells the backend's node its frontend there.
static __always_inline bool is_tunnelled(const struct scratch *s, const struct remote_endpoint_info *info)
{
	if (!tunnel_cfg.protocol || !info || !(info->flags & IPCACHE_F_HAS_TUNNEL_EP))
		return false;
	return !(info->flags & IPCACHE_F_SKIP_TUNNEL) || (dsr_by_geneve() && s->nat.stage && is_one_way(s->nat.flags));
}

// Where packets of this direction go from now on: scratch.out, but for its counters. 0 or -DROP_*.
static __always_inline int decide_route(struct __sk_buff *skb, __u32 hook, const bool v6)
{
	const struct remote_endpoint_info *info;
	struct scratch *s = scratch();
	struct flow_half *half;
	struct packet *p;

	if (!s)
		return -DROP_HOST_NOT_READY;
	p = &s->packet;
	half = &s->out;
	half->stamp = s->stamp;
	half->decided_at = now_tick();
	half->ifindex_in = s->ifindex_in;
	half->ifindex_out = 0;
	half->identity = s->src.identity;
	half->dep_src = policy_id(&s->src);
	half->dep_dst = policy_id(&s->dst);
	// The client is outside: there is nobody else in its place.
	if (node_cfg.host_firewall && nat_on() && s->frontend.policy_id) {
		if (s->reply)
			half->dep_dst = s->frontend.policy_id;
		else
			half->dep_src = s->frontend.policy_id;
	}
	half->bucket_src = s->bucket_src;
	half->bucket_dst = s->bucket_dst;
	half->flags = 0;
	half->mtu = 0xffff;
	half->action = FLOW_STACK;
	if (s->dst.id) {
		// What legacy routing translates at the uplink goes on to its pod through the stack.
		if (hook != HOOK_POD_INGRESS && !(node_cfg.legacy_routing && hook == HOOK_NETDEV))
			route_local(half, &s->dst);
	} else if (s->to_host) {
		s->dst.identity = ID_HOST;
	} else {
		info = lookup_ipcache(&p->daddr, v6);
		s->dst.identity = !info || info->sec_identity == ID_WORLD ? world_identity(v6) : info->sec_identity;
		if ((node_cfg.host_firewall || nat_on()) && hook == HOOK_NETDEV_EGRESS)
			return 0; // on its way already
		if (is_tunnelled(s, info)) {
			route_tunnel(skb, &s->fib, half, info);
		} else if (hook == HOOK_HOST) {
			// Routes to cilium_host exist for pods only: there is no such pod.
			return -DROP_UNROUTABLE;
		} else if ((!node_cfg.legacy_routing || is_service_transit(s)) &&
			   resolve_route(skb, &s->fib, half, nat_on() && s->nat.stage ? &s->nat.to.saddr : &p->saddr, &p->daddr, 0, v6)) {
			if (half->ifindex_out == node_cfg.host_ifindex || half->ifindex_out == node_cfg.net_ifindex)
				return -DROP_UNROUTABLE;
			half->action = FLOW_NEIGH;
		} else if (is_service_transit(s)) {
			// The stack would take a packet with an address of this node, coming in, for a forgery.
			return -DROP_NO_FIB;
		}
	}
	if (nat_on()) {
		if ((s->nat.flags & FLOW_F_SNAT) && (half->action == FLOW_ENCAP || half->action == FLOW_TUNNEL_DEV))
			half->flags |= FLOW_HALF_AS_NODE;
		if (is_one_way(s->nat.flags) && can_carry_frontend(half->action)) {
			// The client's identity may be one of this node's own.
			if (dsr_by_geneve())
				half->flags |= FLOW_HALF_AS_WORLD;
			// A handshake has room for the frontend, a datagram may not.
			if (p->proto != IPPROTO_TCP)
				half->mtu -= dsr_length(v6);
		}
		if (dsr_by_geneve() && hook == HOOK_OVERLAY && READ_ONCE(s->tunnel_identity) == ID_WORLD)
			half->flags |= FLOW_HALF_AS_WORLD;
	}
	return 0;
}

__noinline int decide_route4(struct __sk_buff *skb, __u32 hook)
{
	return decide_route(skb, hook, false);
}

__noinline int decide_route6(struct __sk_buff *skb, __u32 hook)
{
	return decide_route(skb, hook, true);
}

// The way back to a pod of this node is known when it opens a connection: the first reply needs no decision.
static __always_inline void decide_way_back(const struct scratch *s, const struct flow_half *half, struct flow_half *back, __u32 now)
{
	back->identity = s->dst.identity;
	back->dep_src = policy_id(&s->dst);
	back->dep_dst = policy_id(&s->src);
	back->bucket_src = half->bucket_dst;
	back->bucket_dst = half->bucket_src;
	route_local(back, &s->src);
	if (s->dst.id)
		back->ifindex_in = s->dst.ifindex;
	else if (half->action == FLOW_ENCAP || half->action == FLOW_TUNNEL_DEV)
		back->ifindex_in = tunnel_cfg.ifindex;
	else if (half->action == FLOW_NEIGH)
		back->ifindex_in = half->ifindex_out;
	else
		back->ifindex_in = node_cfg.host_ifindex;
	back->decided_at = now;
	back->stamp = s->stamp;
}
