// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Whose address a connection leaves with: a client's that is sent on to a backend elsewhere becomes the node's, so that the reply
// comes back here, and a pod's becomes the node's where it leaves the cluster.
#pragma once

#include "bpf/lib/twin.h"

static __always_inline bool in_native_cidr(const union axo_addr *addr, const bool v6)
{
	if (v6) {
		__u32 left = lb_cfg.native_routing6_len;

		if (!left)
			return false;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			__u32 bits = left > 32 ? 32 : left;
			__u32 mask = bits ? 0xffffffffU << (32 - bits) : 0;

			if ((bpf_ntohl(addr->ip6[i]) ^ bpf_ntohl(lb_cfg.native_routing6[i])) & mask)
				return false;
			left -= bits;
		}
		return true;
	}
	return lb_cfg.native_routing4_mask && !((addr->ip4 ^ lb_cfg.native_routing4) & lb_cfg.native_routing4_mask);
}

// Destinations that see pods' own addresses.
static __always_inline bool is_spared(const struct scratch *s, const bool v6)
{
	const struct packet *p = &s->packet;
	const struct endpoint_info *ep = lookup_endpoint(&p->saddr, v6);
	const struct remote_endpoint_info *info;

	if (!ep || (ep->flags & (ENDPOINT_F_HOST | (v6 ? ENDPOINT_F_NO_SNAT_V6 : ENDPOINT_F_NO_SNAT_V4))))
		return true;
	if (in_native_cidr(&p->daddr, v6) || is_link_scope(&p->daddr, v6))
		return true;
	info = lookup_ipcache(&p->daddr, v6);
	if (info && (((info->flags & IPCACHE_F_HAS_TUNNEL_EP) && !(info->flags & IPCACHE_F_SKIP_TUNNEL)) ||
		     (is_remote_node(info->sec_identity) && !lb_cfg.masquerade_remote_nodes)))
		return true;
	if (!lb_cfg.ip_masq_agent)
		return false;
	if (v6) {
		struct lpm_v6_key key = { .prefixlen = 128 };

		__builtin_memcpy(key.addr, p->daddr.ip6, 16);
		return bpf_map_lookup_elem(&cilium_ipmasq_v6, &key);
	} else {
		struct lpm_v4_key key = { .prefixlen = 32 };

		__builtin_memcpy(key.addr, &p->daddr.ip4, 4);
		return bpf_map_lookup_elem(&cilium_ipmasq_v4, &key);
	}
}

// The node's address for what leaves by this device, into to.saddr. False: nothing is translated there.
static __always_inline bool use_node_address(struct scratch *s, __u32 ifindex, const bool v6)
{
	const struct nat_addresses *node = bpf_map_lookup_elem(&cilium_nat_addresses, &ifindex);
	struct translation *t = &s->nat;

	if (!node)
		return false;
	if (v6) {
		if (!(node->ip6[0] | node->ip6[1] | node->ip6[2] | node->ip6[3]))
			return false;
		__builtin_memcpy(t->to.saddr.ip6, node->ip6, 16);
	} else {
		if (!node->ip4)
			return false;
		t->to.saddr.ip4 = node->ip4;
	}
	return true;
}

static __always_inline void begin_with_packet(struct translation *t)
{
	t->to.saddr = t->from.saddr;
	t->to.daddr = t->from.daddr;
	t->to.sport = t->from.sport;
	t->to.dport = t->from.dport;
}

// Where a pod's new connection leaves the cluster. ifindex: by which device.
static __always_inline int masquerade(struct scratch *s, __u32 ifindex, const bool v6)
{
	struct translation *t = &s->nat;

	if (!masquerades(v6) || is_spared(s, v6))
		return 0;
	if (t->stage != NAT_NEW)
		begin_with_packet(t);
	if (!use_node_address(s, ifindex, v6))
		return 0;
	if (!has_l4_id(&s->packet))
		return -DROP_NAT_UNSUPP_PROTO;
	t->flags |= FLOW_F_SNAT;
	t->stage = NAT_NEW;
	return 0;
}

// After the route of a new connection has been decided. 0, or -DROP_*.
static __always_inline int choose_source(__u32 hook, const bool v6)
{
	struct scratch *s = scratch();
	struct translation *t;
	struct flow_half *out;

	if (!s)
		return -DROP_HOST_NOT_READY;
	t = &s->nat;
	out = &s->out;
	if (t->flags & FLOW_F_NODE_PORT) {
		if (s->dst.id || s->to_host) {
			t->flags &= ~FLOW_F_DSR;
		} else if (!(t->flags & FLOW_F_DSR) || !can_carry_frontend(out->action)) {
			t->flags &= ~FLOW_F_DSR;
			t->flags |= FLOW_F_SNAT;
			if (out->action == FLOW_NEIGH)
				return use_node_address(s, out->ifindex_out, v6) ? 0 : -DROP_NAT_NO_MAPPING;
			out->flags |= FLOW_HALF_AS_NODE;
			if (v6)
				read_ip6(t->to.saddr.ip6, node_cfg.router_ip6);
			else
				t->to.saddr.ip4 = node_cfg.router_ip4;
		}
	} else if (hook == HOOK_POD_EGRESS && out->action == FLOW_NEIGH && !t->dsr) {
		return masquerade(s, out->ifindex_out, v6);
	}
	return 0;
}

__noinline int choose_source4(__u32 hook)
{
	return choose_source(hook, false);
}

__noinline int choose_source6(__u32 hook)
{
	return choose_source(hook, true);
}

// At the uplink's egress: what came through the stack. 0, or -DROP_*; nat.stage says whether anything is translated.
static __always_inline int leave_node(struct __sk_buff *skb, const bool v6)
{
	struct scratch *s = scratch();
	struct translation *t;
	const struct endpoint_info *ep;

	if (!s)
		return -DROP_HOST_NOT_READY;
	t = &s->nat;
	t->stage = NAT_NONE;
	ep = lookup_endpoint(&s->packet.saddr, v6);
	if (ep && !(ep->flags & ENDPOINT_F_HOST))
		return masquerade(s, CTX_FIELD(skb, ifindex), v6);
	// The node's own connection keeps its address, not its port.
	begin_with_packet(t);
	t->flags |= FLOW_F_SNAT;
	t->stage = NAT_NEW;
	return 0;
}

__noinline int leave_node4(struct __sk_buff *skb)
{
	return leave_node(skb, false);
}

__noinline int leave_node6(struct __sk_buff *skb)
{
	return leave_node(skb, true);
}

// Carries out what scratch.nat says. False: the packet cannot be written.
static __always_inline bool apply_translation(struct __sk_buff *skb, const bool v6)
{
	struct scratch *s = scratch();
	struct translation *t;
	struct packet *p;

	if (!s)
		return false;
	t = &s->nat;
	p = &s->packet;
	if (p->flags & PACKET_ICMP_ERROR)
		return rewrite_error(skb, p, s->quoted.proto, &t->to, &t->outer, v6);
	if (!rewrite_parsed(skb, p, &t->to, v6))
		return false;
	// Replies run the other way, and never carry it.
	if (dsr_possible() && !dsr_by_geneve() && is_one_way(t->flags) && carries_frontend(p))
		return add_frontend(skb, &t->from, v6);
	return true;
}

__noinline int apply_translation4(struct __sk_buff *skb)
{
	return apply_translation(skb, false);
}

__noinline int apply_translation6(struct __sk_buff *skb)
{
	return apply_translation(skb, true);
}
