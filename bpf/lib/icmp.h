// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// ICMP errors made by the datapath: packet too big, time exceeded. RFC 792, 1191, 4443.
#pragma once

#include "bpf/lib/scratch.h"

static __always_inline bool swap_macs(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct axo_mac mac;

	if ((void *)(eth + 1) > end)
		return false;
	__builtin_memcpy(&mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, &mac, ETH_ALEN);
	return true;
}

// Returns how much was read, 0: too short.
static __always_inline __u32 load_quote(struct __sk_buff *skb, __u8 *quote, const __u32 least)
{
	if (!bpf_skb_load_bytes(skb, ETH_HLEN, quote, ICMP_QUOTE))
		return ICMP_QUOTE;
	if (!bpf_skb_load_bytes(skb, ETH_HLEN, quote, ICMP_QUOTE_MEDIUM))
		return ICMP_QUOTE_MEDIUM;
	return bpf_skb_load_bytes(skb, ETH_HLEN, quote, least) ? 0 : least;
}

// Turns the packet into the error about itself. False: it is too short to be quoted, or cannot be changed.
static __always_inline bool make_icmp_error(struct __sk_buff *skb, struct scratch *s, __u8 type, __u8 code, __u32 mtu, const bool v6)
{
	if (v6) {
		struct icmp6_error *e = &s->icmp.v6;
		__u32 quoted = load_quote(skb, e->quote, ICMP6_QUOTE_LEAST);
		__u32 len = sizeof(e->icmp) + quoted;
		struct {
			__be32 length;
			__be32 next;
		} pseudo = { bpf_htonl(len), bpf_htonl(IPPROTO_ICMPV6) };
		__s64 csum;

		if (!quoted)
			return false;
		__builtin_memset(&e->ip, 0, sizeof(e->ip));
		__builtin_memset(&e->icmp, 0, sizeof(e->icmp));
		e->ip.version = 6;
		e->ip.nexthdr = IPPROTO_ICMPV6;
		e->ip.hop_limit = 64;
		e->ip.payload_len = bpf_htons(len);
		if (s->nat.answer)
			__builtin_memcpy(&e->ip.saddr, ((struct ipv6hdr *)e->quote)->daddr.s6_addr, 16);
		else
			read_ip6(e->ip.saddr.s6_addr32, node_cfg.router_ip6);
		__builtin_memcpy(&e->ip.daddr, ((struct ipv6hdr *)e->quote)->saddr.s6_addr, 16);
		e->icmp.icmp6_type = type;
		e->icmp.icmp6_code = code;
		e->icmp.icmp6_mtu = bpf_htonl(mtu);
		csum = bpf_csum_diff(NULL, 0, (void *)&e->ip.saddr, 32, 0);
		csum = bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), csum);
		csum = bpf_csum_diff(NULL, 0, (void *)&e->icmp, len, csum);
		e->icmp.icmp6_cksum = fold_csum(csum);
		if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(e->ip) + len, 0) || !swap_macs(skb))
			return false;
		return bpf_skb_store_bytes(skb, ETH_HLEN, e, sizeof(e->ip) + len, 0) == 0;
	} else {
		struct icmp4_error *e = &s->icmp.v4;
		__u32 quoted = load_quote(skb, e->quote, ICMP4_QUOTE_LEAST);
		__u32 len = sizeof(e->icmp) + quoted;
		__s64 csum;

		if (!quoted)
			return false;
		__builtin_memset(&e->ip, 0, sizeof(e->ip));
		__builtin_memset(&e->icmp, 0, sizeof(e->icmp));
		e->ip.version = 4;
		e->ip.ihl = 5;
		e->ip.ttl = 64;
		e->ip.protocol = IPPROTO_ICMP;
		e->ip.tot_len = bpf_htons(sizeof(e->ip) + len);
		e->ip.saddr = s->nat.answer ? ((struct iphdr *)e->quote)->daddr : node_cfg.router_ip4;
		e->ip.daddr = ((struct iphdr *)e->quote)->saddr;
		csum = bpf_csum_diff(NULL, 0, (void *)&e->ip, sizeof(e->ip), 0);
		e->ip.check = fold_csum(csum);
		e->icmp.type = type;
		e->icmp.code = code;
		e->icmp.un.frag.mtu = bpf_htons(mtu);
		csum = bpf_csum_diff(NULL, 0, (void *)&e->icmp, len, 0);
		e->icmp.checksum = fold_csum(csum);
		if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(e->ip) + len, 0) || !swap_macs(skb))
			return false;
		return bpf_skb_store_bytes(skb, ETH_HLEN, e, sizeof(e->ip) + len, 0) == 0;
	}
}

// Back to where the packet came from: out of the device at its ingress hook, into the stack at an egress hook.
__noinline int send_icmp_error4(struct __sk_buff *skb, __u32 type, __u32 code, __u32 mtu, __u32 redirect_flags)
{
	struct scratch *s = scratch();

	if (!s || !make_icmp_error(skb, s, type, code, mtu, false))
		return AXO_DROP;
	mark_decided(skb);
	return bpf_redirect(CTX_FIELD(skb, ifindex), redirect_flags);
}

__noinline int send_icmp_error6(struct __sk_buff *skb, __u32 type, __u32 code, __u32 mtu, __u32 redirect_flags)
{
	struct scratch *s = scratch();

	if (!s || !make_icmp_error(skb, s, type, code, mtu, true))
		return AXO_DROP;
	mark_decided(skb);
	return bpf_redirect(CTX_FIELD(skb, ifindex), redirect_flags);
}

static __always_inline int reply_too_big(struct __sk_buff *skb, __u32 mtu, const bool at_ingress, const bool v6)
{
	__u32 flags = at_ingress ? 0 : BPF_F_INGRESS;

	if (v6)
		return send_icmp_error6(skb, ICMPV6_PKT_TOOBIG, 0, mtu, flags);
	return send_icmp_error4(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu, flags);
}

// From whom the packet was sent to: there is nobody else to speak for a service.
static __always_inline int reply_port_unreachable(struct __sk_buff *skb, const bool at_ingress, const bool v6)
{
	__u32 flags = at_ingress ? 0 : BPF_F_INGRESS;

	if (v6)
		return send_icmp_error6(skb, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0, flags);
	return send_icmp_error4(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0, flags);
}

static __always_inline int reply_time_exceeded(struct __sk_buff *skb, const bool at_ingress, const bool v6)
{
	__u32 flags = at_ingress ? 0 : BPF_F_INGRESS;

	if (v6)
		return send_icmp_error6(skb, ICMPV6_TIME_EXCEED, 0, 0, flags);
	return send_icmp_error4(skb, ICMP_TIME_EXCEEDED, 0, 0, flags);
}
