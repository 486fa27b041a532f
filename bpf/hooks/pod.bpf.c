// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
//   pod eth0 ── lxc device ──┬─ ingress: cil_from_container: what the pod sends
//                            └─ egress:  cil_to_container:   what reaches it through the stack
//
// One set of these programs serves every pod of the node; what differs per pod is in cilium_lxc_dev
// and in the flow table.
#define AXO_FILE 1

#include "bpf/lib/decide.h"
#include "bpf/lib/neighbour.h"

// Functions of their own, so that the slow path's frame does not sit upon theirs.
static __noinline int fast4_egress(struct __sk_buff *skb)
{
	return fast_path(skb, METRIC_EGRESS, true, false);
}

static __noinline int fast6_egress(struct __sk_buff *skb)
{
	return fast_path(skb, METRIC_EGRESS, true, true);
}

static __noinline int fast4_ingress(struct __sk_buff *skb)
{
	return fast_path(skb, METRIC_INGRESS, false, false);
}

static __noinline int fast6_ingress(struct __sk_buff *skb)
{
	return fast_path(skb, METRIC_INGRESS, false, true);
}

static __noinline int from_container4(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_POD_EGRESS, false);
}

static __noinline int from_container6(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_POD_EGRESS, true);
}

static __noinline int to_container4(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_POD_INGRESS, false);
}

static __noinline int to_container6(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_POD_INGRESS, true);
}

static __noinline int from_container_other(struct __sk_buff *skb)
{
	struct event_args ev = {};
	struct packet p = {};
	__u32 ifindex = CTX_FIELD(skb, ifindex);
	struct endpoint_device *dev = bpf_map_lookup_elem(&cilium_lxc_dev, &ifindex);

	p.ethertype = bpf_ntohs(CTX_FIELD(skb, protocol));
	if (!dev)
		return drop_packet(skb, &p, &ev, DROP_NO_LXC, METRIC_EGRESS, __LINE__, false);
	ev.endpoint_src = dev->lxc_id;
	ev.identity_src = dev->sec_id;
	if (CTX_FIELD(skb, protocol) == bpf_htons(ETH_P_ARP)) {
		if (dev->flags & ENDPOINT_DEV_F_ARP_PASS)
			return AXO_PASS;
		return answer_arp(skb, dev);
	}
	return drop_packet(skb, &p, &ev, DROP_UNKNOWN_L3, METRIC_EGRESS, __LINE__, false);
}

SEC("tc")
int cil_from_container(struct __sk_buff *skb)
{
	int verdict;

	switch (CTX_FIELD(skb, protocol)) {
	case bpf_htons(ETH_P_IP):
		if (!node_cfg.ipv4)
			break;
		verdict = fast4_egress(skb);
		return likely(verdict != FAST_MISS) ? verdict : from_container4(skb);
	case bpf_htons(ETH_P_IPV6):
		if (!node_cfg.ipv6)
			break;
		verdict = fast6_egress(skb);
		if (likely(verdict != FAST_MISS))
			return verdict;
		verdict = answer_neighbour_solicitation(skb);
		return verdict != FAST_MISS ? verdict : from_container6(skb);
	}
	return from_container_other(skb);
}

SEC("tc")
int cil_to_container(struct __sk_buff *skb)
{
	int verdict;

	if (is_decided(skb))
		return AXO_PASS;
	switch (CTX_FIELD(skb, protocol)) {
	case bpf_htons(ETH_P_IP):
		verdict = fast4_ingress(skb);
		return likely(verdict != FAST_MISS) ? verdict : to_container4(skb);
	case bpf_htons(ETH_P_IPV6):
		verdict = fast6_ingress(skb);
		return likely(verdict != FAST_MISS) ? verdict : to_container6(skb);
	}
	return AXO_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
