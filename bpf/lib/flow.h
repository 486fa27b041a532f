// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The flow table: keys, stamps, and the fast path's question "is there a current decision?".
#pragma once

#include "bpf/lib/maps.h"
#include "bpf/lib/packet.h"

union flow_key {
	struct flow_key4 v4;
	struct flow_key6 v6;
};

// Index of the half for packets from source to destination: 0 when the source is the lower end.
static __always_inline __u32 flow_direction4(__be32 saddr, __be32 daddr, __be16 sport, __be16 dport)
{
	if (saddr != daddr)
		return bpf_ntohl(saddr) > bpf_ntohl(daddr);
	return bpf_ntohs(sport) > bpf_ntohs(dport);
}

static __always_inline __u32 flow_direction6(const __be32 *saddr, const __be32 *daddr, __be16 sport, __be16 dport)
{
	__u64 s_high = (__u64)bpf_ntohl(saddr[0]) << 32 | bpf_ntohl(saddr[1]);
	__u64 d_high = (__u64)bpf_ntohl(daddr[0]) << 32 | bpf_ntohl(daddr[1]);
	__u64 s_low = (__u64)bpf_ntohl(saddr[2]) << 32 | bpf_ntohl(saddr[3]);
	__u64 d_low = (__u64)bpf_ntohl(daddr[2]) << 32 | bpf_ntohl(daddr[3]);

	if (s_high != d_high)
		return s_high > d_high;
	if (s_low != d_low)
		return s_low > d_low;
	return bpf_ntohs(sport) > bpf_ntohs(dport);
}

static __always_inline struct flow_half *half_of(struct flow *flow, __u32 dir)
{
	OPAQUE(dir);
	dir &= 1;
	return &flow->half[dir];
}

// The two ends in order, without a branch: (a, b) or, with mask all ones, (b, a).
#define ORDERED(low, high, a, b, mask)                    \
	do {                                              \
		typeof(a) swapped = ((a) ^ (b)) & (mask); \
		(low) = (a) ^ swapped;                    \
		(high) = (b) ^ swapped;                   \
	} while (0)

static __always_inline __u32 make_flow_key(union flow_key *key, const union axo_addr *saddr, const union axo_addr *daddr,
					   __be16 sport, __be16 dport, __u8 proto, const bool v6)
{
	__u32 dir, mask;

	if (v6) {
		dir = flow_direction6(saddr->ip6, daddr->ip6, sport, dport);
		OPAQUE(dir);
		mask = -dir;
#pragma unroll
		for (int i = 0; i < 4; i++)
			ORDERED(key->v6.addr[0][i], key->v6.addr[1][i], saddr->ip6[i], daddr->ip6[i], mask);
		ORDERED(key->v6.port[0], key->v6.port[1], sport, dport, mask);
		key->v6.proto = proto;
		key->v6.zone = 0;
		key->v6.pad = 0;
	} else {
		dir = flow_direction4(saddr->ip4, daddr->ip4, sport, dport);
		OPAQUE(dir);
		mask = -dir;
		ORDERED(key->v4.addr[0], key->v4.addr[1], saddr->ip4, daddr->ip4, mask);
		ORDERED(key->v4.port[0], key->v4.port[1], sport, dport, mask);
		key->v4.proto = proto;
		key->v4.zone = 0;
		key->v4.pad = 0;
	}
	return dir;
}

static __always_inline void set_zone(union flow_key *key, __u8 zone, const bool v6)
{
	if (v6)
		key->v6.zone = zone;
	else
		key->v4.zone = zone;
}

// A service's connection whose replies do not come back through this node.
static __always_inline bool is_one_way(__u16 flags)
{
	return (flags & (FLOW_F_DSR | FLOW_F_NODE_PORT)) == (FLOW_F_DSR | FLOW_F_NODE_PORT);
}

static __always_inline bool dsr_possible(void)
{
	return lb_cfg.node_port && lb_cfg.mode != LB_MODE_SNAT;
}

// Direct server return through the tunnel, whatever the routing.
static __always_inline bool dsr_by_geneve(void)
{
	return dsr_possible() && lb_cfg.dispatch == LB_DISPATCH_GENEVE;
}

static __always_inline struct flow *lookup_flow(const union flow_key *key, const bool v6)
{
	if (v6)
		return bpf_map_lookup_elem(&cilium_flows6, &key->v6);
	return bpf_map_lookup_elem(&cilium_flows4, &key->v4);
}

static __always_inline long insert_flow(const union flow_key *key, const struct flow *flow, const bool v6)
{
	if (v6)
		return bpf_map_update_elem(&cilium_flows6, &key->v6, flow, BPF_ANY);
	return bpf_map_update_elem(&cilium_flows4, &key->v4, flow, BPF_ANY);
}

static __always_inline __u32 addr_bucket(const union axo_addr *addr, const bool v6)
{
	return v6 ? axo_addr_bucket6(addr->ip6) : axo_addr_bucket4(addr->ip4);
}

// The sum of what a decision with these dependencies rests on now (bpf/api/generation.h).
static __always_inline __u32 current_stamp(const struct generations *g, const struct flow_half *half)
{
	return 1 + READ_ONCE(g->node) + READ_ONCE(g->ipcache[half->bucket_src & (GENERATION_BUCKETS - 1)]) +
	       READ_ONCE(g->ipcache[half->bucket_dst & (GENERATION_BUCKETS - 1)]) + READ_ONCE(g->policy[half->dep_src].generation) +
	       READ_ONCE(g->policy[half->dep_dst].generation);
}

// May the decision in this half be replayed?
static __always_inline bool half_is_current(const struct flow_half *half, __u32 ifindex_in, __u32 tick)
{
	const struct generations *g;

	if (half->ifindex_in != ifindex_in || tick - half->decided_at >= trace_cfg.report_interval)
		return false;
	g = generations();
	return g && READ_ONCE(half->stamp) == current_stamp(g, half);
}

static __always_inline void account(struct flow_half *half, __u32 bytes)
{
	if (node_cfg.conntrack_accounting) {
		half->packets++;
		half->bytes += bytes;
	}
}
