// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Services' traffic to and from other nodes, forwarded before there is an skb. Decides nothing: replays what the slow path of
// cil_from_netdev has decided, and leaves to that whatever is not an established connection's plain packet.
#pragma once

#include "bpf/lib/flow.h"
#include "bpf/lib/rewrite.h"
#include "bpf/lib/xdp_maps.h"

const volatile struct xdp_config xdp_cfg = {};

// The flow's entry says whom to send to, and XDP has to know the Ethernet addresses for it. They are kept in the half, so
// that one packet per decision asks the kernel for them. No lock: what is written half, or under another decision, has a wrong
// check value.
static __always_inline __u32 link_check(const struct axo_mac *dmac, const struct axo_mac *smac, __u32 decided_at)
{
	const __u16 *d = (const void *)dmac, *s = (const void *)smac;

	return (((__u32)d[0] << 16 | d[1]) * 0x9E3779B1u) ^ (((__u32)d[2] << 16 | s[0]) * 0x85EBCA6Bu) ^ ((__u32)s[1] << 16 | s[2]) ^
	       (decided_at * 0xC2B2AE35u + 1);
}

// The link to the half's next hop. False: not known, so that the packet has to take the way that finds it out.
static __always_inline bool find_link(struct xdp_md *ctx, struct flow_half *half, struct axo_mac *dmac, struct axo_mac *smac)
{
	struct bpf_fib_lookup fib = {};

	*dmac = half->link.dmac;
	*smac = half->link.smac;
	if (likely(half->link.check == link_check(dmac, smac, half->decided_at)))
		return true;
	fib.ifindex = half->ifindex_out;
	if (half->flags & FLOW_HALF_NH_V6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_dst, half->link.next_hop.ip6, 16);
	} else {
		fib.family = AF_INET;
		fib.ipv4_dst = half->link.next_hop.ip4;
	}
	// A next hop is on the link: the route to it is the link itself.
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), BPF_FIB_LOOKUP_OUTPUT) != BPF_FIB_LKUP_RET_SUCCESS ||
	    fib.ifindex != half->ifindex_out)
		return false;
	__builtin_memcpy(dmac, fib.dmac, ETH_ALEN);
	__builtin_memcpy(smac, fib.smac, ETH_ALEN);
	half->link.dmac = *dmac;
	half->link.smac = *smac;
	half->link.check = link_check(dmac, smac, half->decided_at);
	return true;
}

// TCP or UDP right behind an IP header without options. A UDP checksum of zero is none, and stays none.
static __always_inline void rewrite_frame(void *l3, struct ports *ports, __sum16 *check, __u8 proto, const struct flow_rewrite *r,
					  const bool v6)
{
	ports->source = r->sport;
	ports->dest = r->dport;
	if (v6) {
		struct ipv6hdr *ip = l3;

		__builtin_memcpy(&ip->saddr, r->saddr.ip6, 16);
		__builtin_memcpy(&ip->daddr, r->daddr.ip6, 16);
	} else {
		struct iphdr *ip = l3;

		ip->saddr = r->saddr.ip4;
		ip->daddr = r->daddr.ip4;
		ip->check = adjust_csum(ip->check, r->addr_delta);
	}
	if (proto == IPPROTO_TCP) {
		*check = adjust_csum(*check, add_deltas(r->addr_delta, r->port_delta));
	} else if (*check) {
		*check = adjust_csum(*check, add_deltas(r->addr_delta, r->port_delta));
		if (!*check)
			*check = 0xffff;
	}
}

// A virtual device's sender leaves the checksum to hardware: what stands there is the sum of addresses, protocol and length, and
// only the skb knows it. Such a packet is tc's. One in 65536 others looks the same, and goes the same way.
static __always_inline bool is_unfinished(const void *l3, __sum16 check, __u8 proto, const bool v6)
{
	__u32 sum = bpf_htons(proto);

	if (v6) {
		const struct ipv6hdr *ip = l3;
		const __u32 *words = (const void *)&ip->saddr;

		sum += ip->payload_len;
#pragma unroll
		for (int i = 0; i < 8; i++)
			sum += (words[i] & 0xffff) + (words[i] >> 16);
	} else {
		const struct iphdr *ip = l3;

		sum += bpf_htons(bpf_ntohs(ip->tot_len) - sizeof(*ip));
		sum += (ip->saddr & 0xffff) + (ip->saddr >> 16) + (ip->daddr & 0xffff) + (ip->daddr >> 16);
	}
	return check == fold_sum(sum);
}

// How a frame leaves by a device: XDP_TX, XDP_REDIRECT, or XDP_PASS, which is not from here.
static __always_inline int way_out(struct xdp_md *ctx, __u32 out)
{
	const bool same = out == ctx->ingress_ifindex;
	const __u32 *how;

	if (same && !xdp_cfg.ask_devices)
		return XDP_TX;
	how = bpf_map_lookup_elem(&cilium_xdp_devices, &out);
	if (!how)
		return XDP_PASS;
	if (same && (*how & XDP_DEVICE_TX))
		return XDP_TX;
	return *how & XDP_DEVICE_REDIRECT ? XDP_REDIRECT : XDP_PASS;
}

// XDP_PASS: for the stack, as it came.
static __always_inline int accelerate(struct xdp_md *ctx, const bool v6)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	const __u32 l3_len = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct ethhdr *eth = data;
	void *l3 = data + ETH_HLEN;
	struct udphdr *udp = l3 + l3_len;
	struct ports *ports = (void *)udp;
	__sum16 *check = &udp->check;
	struct axo_mac dmac, smac;
	struct flow_half *half;
	union flow_key key;
	struct flow *flow;
	__u32 dir, out;
	int verdict;
	__u8 proto;

	if ((void *)(udp + 1) > end)
		return XDP_PASS;
	if (v6) {
		struct ipv6hdr *ip = l3;

		proto = ip->nexthdr;
		if (ip->hop_limit <= 1)
			return XDP_PASS;
	} else {
		struct iphdr *ip = l3;

		proto = ip->protocol;
		if (ip->ihl != 5 || (ip->frag_off & bpf_htons(IP4_MF | IP4_OFFSET)) || ip->ttl <= 1)
			return XDP_PASS;
	}
	if (proto == IPPROTO_TCP) {
		struct tcphdr *tcp = (void *)udp;

		if ((void *)(tcp + 1) > end || (((__u8 *)tcp)[13] & (TCP_SYN | TCP_FIN | TCP_RST)))
			return XDP_PASS;
		check = &tcp->check;
	} else if (proto != IPPROTO_UDP) {
		return XDP_PASS;
	}
	if (v6) {
		struct ipv6hdr *ip = l3;

		dir = make_flow_key(&key, (void *)&ip->saddr, (void *)&ip->daddr, ports->source, ports->dest, proto, true);
	} else {
		struct iphdr *ip = l3;

		dir = make_flow_key(&key, (void *)&ip->saddr, (void *)&ip->daddr, ports->source, ports->dest, proto, false);
	}
	flow = lookup_flow(&key, v6);
	if (!flow || !(flow->flags & FLOW_F_FAST) || (proto == IPPROTO_UDP && is_one_way(flow->flags)))
		return XDP_PASS;
	half = half_of(flow, dir);
	if (half->action != FLOW_NEIGH || !half_is_current(half, ctx->ingress_ifindex, now_tick()) ||
	    (__u32)(end - l3) > half->mtu)
		return XDP_PASS;
	if (is_unfinished(l3, *check, proto, v6))
		return XDP_PASS;
	out = half->ifindex_out;
	verdict = way_out(ctx, out);
	if (verdict == XDP_PASS)
		return XDP_PASS;
	if (!find_link(ctx, half, &dmac, &smac))
		return XDP_PASS;
	if (flow->flags & (FLOW_F_REWRITE_LOW << (dir & 1)))
		rewrite_frame(l3, ports, check, proto, &flow->rewrite, v6);
	if (v6) {
		struct ipv6hdr *ip = l3;

		ip->hop_limit--;
	} else {
		struct iphdr *ip = l3;

		ip->ttl--;
		ip->check = adjust_csum(ip->check, word_delta(bpf_htons(0x0100), 0));
	}
	__builtin_memcpy(eth->h_dest, &dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, &smac, ETH_ALEN);
	account(half, (__u32)(end - data));
	count_packet(FORWARDED, METRIC_INGRESS, (__u32)(end - data));
	return verdict == XDP_TX ? XDP_TX : (int)bpf_redirect(out, 0);
}

// Is a source among those that are dropped?
static __always_inline bool is_filtered(const union axo_addr *source, const bool v6)
{
	if (v6) {
		struct lpm_v6_key key = {.prefixlen = 128};

		__builtin_memcpy(key.addr, source->ip6, sizeof(key.addr));
		return bpf_map_lookup_elem(&cilium_cidr_v6_fix, &key) || bpf_map_lookup_elem(&cilium_cidr_v6_dyn, &key);
	} else {
		struct lpm_v4_key key = {.prefixlen = 32};

		__builtin_memcpy(key.addr, source, sizeof(key.addr));
		return bpf_map_lookup_elem(&cilium_cidr_v4_fix, &key) || bpf_map_lookup_elem(&cilium_cidr_v4_dyn, &key);
	}
}
