// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The fast path: one flow lookup, a current decision, out. Anything else is FAST_MISS and goes to
// the slow path (decide.h), which sees the packet unchanged.
#pragma once

#include "bpf/lib/forward.h"
#include "bpf/lib/rewrite.h"

#define FAST_MISS 0x7fffffff

struct fast_match {
	struct flow *flow; // also of a packet that does not match, if it is a plain one
	struct flow_half *half;
	__u32 dir;
	bool absent; // a plain packet, of no connection that is known
};

// Plain TCP (no SYN, FIN, RST) and UDP without IP options or fragments, of a flow with a current decision.
// identity: what a tunnel key said, 0 where the packet carries none.
static __always_inline bool match_zone(struct __sk_buff *skb, __u32 l3_off, __u32 ifindex_in, __u32 identity, const __u8 zone,
				       struct fast_match *match, const bool v6)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	const __u32 l3_len = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct udphdr *l4 = data + l3_off + l3_len;
	struct ports *ports = (void *)l4;
	union flow_key key;
	struct flow *flow;
	struct flow_half *half;
	__u32 header_len, dir;
	__u8 proto, ttl;

	match->absent = false;
	match->flow = NULL;
	if ((void *)(l4 + 1) > end)
		return false;
	if (v6) {
		struct ipv6hdr *ip = data + l3_off;

		proto = ip->nexthdr;
		ttl = ip->hop_limit;
	} else {
		struct iphdr *ip = data + l3_off;

		if (ip->ihl != 5 || (ip->frag_off & bpf_htons(IP4_MF | IP4_OFFSET)))
			return false;
		proto = ip->protocol;
		ttl = ip->ttl;
	}
	if (proto == IPPROTO_TCP) {
		struct tcphdr *tcp = (void *)l4;

		if ((void *)(tcp + 1) > end || (((__u8 *)tcp)[13] & (TCP_SYN | TCP_FIN | TCP_RST)))
			return false;
		header_len = l3_len + tcp->doff * 4;
	} else if (proto == IPPROTO_UDP) {
		header_len = l3_len + sizeof(*l4);
	} else {
		return false;
	}
	if (ttl <= 1)
		return false;
	if (v6) {
		struct ipv6hdr *ip = data + l3_off;

		dir = make_flow_key(&key, (void *)&ip->saddr, (void *)&ip->daddr, ports->source, ports->dest, proto, true);
	} else {
		struct iphdr *ip = data + l3_off;

		dir = make_flow_key(&key, (void *)&ip->saddr, (void *)&ip->daddr, ports->source, ports->dest, proto, false);
	}
	if (zone)
		set_zone(&key, zone, v6);
	flow = lookup_flow(&key, v6);
	match->flow = flow;
	match->dir = dir;
	if (!flow) {
		match->absent = true;
		return false;
	}
	if (!(flow->flags & FLOW_F_FAST))
		return false;
	// Each datagram tells the backend's node its frontend.
	if (dsr_possible() && proto == IPPROTO_UDP && is_one_way(flow->flags))
		return false;
	half = half_of(flow, dir);
	if (!half_is_current(half, ifindex_in, now_tick()))
		return false;
	if (identity && half->identity != identity &&
	    !(dsr_by_geneve() && identity == WIRE_WORLD && (half->flags & FLOW_HALF_AS_WORLD)))
		return false;
	if (wire_length(skb, CTX_FIELD(skb, len) - l3_off, header_len) > half->mtu)
		return false;
	match->half = half;
	return true;
}

static __always_inline bool match_flow(struct __sk_buff *skb, __u32 l3_off, __u32 ifindex_in, __u32 identity,
				       struct fast_match *match, const bool v6)
{
	return match_zone(skb, l3_off, ifindex_in, identity, FLOW_ZONE_DEFAULT, match, v6);
}

// Replays a decision. The packet is Ethernet with its IP header behind it.
static __always_inline int replay(struct __sk_buff *skb, const struct fast_match *match, __u8 direction, const bool at_ingress,
				  const bool v6)
{
	struct flow_half *half = match->half;
	__u8 action = half->action;
	long ret;

	if (action != FLOW_STACK && action != FLOW_DELIVER && action != FLOW_NEIGH && action != FLOW_ENCAP)
		return FAST_MISS;
	if (rewrites(match->flow->flags, match->dir) && !rewrite_plain(skb, &match->flow->rewrite, v6))
		return FAST_MISS;
	if (action == FLOW_STACK) {
		account(half, CTX_FIELD(skb, len));
		count_packet(FORWARDED, direction, CTX_FIELD(skb, len));
		return AXO_PASS;
	}
	if (!decrement_ttl(skb, ETH_HLEN, v6))
		return FAST_MISS;
	account(half, CTX_FIELD(skb, len));
	count_packet(FORWARDED, direction, CTX_FIELD(skb, len));
	if (action == FLOW_DELIVER)
		ret = deliver(skb, half, at_ingress);
	else if (action == FLOW_NEIGH)
		ret = redirect_next_hop(skb, half);
	else
		ret = send_encapsulated(skb, match->flow->tunnel_sport, half);
	if (unlikely(ret < 0)) {
		count_packet(-ret, direction, CTX_FIELD(skb, len));
		return AXO_DROP;
	}
	return ret;
}

// leave_to_stack: what is known and not translated is the stack's business.
static __always_inline int fast_path_or_stack(struct __sk_buff *skb, __u8 direction, const bool at_ingress, const bool leave_to_stack,
					      const bool v6)
{
	struct fast_match match;

	if (!match_flow(skb, ETH_HLEN, CTX_FIELD(skb, ifindex), 0, &match, v6))
		return leave_to_stack && match.flow && !rewrites(match.flow->flags, match.dir) ? AXO_PASS : FAST_MISS;
	return replay(skb, &match, direction, at_ingress, v6);
}

static __always_inline int fast_path(struct __sk_buff *skb, __u8 direction, const bool at_ingress, const bool v6)
{
	return fast_path_or_stack(skb, direction, at_ingress, false, v6);
}
