// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What every program of the datapath needs: helpers, configuration, maps, small arithmetic.
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/api/config.h"
#include "bpf/api/drop_reason.h"
#include "bpf/api/endpoint.h"
#include "bpf/api/event.h"
#include "bpf/api/flow.h"
#include "bpf/api/generation.h"
#include "bpf/api/ipcache.h"
#include "bpf/api/lb.h"
#include "bpf/api/metrics.h"
#include "bpf/api/policy.h"

#ifndef barrier
#define barrier() asm volatile("" ::: "memory")
#endif
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
#ifndef NULL
#define NULL ((void *)0)
#endif
typedef _Bool bool;
#define true 1
#define false 0

#ifndef EEXIST
#define EEXIST 17
#endif
#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))

// Keeps a value opaque to the compiler: it must not turn an index into a branch, which would double
// the states that the verifier walks through from here on.
#define OPAQUE(var) asm volatile("" : "+r"(var))

// Newer than the headers of Debian 12 (6.1): values from include/uapi/linux/bpf.h of 6.3.
#define AXO_FIB_LOOKUP_SKIP_NEIGH (1U << 2)
#define AXO_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define AXO_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)

// Continue with the next program of the device, then with the stack: other tcx users keep working.
#define AXO_PASS TC_ACT_UNSPEC
#define AXO_DROP TC_ACT_SHOT

// skb->mark of packets that the datapath has dealt with; programs further on let them through.
// Cilium's MARK_MAGIC_SNAT_DONE (contracts: 0x0300 of mask 0x0F00).
#define MARK_MASK 0x0F00
#define MARK_DECIDED 0x0300

const volatile struct node_config node_cfg = {
	.ipv4 = 1,
	.ipv6 = 1,
	.has_ktime_coarse = 1,
	.has_redirect_peer = 1,
	.has_fib_skip_neigh = 1,
	.conntrack_accounting = 1,
	.mtu = 1500,
};
const volatile struct tunnel_config tunnel_cfg = {};
const volatile struct trace_config trace_cfg = {
	.drop = 1,
	.trace = 1,
	.verdict = 1,
	.aggregation = TRACE_AGGREGATE_MEDIUM,
	.report_tcp_flags = 0x07,
	.report_interval = 37,
	.ring_wakeup_bytes = 512 * 1024,
};
const volatile struct ct_config ct_cfg = {
	.regular_tcp = 59605,
	.regular_any = 447,
	.regular_tcp_syn = 447,
	.regular_tcp_fin = 75,
	.fragments_v4 = 1,
	.fragments_v6 = 1,
};
const volatile struct lb_config lb_cfg = {};

// An address of the configuration. A copy that forgets "volatile" is one of what stands in the source: of zeroes.
static __always_inline void read_ip6(__be32 *to, const volatile __be32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

// Fields of the context by one load with a constant offset. Left to itself, clang shares address
// computations between branches, and the verifier refuses a context pointer that was added to.
#define CTX_FIELD(skb, field)                                                       \
	({                                                                          \
		__u32 ctx_field;                                                    \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                               \
			     : "=r"(ctx_field)                                      \
			     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, field))); \
		ctx_field;                                                          \
	})
#define CTX_STORE(skb, field, value)                                                \
	asm volatile("*(u32 *)(%0 + %1) = %2"                                       \
		     :                                                              \
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, field)), "r"((__u32)(value)) \
		     : "memory")

static __always_inline void mark_decided(struct __sk_buff *skb)
{
	CTX_STORE(skb, mark, (CTX_FIELD(skb, mark) & ~MARK_MASK) | MARK_DECIDED);
}

static __always_inline bool is_decided(struct __sk_buff *skb)
{
	return (CTX_FIELD(skb, mark) & MARK_MASK) == MARK_DECIDED;
}

// Coarse nanoseconds of CLOCK_MONOTONIC: a load instead of 35 ns for the exact clock.
static __always_inline __u64 now_ns(void)
{
	return node_cfg.has_ktime_coarse ? bpf_ktime_get_coarse_ns() : bpf_ktime_get_ns();
}

static __always_inline __u32 now_tick(void)
{
	return (__u32)(now_ns() >> AXO_TICK_SHIFT);
}
