// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
//   wire ── driver ── cil_xdp_entry ──┬─ dropped: sources that are on the list
//                                     ├─ out again: established connections through services, to or from other nodes
//                                     └─ the stack, and cil_from_netdev: everything else
#define AXO_FILE 4

#include "bpf/lib/xdp.h"

static __always_inline int entry4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + ETH_HLEN;

	if (xdp_cfg.prefilter && (void *)(ip + 1) <= end && is_filtered((void *)&ip->saddr, false)) {
		count_packet(DROP_POLICY_DENY, METRIC_INGRESS, (__u32)(end - data));
		return XDP_DROP;
	}
	return xdp_cfg.accelerate ? accelerate(ctx, false) : XDP_PASS;
}

static __always_inline int entry6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + ETH_HLEN;

	if (xdp_cfg.prefilter && (void *)(ip + 1) <= end && is_filtered((void *)&ip->saddr, true)) {
		count_packet(DROP_POLICY_DENY, METRIC_INGRESS, (__u32)(end - data));
		return XDP_DROP;
	}
	return xdp_cfg.accelerate ? accelerate(ctx, true) : XDP_PASS;
}

SEC("xdp")
int cil_xdp_entry(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP) && node_cfg.ipv4)
		return entry4(ctx);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6) && node_cfg.ipv6)
		return entry6(ctx);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
