/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Configuration of fixture.bpf.c. */
#ifndef AXO_KERNEL_FIXTURE_H
#define AXO_KERNEL_FIXTURE_H

#include <linux/types.h>

struct fixture_config {
    __u32 padding_before;
    __u32 verdict;
};

struct fixture_limits {
    __u64 records;
};

#endif
