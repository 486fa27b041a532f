// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The maps, pinned by name in tc/globals and shared by all objects (src/maps/paths.h).
#pragma once

#include "bpf/lib/common.h"

#define AXO_PIN __uint(pinning, LIBBPF_PIN_BY_NAME)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint_info);
	__uint(max_entries, 65535);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_lxc SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct endpoint_device);
	__uint(max_entries, 65535);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_lxc_dev SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct ipcache_key);
	__type(value, struct remote_endpoint_info);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
	AXO_PIN;
} cilium_ipcache_v2 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct generations);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	AXO_PIN;
} cilium_generations SEC(".maps");

// The memory of compiled policies. Slabs are made by the agent, in the sizes that its policies need;
// programs only read them.
struct policy_slab {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32)); // in an inner map's definition clang 19 leaves types out
	__uint(value_size, sizeof(struct policy_row));
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, POLICY_SLABS);
	AXO_PIN;
	__array(values, struct policy_slab);
} cilium_policy_slabs SEC(".maps");

// A hash that grows with use, not an LRU: an LRU allocates everything up front (100 MiB at this size)
// and may evict a living connection under pressure. When it is full a new connection is refused with
// a reason that says so, and the collector is woken.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key4);
	__type(value, struct flow);
	__uint(max_entries, 524288);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key6);
	__type(value, struct flow);
	__uint(max_entries, 524288);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ipv4_frag_id);
	__type(value, struct frag_l4ports);
	__uint(max_entries, 8192);
	AXO_PIN;
} cilium_ipv4_frag_datagrams SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ipv6_frag_id);
	__type(value, struct frag_l4ports);
	__uint(max_entries, 8192);
	AXO_PIN;
} cilium_ipv6_frag_datagrams SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 * 1024 * 1024);
	AXO_PIN;
} cilium_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, EVENT_LOST_SLOTS);
	AXO_PIN;
} cilium_events_lost SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct metrics_value);
	__uint(max_entries, METRICS_ENTRIES);
	AXO_PIN;
} cilium_metrics SEC(".maps");

static __always_inline struct generations *generations(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cilium_generations, &zero);
}

static __always_inline void count_packet(__u8 reason, __u8 direction, __u32 bytes)
{
	__u32 index = metrics_index(reason, direction);
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_metrics, &index);

	if (value) {
		value->count++;
		value->bytes += bytes;
	}
}
