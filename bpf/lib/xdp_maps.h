// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Maps that only the XDP program has. Sources that are dropped: single addresses in a hash, prefixes in a trie; Cilium's layout.
#pragma once

#include "bpf/lib/maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct lpm_v4_key);
	__type(value, struct lpm_val);
	__uint(max_entries, PREFILTER_MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_cidr_v4_fix SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct lpm_v4_key);
	__type(value, struct lpm_val);
	__uint(max_entries, PREFILTER_MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_cidr_v4_dyn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct lpm_v6_key);
	__type(value, struct lpm_val);
	__uint(max_entries, PREFILTER_MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_cidr_v6_fix SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct lpm_v6_key);
	__type(value, struct lpm_val);
	__uint(max_entries, PREFILTER_MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_cidr_v6_dyn SEC(".maps");

// How frames leave by a device (XDP_DEVICE_*), filled by the agent: a driver that takes none would drop them.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u32); // XDP_DEVICE_*
	__uint(max_entries, XDP_MAX_DEVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_xdp_devices SEC(".maps");
