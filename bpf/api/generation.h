/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Generations: how a cached decision learns that what it was derived from has moved.
 *
 * A flow's decision carries the sum of the generations it depends on, its stamp. Each generation
 * only grows, so two equal sums mean that none has moved. Writers bump a generation AFTER the maps
 * it covers are written; the slow path reads the generations BEFORE it looks anything up. Then a
 * stale decision can only carry a stale stamp.
 *
 *
 *     stamp = 1 + node + ipcache[bucket of source] + ipcache[bucket of destination]
 *               + policy[local source endpoint] + policy[local destination endpoint]
 *
 * (the node itself counts as its host endpoint where it has a policy; endpoint id 0, "not local", never moves; a stamp of 0 marks a half without a decision). An
 * endpoint that appears, changes or goes bumps its policy generation and its addresses' buckets.
 * Its policy's generation and location are one aligned 64-bit value: a reader that loads both at
 * once never stamps one policy's verdict with another's generation.
 *
 * One array entry, mmapable: the agent bumps with an atomic add, without a system call.
 */
#ifndef AXO_API_GENERATION_H
#define AXO_API_GENERATION_H

#include "bpf/api/policy.h"
#include "bpf/api/types.h"

#define GENERATION_BUCKETS 1024  /* of the ipcache; a power of two */
#define GENERATION_ENDPOINTS 65536

struct generations {
	__u32 node; /* routes, devices, node addresses, prefixes shorter than a host's, configuration */
	__u32 host_endpoint; /* whose policy is the node's own; 0: nobody's. Whoever changes it bumps node */
	__u32 pad[14];
	__u32 ipcache[GENERATION_BUCKETS]; /* host prefixes, by axo_addr_bucket of the address */
	struct policy_ref policy[GENERATION_ENDPOINTS]; /* by endpoint id: its policy, and the endpoint itself; 0 never moves */
};
AXO_STATIC_ASSERT(__builtin_offsetof(struct generations, policy) % 8 == 0, "policy references are aligned");

/*
 * The bucket of an address. words: the address as it stands in a packet, IPv4 as one 32-bit word,
 * IPv6 as four. Both sides call this very function.
 */
static inline __u32 axo_addr_bucket4(__be32 ip4)
{
	__u32 h = (__u32)ip4 * 0x9E3779B1u;

	return (h >> 16) & (GENERATION_BUCKETS - 1);
}

static inline __u32 axo_addr_bucket6(const __be32 *ip6)
{
	__u32 h = ((__u32)ip6[0] ^ (__u32)ip6[1] * 0x85EBCA6Bu ^ (__u32)ip6[2] * 0xC2B2AE35u ^
		   (__u32)ip6[3]) * 0x9E3779B1u;

	return (h >> 16) & (GENERATION_BUCKETS - 1);
}

#endif
