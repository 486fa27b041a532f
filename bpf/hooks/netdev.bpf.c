// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
//   wire ── uplink ──┬─ ingress: cil_from_netdev: pods' traffic from other nodes and from outside; our VXLAN
//                    └─ egress:  cil_to_netdev:   what leaves the node; the host firewall's, what the node itself sends
//
// VXLAN packets of flows with a current decision are stripped and delivered here, without the tunnel
// device. All others go on to it and come back through cil_from_overlay.
#define AXO_FILE 2

#include "bpf/lib/decide.h"

// Functions of their own, so that the slow path's frame does not sit upon theirs.
static __noinline int fast4_ingress(struct __sk_buff *skb)
{
	return fast_path(skb, METRIC_INGRESS, true, false);
}

static __noinline int fast6_ingress(struct __sk_buff *skb)
{
	return fast_path(skb, METRIC_INGRESS, true, true);
}

static __noinline int from_netdev4(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_NETDEV, false);
}

static __noinline int from_netdev6(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_NETDEV, true);
}

// Strips the outer headers of a flow's packet and delivers it. FAST_MISS: for the tunnel device.
static __always_inline int decapsulate(struct __sk_buff *skb, const bool outer_v6, const bool v6)
{
	const __u32 outer_len = outer_v6 ? OUTER6_LEN : OUTER4_LEN;
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct vxlanhdr *vxlan = data + ETH_HLEN + outer_len - ETH_HLEN - sizeof(*vxlan);
	struct ethhdr *inner = (void *)(vxlan + 1);
	struct fast_match match;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	if ((void *)(inner + 1) > end || vxlan->flags != VXLAN_FLAGS ||
	    !match_flow(skb, ETH_HLEN + outer_len, tunnel_cfg.ifindex, bpf_ntohl(vxlan->vni) >> 8, &match, v6))
		return FAST_MISS;
	if (match.half->action != FLOW_DELIVER)
		return FAST_MISS;
	if (outer_v6 != v6)
		flags |= v6 ? AXO_ADJ_ROOM_DECAP_L3_IPV6 : AXO_ADJ_ROOM_DECAP_L3_IPV4;
	if (bpf_skb_adjust_room(skb, -(__s32)outer_len, BPF_ADJ_ROOM_MAC, flags))
		return FAST_MISS;
	if (outer_v6 != v6) {
		struct ethhdr *eth;

		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		eth = data;
		if ((void *)(eth + 1) > end)
			return AXO_DROP;
		eth->h_proto = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	}
	return replay(skb, &match, METRIC_INGRESS, true, v6);
}

static __always_inline int strip_tunnel(struct __sk_buff *skb, const bool outer_v6)
{
	const __u32 l3_len = outer_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct udphdr *udp = data + ETH_HLEN + l3_len;
	struct ethhdr *inner = (void *)(udp + 1) + sizeof(struct vxlanhdr);
	int verdict = FAST_MISS;

	if ((void *)(inner + 1) > end || udp->dest != tunnel_cfg.port)
		return FAST_MISS;
	if (outer_v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if (ip->nexthdr != IPPROTO_UDP)
			return FAST_MISS;
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		if (ip->protocol != IPPROTO_UDP || ip->ihl != 5 || (ip->frag_off & bpf_htons(IP4_MF | IP4_OFFSET)))
			return FAST_MISS;
	}
	if (inner->h_proto == bpf_htons(ETH_P_IP) && node_cfg.ipv4) {
		if (!outer_v6 || tunnel_cfg.has_decap_flags)
			verdict = decapsulate(skb, outer_v6, false);
	} else if (inner->h_proto == bpf_htons(ETH_P_IPV6) && node_cfg.ipv6) {
		if (outer_v6 || tunnel_cfg.has_decap_flags)
			verdict = decapsulate(skb, outer_v6, true);
	}
	// Ours, but not a known flow: the stack takes it to the tunnel device, if the node may receive it at all.
	return verdict == FAST_MISS && !node_cfg.host_firewall ? AXO_PASS : verdict;
}

static __noinline int from_tunnel(struct __sk_buff *skb)
{
	return tunnel_cfg.underlay_v6 ? strip_tunnel(skb, true) : strip_tunnel(skb, false);
}

SEC("tc")
int cil_from_netdev(struct __sk_buff *skb)
{
	int verdict;

	switch (CTX_FIELD(skb, protocol)) {
	case bpf_htons(ETH_P_IP):
		if (tunnel_cfg.fast && !tunnel_cfg.underlay_v6) {
			verdict = from_tunnel(skb);
			if (verdict != FAST_MISS)
				return verdict;
		}
		if (!node_cfg.ipv4 || (node_cfg.legacy_routing && !node_cfg.host_firewall))
			return AXO_PASS;
		verdict = fast4_ingress(skb);
		return likely(verdict != FAST_MISS) ? verdict : from_netdev4(skb);
	case bpf_htons(ETH_P_IPV6):
		if (tunnel_cfg.fast && tunnel_cfg.underlay_v6) {
			verdict = from_tunnel(skb);
			if (verdict != FAST_MISS)
				return verdict;
		}
		if (!node_cfg.ipv6 || (node_cfg.legacy_routing && !node_cfg.host_firewall))
			return AXO_PASS;
		verdict = fast6_ingress(skb);
		return likely(verdict != FAST_MISS) ? verdict : from_netdev6(skb);
	}
	return AXO_PASS;
}

// What the node itself sends, with the host firewall. It has its route: all there is to replay is that it may go.
static __always_inline int host_fast_path(struct __sk_buff *skb, const bool v6)
{
	struct fast_match match;

	if (!match_flow(skb, ETH_HLEN, CTX_FIELD(skb, ifindex), 0, &match, v6) || match.half->action != FLOW_STACK)
		return FAST_MISS;
	account(match.half, CTX_FIELD(skb, len));
	count_packet(FORWARDED, METRIC_EGRESS, CTX_FIELD(skb, len));
	return AXO_PASS;
}

static __noinline int fast4_egress(struct __sk_buff *skb)
{
	return host_fast_path(skb, false);
}

static __noinline int fast6_egress(struct __sk_buff *skb)
{
	return host_fast_path(skb, true);
}

static __noinline int to_netdev4(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_NETDEV_EGRESS, false);
}

static __noinline int to_netdev6(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_NETDEV_EGRESS, true);
}

SEC("tc")
int cil_to_netdev(struct __sk_buff *skb)
{
	int verdict;

	// Decided where it came in, and counted there.
	if (is_decided(skb))
		return AXO_PASS;
	if (node_cfg.host_firewall) {
		switch (CTX_FIELD(skb, protocol)) {
		case bpf_htons(ETH_P_IP):
			if (!node_cfg.ipv4)
				break;
			verdict = fast4_egress(skb);
			return likely(verdict != FAST_MISS) ? verdict : to_netdev4(skb);
		case bpf_htons(ETH_P_IPV6):
			if (!node_cfg.ipv6)
				break;
			verdict = fast6_egress(skb);
			return likely(verdict != FAST_MISS) ? verdict : to_netdev6(skb);
		}
	}
	count_packet(FORWARDED, METRIC_EGRESS, CTX_FIELD(skb, len));
	return AXO_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
