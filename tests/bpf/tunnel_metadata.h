/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a packet has beside its bytes when it comes from a tunnel device, or is about to go to one. */
#ifndef AXO_TEST_TUNNEL_METADATA_H
#define AXO_TEST_TUNNEL_METADATA_H

#include <linux/types.h>

struct tunnel_metadata {
    __u32 packets; /* that had any */
    __u32 identity;
    __u32 remote4; /* machine order; only given */
    __u32 option_len;
    __u8 option[32];
};

#endif
