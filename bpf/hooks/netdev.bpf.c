// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
//   wire ── uplink ──┬─ ingress: cil_from_netdev: pods' traffic from other nodes and from outside; our tunnel's
//                    └─ egress:  cil_to_netdev:   what leaves the node; the host firewall's, what the node itself sends
//
// The tunnel's packets for pods of this node are stripped and delivered here, without its device. All others, and those
// of Geneve with options, go on to it and come back through cil_from_overlay.
#define AXO_FILE 2

#include "bpf/lib/decide.h"

// Functions of their own, so that the slow path's frame does not sit upon theirs.
static __noinline int fast4_ingress(struct __sk_buff *skb)
{
	return fast_path_or_stack(skb, METRIC_INGRESS, true, node_cfg.legacy_routing && !node_cfg.host_firewall, false);
}

static __noinline int fast6_ingress(struct __sk_buff *skb)
{
	return fast_path_or_stack(skb, METRIC_INGRESS, true, node_cfg.legacy_routing && !node_cfg.host_firewall, true);
}

static __noinline int from_netdev4(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_NETDEV, false);
}

static __noinline int from_netdev6(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_NETDEV, true);
}

static __always_inline bool is_node_address6(const __be32 *ip6)
{
	return !((ip6[0] ^ tunnel_cfg.node_ip6[0]) | (ip6[1] ^ tunnel_cfg.node_ip6[1]) | (ip6[2] ^ tunnel_cfg.node_ip6[2]) |
		 (ip6[3] ^ tunnel_cfg.node_ip6[3]));
}

static __noinline int from_wire_overlay4(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_OVERLAY, false);
}

static __noinline int from_wire_overlay6(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_OVERLAY, true);
}

// The outer headers are off; the slow path is yet to come, from the program itself: its frames do not fit upon these.
#define STRIPPED4 0x7ffffffc
#define STRIPPED6 0x7ffffffd

// Takes the outer headers off. FAST_MISS: the packet is as it was.
static __always_inline int pull_outer_headers(struct __sk_buff *skb, const bool outer_v6, const bool v6)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	if (outer_v6 != v6)
		flags |= v6 ? AXO_ADJ_ROOM_DECAP_L3_IPV6 : AXO_ADJ_ROOM_DECAP_L3_IPV4;
	if (bpf_skb_adjust_room(skb, outer_v6 ? -OUTER6_LEN : -OUTER4_LEN, BPF_ADJ_ROOM_MAC, flags))
		return FAST_MISS;
	if (outer_v6 != v6) {
		void *data = (void *)(long)skb->data;
		void *end = (void *)(long)skb->data_end;
		struct ethhdr *eth = data;

		if ((void *)(eth + 1) > end)
			return AXO_DROP;
		eth->h_proto = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	}
	return AXO_PASS;
}

// Does a packet behind outer headers belong to a connection that came through a service of this node: does an entry rewrite it?
static __always_inline bool is_translated_inside(struct __sk_buff *skb, __u32 l3_off, const bool v6)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ports *ports = data + l3_off + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	const struct flow *flow;
	union flow_key key;
	__u32 dir;

	if (!lb_cfg.node_port || (void *)(ports + 1) > end)
		return false;
	if (v6) {
		struct ipv6hdr *ip = data + l3_off;

		if (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP)
			return false;
		dir = make_flow_key(&key, (void *)&ip->saddr, (void *)&ip->daddr, ports->source, ports->dest, ip->nexthdr, true);
	} else {
		struct iphdr *ip = data + l3_off;

		if (ip->ihl != 5 || (ip->frag_off & bpf_htons(IP4_MF | IP4_OFFSET)) ||
		    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
			return false;
		dir = make_flow_key(&key, (void *)&ip->saddr, (void *)&ip->daddr, ports->source, ports->dest, ip->protocol, false);
	}
	flow = lookup_flow(&key, v6);
	return flow && rewrites(flow->flags, dir);
}

// A packet for a pod of this node, or a reply to a client of its services, that no decision stands for is stripped here too: most are handshakes.
// The tunnel device would queue it for another round of the stack before its hook saw it, which costs a short connection more than everything else here.
static __always_inline int decide_stripped(struct __sk_buff *skb, __u32 identity, const bool outer_v6, const bool v6)
{
	const __u32 inner_off = ETH_HLEN + (outer_v6 ? OUTER6_LEN : OUTER4_LEN);
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	void *inner = data + inner_off;
	const struct endpoint_info *ep;
	struct scratch *s = scratch();
	union axo_addr daddr = {};
	int verdict;

	if (v6) {
		struct ipv6hdr *ip = inner;

		// Whose last hop this is gets an error back through the tunnel: the device's business.
		if ((void *)(ip + 1) > end || ip->hop_limit <= 1)
			return FAST_MISS;
		__builtin_memcpy(daddr.ip6, ip->daddr.s6_addr, 16);
	} else {
		struct iphdr *ip = inner;

		if ((void *)(ip + 1) > end || ip->ttl <= 1)
			return FAST_MISS;
		daddr.ip4 = ip->daddr;
	}
	ep = lookup_endpoint(&daddr, v6);
	if (!s || ((!ep || (ep->flags & ENDPOINT_F_HOST)) && !is_translated_inside(skb, inner_off, v6)))
		return FAST_MISS;
	verdict = pull_outer_headers(skb, outer_v6, v6);
	if (verdict != AXO_PASS)
		return verdict;
	s->tunnel_identity = identity;
	return v6 ? STRIPPED6 : STRIPPED4;
}

// Strips the outer headers of a pod's packet and delivers it. FAST_MISS: for the tunnel device.
static __always_inline int decapsulate(struct __sk_buff *skb, const bool outer_v6, const bool v6)
{
	const __u32 outer_len = outer_v6 ? OUTER6_LEN : OUTER4_LEN;
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct tunnelhdr *tunnel = data + ETH_HLEN + outer_len - ETH_HLEN - sizeof(*tunnel);
	struct ethhdr *inner = (void *)(tunnel + 1);
	struct fast_match match;
	__u32 identity;
	int verdict;

	if ((void *)(inner + 1) > end || tunnel->flags != tunnel_flags())
		return FAST_MISS;
	identity = bpf_ntohl(tunnel->vni) >> 8;
	// Identity 0 would mean "carries none" to match_flow; in a tunnel it is invalid.
	if (!identity || !match_flow(skb, ETH_HLEN + outer_len, tunnel_cfg.ifindex, identity, &match, v6)) {
		// With a host firewall, who may send to the tunnel at all is asked first.
		if (node_cfg.host_firewall || node_cfg.legacy_routing)
			return FAST_MISS;
		return decide_stripped(skb, identity, outer_v6, v6);
	}
	if (match.half->action != FLOW_DELIVER && !(match.half->action == FLOW_NEIGH && rewrites(match.flow->flags, match.dir)))
		return FAST_MISS;
	verdict = pull_outer_headers(skb, outer_v6, v6);
	return verdict == AXO_PASS ? replay(skb, &match, METRIC_INGRESS, true, v6) : verdict;
}

static __always_inline int strip_tunnel(struct __sk_buff *skb, const bool outer_v6)
{
	const __u32 l3_len = outer_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct udphdr *udp = data + ETH_HLEN + l3_len;
	struct ethhdr *inner = (void *)(udp + 1) + sizeof(struct tunnelhdr);
	int verdict = FAST_MISS;

	if ((void *)(inner + 1) > end || udp->dest != tunnel_cfg.port)
		return FAST_MISS;
	if (outer_v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if (ip->nexthdr != IPPROTO_UDP || !is_node_address6(ip->daddr.s6_addr32))
			return FAST_MISS;
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		if (ip->protocol != IPPROTO_UDP || ip->ihl != 5 || (ip->frag_off & bpf_htons(IP4_MF | IP4_OFFSET)) ||
		    ip->daddr != tunnel_cfg.node_ip4)
			return FAST_MISS;
	}
	if (inner->h_proto == bpf_htons(ETH_P_IP) && node_cfg.ipv4) {
		if (!outer_v6 || tunnel_cfg.has_decap_flags)
			verdict = decapsulate(skb, outer_v6, false);
	} else if (inner->h_proto == bpf_htons(ETH_P_IPV6) && node_cfg.ipv6) {
		if (outer_v6 || tunnel_cfg.has_decap_flags)
			verdict = decapsulate(skb, outer_v6, true);
	}
	// Ours, but not a pod's: the stack takes it to the tunnel device, if the node may receive it at all.
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
			if (verdict == STRIPPED4)
				return from_wire_overlay4(skb);
			if (verdict == STRIPPED6)
				return from_wire_overlay6(skb);
			if (verdict != FAST_MISS)
				return verdict;
		}
		if (!node_cfg.ipv4 || (node_cfg.legacy_routing && !node_cfg.host_firewall && !nat_on()))
			return AXO_PASS;
		verdict = fast4_ingress(skb);
		return likely(verdict != FAST_MISS) ? verdict : from_netdev4(skb);
	case bpf_htons(ETH_P_IPV6):
		if (tunnel_cfg.fast && tunnel_cfg.underlay_v6) {
			verdict = from_tunnel(skb);
			if (verdict == STRIPPED4)
				return from_wire_overlay4(skb);
			if (verdict == STRIPPED6)
				return from_wire_overlay6(skb);
			if (verdict != FAST_MISS)
				return verdict;
		}
		if (!node_cfg.ipv6 || (node_cfg.legacy_routing && !node_cfg.host_firewall && !nat_on()))
			return AXO_PASS;
		verdict = fast6_ingress(skb);
		return likely(verdict != FAST_MISS) ? verdict : from_netdev6(skb);
	}
	return AXO_PASS;
}

// What the node itself sends. It has its route: all there is to replay is that it may go, and with which addresses.
static __always_inline int host_fast_path(struct __sk_buff *skb, const bool v6)
{
	struct fast_match match;

	if (!match_flow(skb, ETH_HLEN, CTX_FIELD(skb, ifindex), 0, &match, v6)) {
		bool unknown = match.absent;

		if (!nat_on())
			return FAST_MISS;
		if (!match_zone(skb, ETH_HLEN, CTX_FIELD(skb, ifindex), 0, FLOW_ZONE_UPLINK, &match, v6)) {
			// Nothing that is translated here is unknown: a pod's connection has an entry since its own device, a
			// reply its opener's, and a port that is taken the one that has taken it.
			if (!unknown || !match.absent || node_cfg.host_firewall)
				return FAST_MISS;
			count_packet(FORWARDED, METRIC_EGRESS, CTX_FIELD(skb, len));
			return AXO_PASS;
		}
	}
	return match.half->action == FLOW_STACK ? replay(skb, &match, METRIC_EGRESS, false, v6) : FAST_MISS;
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
	if (node_cfg.host_firewall || nat_on()) {
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
