// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Answers to a pod that asks who has its gateway: ARP (RFC 826) and neighbour discovery (RFC 4861).
// A pod's only on-link neighbour is its gateway, so every question gets the host's end of the veth,
// except for the pod's own address (duplicate address detection must not be answered).
#pragma once

#include "bpf/lib/fast.h"

#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

struct arp_ipv4 {
	struct {
		__be16 ar_hrd;
		__be16 ar_pro;
		__u8 ar_hln;
		__u8 ar_pln;
		__be16 ar_op;
	} hdr;
	__u8 sender_mac[6];
	__be32 sender_ip;
	__u8 target_mac[6];
	__be32 target_ip;
} __attribute__((packed));

static __always_inline int answer_arp(struct __sk_buff *skb, const struct endpoint_device *dev)
{
	struct arp_ipv4 arp;
	struct axo_mac asker;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return AXO_DROP;
	if (arp.hdr.ar_hrd != bpf_htons(ARPHRD_ETHER) || arp.hdr.ar_pro != bpf_htons(ETH_P_IP) || arp.hdr.ar_hln != 6 ||
	    arp.hdr.ar_pln != 4 || arp.hdr.ar_op != bpf_htons(ARPOP_REQUEST))
		return AXO_PASS;
	if (arp.target_ip == dev->ip4 || arp.sender_ip == 0)
		return AXO_PASS;
	__builtin_memcpy(&asker, arp.sender_mac, 6);
	arp.hdr.ar_op = bpf_htons(ARPOP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, 6);
	__builtin_memcpy(arp.sender_mac, &dev->node_mac, 6);
	arp.sender_ip ^= arp.target_ip;
	arp.target_ip ^= arp.sender_ip;
	arp.sender_ip ^= arp.target_ip;
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), 0) || !write_macs(skb, &asker, &dev->node_mac))
		return AXO_DROP;
	mark_decided(skb);
	return bpf_redirect(CTX_FIELD(skb, ifindex), 0);
}

struct neighbour_message {
	struct icmp6hdr icmp;
	__be32 target[4];
	__u8 option_type;
	__u8 option_len;
	__u8 mac[6];
} __attribute__((packed));

#define ND_NEIGHBOR_SOLICIT 135
#define ND_NEIGHBOR_ADVERT 136
#define ND_TARGET_LINK_ADDRESS 2

static __noinline int advertise_neighbour(struct __sk_buff *skb)
{
	__u32 ifindex = CTX_FIELD(skb, ifindex);
	struct endpoint_device *dev = bpf_map_lookup_elem(&cilium_lxc_dev, &ifindex);
	struct neighbour_message nd;
	struct axo_mac asker;
	struct ipv6hdr ip;
	struct {
		__be32 length;
		__be32 next;
	} pseudo = { bpf_htonl(sizeof(nd)), bpf_htonl(IPPROTO_ICMPV6) };
	__s64 csum;

	if (!dev || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &nd, sizeof(nd) - 8) ||
	    bpf_skb_load_bytes(skb, ETH_ALEN, &asker, sizeof(asker)))
		return AXO_DROP;
	// From the unspecified address: duplicate address detection. RFC 4861 7.1.1: hop limit 255, or it was routed.
	if (!(ip.saddr.s6_addr32[0] | ip.saddr.s6_addr32[1] | ip.saddr.s6_addr32[2] | ip.saddr.s6_addr32[3]) ||
	    ip.hop_limit != 255)
		return AXO_PASS;
	if (nd.target[0] == dev->ip6[0] && nd.target[1] == dev->ip6[1] && nd.target[2] == dev->ip6[2] &&
	    nd.target[3] == dev->ip6[3])
		return AXO_PASS;
	__builtin_memcpy(&ip.daddr, &ip.saddr, 16);
	__builtin_memcpy(&ip.saddr, nd.target, 16);
	ip.payload_len = bpf_htons(sizeof(nd));
	__builtin_memset(&nd.icmp, 0, sizeof(nd.icmp));
	nd.icmp.icmp6_type = ND_NEIGHBOR_ADVERT;
	nd.icmp.icmp6_dataun.un_data32[0] = bpf_htonl(0xe0000000); // router, solicited, override
	nd.option_type = ND_TARGET_LINK_ADDRESS;
	nd.option_len = 1;
	__builtin_memcpy(nd.mac, &dev->node_mac, 6);
	csum = bpf_csum_diff(NULL, 0, (void *)&ip.saddr, 32, 0);
	csum = bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), csum);
	csum = bpf_csum_diff(NULL, 0, (void *)&nd, sizeof(nd), csum);
	nd.icmp.icmp6_cksum = fold_csum(csum);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(ip) + sizeof(nd), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &nd, sizeof(nd), 0) || !write_macs(skb, &asker, &dev->node_mac))
		return AXO_DROP;
	mark_decided(skb);
	return bpf_redirect(CTX_FIELD(skb, ifindex), 0);
}

// FAST_MISS: not a neighbour solicitation.
static __always_inline int answer_neighbour_solicitation(struct __sk_buff *skb)
{
	struct {
		__u8 next;
		__u8 hop_limit;
	} ip;
	__u8 type;

	if (bpf_skb_load_bytes(skb, ETH_HLEN + 6, &ip, sizeof(ip)) || ip.next != IPPROTO_ICMPV6)
		return FAST_MISS;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &type, 1) || type != ND_NEIGHBOR_SOLICIT)
		return FAST_MISS;
	return advertise_neighbour(skb);
}
