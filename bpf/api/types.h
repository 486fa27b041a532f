/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The contract between the BPF programs and user space: plain C99, included by both sides, explicit
 * padding, no bit-fields, nothing but <linux/types.h>. "__be" fields are in network byte order, all
 * others in the machine's. A test holds every struct here against the BTF of the objects that ship.
 */
#ifndef AXO_API_TYPES_H
#define AXO_API_TYPES_H

#include <linux/types.h>

#ifdef __cplusplus
#define AXO_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define AXO_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/* An address of either family; IPv4 stands in the first four bytes, the rest is zero. */
union axo_addr {
	__be32 ip4;
	__be32 ip6[4];
	__u8 bytes[16];
};

struct axo_mac {
	__u8 addr[6];
};

/* Address family in map keys (Cilium's ENDPOINT_KEY_IPV4/6). */
#define AXO_FAMILY_IPV4 1
#define AXO_FAMILY_IPV6 2

/*
 * Datapath time is counted in ticks of 2^27 ns (134 ms) of CLOCK_MONOTONIC: coarse enough for
 * bpf_ktime_get_coarse_ns, and 32 bits last 18 years.
 */
#define AXO_TICK_SHIFT 27

#endif
