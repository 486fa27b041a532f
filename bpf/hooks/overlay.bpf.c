// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
//   uplink ── UDP ── cilium_vxlan, cilium_geneve ──┬─ ingress: cil_from_overlay: decapsulated, the identity in the tunnel key
//                                                  └─ egress:  cil_to_overlay:   about to be encapsulated by the device
#define AXO_FILE 3

#include "bpf/lib/decide.h"

static __always_inline void read_tunnel_key(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct scratch *s = scratch();

	if (bpf_skb_get_tunnel_key(skb, &key, offsetof(struct bpf_tunnel_key, local_ipv4), 0) &&
	    bpf_skb_get_tunnel_key(skb, &key, offsetof(struct bpf_tunnel_key, local_ipv4), BPF_F_TUNINFO_IPV6))
		key.tunnel_id = NO_TUNNEL_KEY;
	if (s)
		s->tunnel_identity = key.tunnel_id;
}

static __noinline int from_overlay4(struct __sk_buff *skb)
{
	read_tunnel_key(skb);
	return slow_path(skb, HOOK_OVERLAY, false);
}

static __noinline int from_overlay6(struct __sk_buff *skb)
{
	read_tunnel_key(skb);
	return slow_path(skb, HOOK_OVERLAY, true);
}

// The replay of a flow that comes through the device: when the headers are not stripped at the uplink.
static __always_inline int overlay_fast(struct __sk_buff *skb, const bool v6)
{
	struct bpf_tunnel_key key = {};
	struct fast_match match;

	if (bpf_skb_get_tunnel_key(skb, &key, offsetof(struct bpf_tunnel_key, local_ipv4),
				   tunnel_cfg.underlay_v6 ? BPF_F_TUNINFO_IPV6 : 0))
		return FAST_MISS;
	if (!key.tunnel_id || !match_flow(skb, ETH_HLEN, tunnel_cfg.ifindex, key.tunnel_id, &match, v6))
		return FAST_MISS;
	// A datagram whose frontend may be another one than that of the datagram before.
	if (dsr_by_geneve() && (match.flow->flags & (FLOW_F_DSR | FLOW_F_ESTABLISHED)) == FLOW_F_DSR)
		return FAST_MISS;
	return replay(skb, &match, METRIC_INGRESS, true, v6);
}

static __noinline int overlay_fast4(struct __sk_buff *skb)
{
	return overlay_fast(skb, false);
}

static __noinline int overlay_fast6(struct __sk_buff *skb)
{
	return overlay_fast(skb, true);
}

SEC("tc")
int cil_from_overlay(struct __sk_buff *skb)
{
	int verdict;

	// The inner Ethernet header names no device of this node, and need not; but IP takes only what is for the
	// host, in the node as well as in a pod (of a pod's packets, only newer kernels see to that themselves).
	if (CTX_FIELD(skb, pkt_type))
		bpf_skb_change_type(skb, 0 /* PACKET_HOST */);

	switch (CTX_FIELD(skb, protocol)) {
	case bpf_htons(ETH_P_IP):
		if (!node_cfg.ipv4)
			return AXO_PASS;
		verdict = overlay_fast4(skb);
		if (verdict == FAST_MISS)
			verdict = from_overlay4(skb);
		break;
	case bpf_htons(ETH_P_IPV6):
		if (!node_cfg.ipv6)
			return AXO_PASS;
		verdict = overlay_fast6(skb);
		if (verdict == FAST_MISS)
			verdict = from_overlay6(skb);
		break;
	default:
		return AXO_PASS;
	}
	return verdict;
}

SEC("tc")
int cil_to_overlay(struct __sk_buff *skb)
{
	if (!is_decided(skb))
		count_packet(FORWARDED, METRIC_EGRESS, CTX_FIELD(skb, len));
	return AXO_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
