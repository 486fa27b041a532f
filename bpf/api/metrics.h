/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef AXO_API_METRICS_H
#define AXO_API_METRICS_H

#include "bpf/api/types.h"

/* Map cilium_metrics, a per-CPU array: index = metrics_index(reason, direction). */
enum metrics_direction {
	METRIC_INGRESS = 1,
	METRIC_EGRESS = 2,
	METRIC_SERVICE = 3,
};

struct metrics_value {
	__u64 count;
	__u64 bytes;
};

#define METRICS_ENTRIES (256 * 4)

static inline __u32 metrics_index(__u8 reason, __u8 direction)
{
	return ((__u32)reason << 2) | (direction & 3);
}

#endif
