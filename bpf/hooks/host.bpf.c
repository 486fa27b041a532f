// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
//   node's stack ── cilium_host ── egress: cil_from_host: the node, and what it forwards, to pods
//                   cilium_net  ── ingress: cil_to_host:  to the node's stack (also cilium_host ingress)
#define AXO_FILE 4

#include "bpf/lib/decide.h"

// Functions of their own, so that the slow path's frame does not sit upon theirs.
static __noinline int fast4_ingress(struct __sk_buff *skb)
{
	return fast_path(skb, METRIC_INGRESS, false, false);
}

static __noinline int fast6_ingress(struct __sk_buff *skb)
{
	return fast_path(skb, METRIC_INGRESS, false, true);
}

static __noinline int from_host4(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_HOST, false);
}

static __noinline int from_host6(struct __sk_buff *skb)
{
	return slow_path(skb, HOOK_HOST, true);
}

SEC("tc")
int cil_from_host(struct __sk_buff *skb)
{
	int verdict;

	switch (CTX_FIELD(skb, protocol)) {
	case bpf_htons(ETH_P_IP):
		if (!node_cfg.ipv4)
			return AXO_PASS;
		verdict = fast4_ingress(skb);
		return likely(verdict != FAST_MISS) ? verdict : from_host4(skb);
	case bpf_htons(ETH_P_IPV6):
		if (!node_cfg.ipv6)
			return AXO_PASS;
		verdict = fast6_ingress(skb);
		return likely(verdict != FAST_MISS) ? verdict : from_host6(skb);
	}
	return AXO_PASS;
}

SEC("tc")
int cil_to_host(struct __sk_buff *skb)
{
	count_packet(FORWARDED, METRIC_INGRESS, CTX_FIELD(skb, len));
	return AXO_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
