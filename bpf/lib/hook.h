// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Where a packet is seen, and what an address says about who has it.
#pragma once

#include "bpf/lib/flow.h"

// In this order what is asked of a hook on every packet is one comparison.
enum hook {
	HOOK_POD_EGRESS,    // cil_from_container: what a pod sends
	HOOK_NETDEV_EGRESS, // cil_to_netdev: what the node sends; only with the host firewall
	HOOK_HOST,	    // cil_from_host: what the node routes towards pods
	HOOK_POD_INGRESS,   // cil_to_container: what reaches a pod through the stack
	HOOK_NETDEV,	    // cil_from_netdev
	HOOK_OVERLAY,	    // cil_from_overlay, and what cil_from_netdev has stripped
};

// Egress of an endpoint, for counters and events.
static __always_inline bool is_egress(__u32 hook)
{
	return hook == HOOK_POD_EGRESS || hook == HOOK_NETDEV_EGRESS;
}

// A device's ingress hook, as against its egress hook.
static __always_inline bool is_at_ingress(__u32 hook)
{
	return hook != HOOK_NETDEV_EGRESS && hook != HOOK_HOST && hook != HOOK_POD_INGRESS;
}

#define ID_HOST 1
#define ID_WORLD 2
#define ID_REMOTE_NODE 6
#define ID_KUBE_APISERVER 7
#define ID_WORLD_IPV4 9
#define ID_WORLD_IPV6 10
#define MAX_GLOBAL_IDENTITY 0x00ffffff
#define NODE_IDENTITY_SCOPE 2 // upper 8 bits of identities of other nodes by their labels

static __always_inline __u32 world_identity(const bool v6)
{
	if (node_cfg.ipv4 && node_cfg.ipv6)
		return v6 ? ID_WORLD_IPV6 : ID_WORLD_IPV4;
	return ID_WORLD;
}

static __noinline struct endpoint_info *lookup_endpoint(const union axo_addr *addr, const bool v6)
{
	struct endpoint_key key = { .family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4 };

	if (v6)
		__builtin_memcpy(key.addr.ip6, addr->ip6, 16);
	else
		key.addr.ip4 = addr->ip4;
	return bpf_map_lookup_elem(&cilium_lxc, &key);
}

static __noinline const struct remote_endpoint_info *lookup_ipcache(const union axo_addr *addr, const bool v6)
{
	struct ipcache_key key = { .family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4 };

	if (v6) {
		key.prefixlen = IPCACHE_STATIC_PREFIX + 128;
		__builtin_memcpy(key.addr.ip6, addr->ip6, 16);
	} else {
		key.prefixlen = IPCACHE_STATIC_PREFIX + 32;
		key.addr.ip4 = addr->ip4;
	}
	return bpf_map_lookup_elem(&cilium_ipcache_v2, &key);
}

static __always_inline __u32 ipcache_identity(const union axo_addr *addr, const bool v6)
{
	const struct remote_endpoint_info *info = lookup_ipcache(addr, v6);

	// "world" of a dual-stack cluster has one identity per family.
	if (!info || info->sec_identity == ID_WORLD)
		return world_identity(v6);
	return info->sec_identity;
}

// More than one receiver.
static __always_inline bool is_group(const union axo_addr *addr, const bool v6)
{
	if (v6)
		return (addr->ip6[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
	return (addr->ip4 & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || addr->ip4 == 0xffffffff;
}

static __always_inline bool is_link_local6(const union axo_addr *addr)
{
	return (addr->ip6[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool is_link_scope(const union axo_addr *addr, const bool v6)
{
	return is_group(addr, v6) || (v6 && is_link_local6(addr));
}

// The node itself somewhere else, whatever more is known of it.
static __always_inline bool is_remote_node(__u32 identity)
{
	return identity == ID_REMOTE_NODE || identity == ID_KUBE_APISERVER || identity >> 24 == NODE_IDENTITY_SCOPE;
}
