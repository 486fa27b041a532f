// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Carrying out a decision: deliver, send to a neighbour, push outer headers.
#pragma once

#include "bpf/lib/flow.h"

#define VXLAN_FLAGS bpf_htonl(0x08000000)  // RFC 7348: the VNI is valid
#define GENEVE_FLAGS bpf_htonl(ETH_P_TEB) // RFC 8926: version 0, no options, Ethernet inside
#define OUTER4_LEN 50			    // IPv4 20, UDP 8, VXLAN or Geneve 8, Ethernet 14
#define OUTER6_LEN 70

// Of both protocols.
struct tunnelhdr {
	__be32 flags;
	__be32 vni; // in the upper 24 bits
};

static __always_inline __be32 tunnel_flags(void)
{
	return tunnel_cfg.protocol == TUNNEL_GENEVE ? GENEVE_FLAGS : VXLAN_FLAGS;
}

// Without the alignment holes a compiler would add: sizes are those on the wire.
struct outer4 {
	struct iphdr ip;
	struct udphdr udp;
	struct tunnelhdr tunnel;
	struct ethhdr eth;
} __attribute__((packed));

struct outer6 {
	struct ipv6hdr ip;
	struct udphdr udp;
	struct tunnelhdr tunnel;
	struct ethhdr eth;
} __attribute__((packed));

// A node forwards like a router: one hop less. False: the packet has no hop left or is not readable.
static __always_inline bool decrement_ttl(struct __sk_buff *skb, __u32 l3_off, const bool v6)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (v6) {
		struct ipv6hdr *ip = data + l3_off;

		if ((void *)(ip + 1) > end || ip->hop_limit <= 1)
			return false;
		ip->hop_limit--;
		// Only matters for devices that deliver CHECKSUM_COMPLETE; fails harmlessly otherwise.
		bpf_csum_update(skb, (__u16)~bpf_htons(1));
		return true;
	} else {
		struct iphdr *ip = data + l3_off;
		__u32 check;

		if ((void *)(ip + 1) > end || ip->ttl <= 1)
			return false;
		check = ip->check;
		check += bpf_htons(0x0100);
		ip->check = check + (check >= 0xFFFF);
		ip->ttl--;
		return true;
	}
}

static __always_inline bool write_macs(struct __sk_buff *skb, const struct axo_mac *dmac, const struct axo_mac *smac)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return false;
	__builtin_memcpy(eth->h_dest, dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, smac, ETH_ALEN);
	return true;
}

// Size of the largest IP packet that leaves on the wire: of one segment for GSO super-packets.
static __always_inline __u32 wire_length(struct __sk_buff *skb, __u32 l3_len, __u32 header_len)
{
	__u32 gso = CTX_FIELD(skb, gso_size);

	return gso ? gso + header_len : l3_len;
}

static __always_inline __u16 fold_csum(__u64 csum)
{
	csum = (csum & 0xffff) + (csum >> 16);
	csum = (csum & 0xffff) + (csum >> 16);
	return (__u16)~csum;
}

static __always_inline long redirect_next_hop(struct __sk_buff *skb, const struct flow_half *half)
{
	struct bpf_redir_neigh nh = {};

	mark_decided(skb);
	if (half->flags & FLOW_HALF_NH_V6) {
		nh.nh_family = AF_INET6;
		__builtin_memcpy(nh.ipv6_nh, half->route.next_hop.ip6, 16);
	} else {
		nh.nh_family = AF_INET;
		nh.ipv4_nh = half->route.next_hop.ip4;
	}
	return bpf_redirect_neigh(half->ifindex_out, &nh, sizeof(nh), 0);
}

// The identity that goes on the wire: the host is a remote node to everybody else.
static __always_inline __u32 wire_identity(__u32 identity)
{
	return identity == 1 ? 6 : identity;
}

#define WIRE_WORLD 2

// What the tunnel carries for packets of this half.
static __always_inline __u32 carried_identity(const struct flow_half *half)
{
	if (half->flags & FLOW_HALF_AS_NODE)
		return 6;
	if (dsr_by_geneve() && (half->flags & FLOW_HALF_AS_WORLD))
		return WIRE_WORLD;
	return wire_identity(half->identity);
}

// The plain way into the tunnel: the device pushes the headers, and can fragment them.
static __always_inline long send_tunnel_device(struct __sk_buff *skb, const union axo_addr *endpoint, bool endpoint_v6,
					       __u32 identity)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = identity,
		.tunnel_ttl = 64,
	};
	// Without the local address, which older kernels (5.10) do not know; newer ones take the shorter key, too.
	const __u32 size = offsetof(struct bpf_tunnel_key, local_ipv4);

	if (endpoint_v6) {
		__builtin_memcpy(key.remote_ipv6, endpoint->ip6, 16);
		if (bpf_skb_set_tunnel_key(skb, &key, size, BPF_F_TUNINFO_IPV6 | BPF_F_ZERO_CSUM_TX))
			return -DROP_WRITE_ERROR;
	} else {
		// User API of the helper: IPv4 addresses of tunnel keys are in machine order.
		key.remote_ipv4 = bpf_ntohl(endpoint->ip4);
		if (bpf_skb_set_tunnel_key(skb, &key, size, BPF_F_ZERO_CSUM_TX))
			return -DROP_WRITE_ERROR;
	}
	mark_decided(skb);
	return bpf_redirect(tunnel_cfg.ifindex, 0);
}

// The fast way: outer headers of the flow in front, then straight to the uplink's next hop. The
// packet stays one GSO super-packet; the segments' size is left as the sender chose it.
static __always_inline long send_encapsulated(struct __sk_buff *skb, __be16 sport, const struct flow_half *half)
{
	__u32 inner_len = CTX_FIELD(skb, len) - ETH_HLEN;
	__be16 inner_proto = CTX_FIELD(skb, protocol);
	__be32 vni = bpf_htonl(carried_identity(half) << 8);

	if (tunnel_cfg.underlay_v6) {
		struct outer6 h = {};

		if (bpf_skb_adjust_room(skb, OUTER6_LEN, BPF_ADJ_ROOM_MAC,
					BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
						BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH))
			return send_tunnel_device(skb, &half->route.tunnel_endpoint, true, carried_identity(half));
		h.ip.version = 6;
		h.ip.hop_limit = 64;
		h.ip.nexthdr = IPPROTO_UDP;
		h.ip.payload_len = bpf_htons(inner_len + OUTER6_LEN - sizeof(h.ip));
		read_ip6(h.ip.saddr.s6_addr32, tunnel_cfg.node_ip6);
		__builtin_memcpy(&h.ip.daddr, half->route.tunnel_endpoint.ip6, 16);
		h.udp.source = sport;
		h.udp.dest = tunnel_cfg.port;
		h.udp.len = h.ip.payload_len;
		h.tunnel.flags = tunnel_flags();
		h.tunnel.vni = vni;
		h.eth.h_proto = inner_proto;
		if (bpf_skb_store_bytes(skb, ETH_HLEN, &h, sizeof(h), 0))
			return -DROP_WRITE_ERROR;
	} else {
		struct outer4 h = {};
		__s64 csum;

		if (bpf_skb_adjust_room(skb, OUTER4_LEN, BPF_ADJ_ROOM_MAC,
					BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
						BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH))
			return send_tunnel_device(skb, &half->route.tunnel_endpoint, false, carried_identity(half));
		h.ip.version = 4;
		h.ip.ihl = 5;
		h.ip.ttl = 64;
		h.ip.protocol = IPPROTO_UDP;
		h.ip.saddr = tunnel_cfg.node_ip4;
		h.ip.daddr = half->route.tunnel_endpoint.ip4;
		h.ip.tot_len = bpf_htons(inner_len + OUTER4_LEN);
		h.ip.frag_off = bpf_htons(IP4_DF);
		csum = bpf_htons(0x4500) + h.ip.tot_len + h.ip.frag_off + bpf_htons((64 << 8) | IPPROTO_UDP);
		csum += (h.ip.saddr & 0xffff) + (h.ip.saddr >> 16) + (h.ip.daddr & 0xffff) + (h.ip.daddr >> 16);
		h.ip.check = fold_csum(csum);
		h.udp.source = sport;
		h.udp.dest = tunnel_cfg.port;
		h.udp.len = bpf_htons(inner_len + OUTER4_LEN - sizeof(h.ip));
		h.tunnel.flags = tunnel_flags();
		h.tunnel.vni = vni;
		h.eth.h_proto = inner_proto;
		if (bpf_skb_store_bytes(skb, ETH_HLEN, &h, sizeof(h), 0))
			return -DROP_WRITE_ERROR;
	}
	return redirect_next_hop(skb, half);
}

// To a local endpoint. peer: straight into the pod's namespace, only possible at a tc ingress hook.
static __always_inline long deliver(struct __sk_buff *skb, const struct flow_half *half, const bool at_ingress)
{
	if (!write_macs(skb, &half->deliver.dmac, &half->deliver.smac))
		return -DROP_WRITE_ERROR;
	if (at_ingress && (half->flags & FLOW_HALF_PEER))
		return bpf_redirect_peer(half->ifindex_out, 0);
	mark_decided(skb);
	return bpf_redirect(half->ifindex_out, 0);
}
