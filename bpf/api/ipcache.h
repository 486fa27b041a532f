/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef AXO_API_IPCACHE_H
#define AXO_API_IPCACHE_H

#include "bpf/api/types.h"

/* Map cilium_ipcache_v2 (LPM trie): prefix -> security identity and where it lives. Cilium's layout. */
struct ipcache_key {
	__u32 prefixlen; /* IPCACHE_STATIC_PREFIX + bits of the prefix */
	__u16 cluster_id;
	__u8 pad1;
	__u8 family; /* AXO_FAMILY_* */
	union axo_addr addr;
};
AXO_STATIC_ASSERT(sizeof(struct ipcache_key) == 24, "ipcache_key");
#define IPCACHE_STATIC_PREFIX 32

#define IPCACHE_F_SKIP_TUNNEL 1u
#define IPCACHE_F_HAS_TUNNEL_EP 2u
#define IPCACHE_F_IPV6_TUNNEL_EP 4u
#define IPCACHE_F_REMOTE_CLUSTER 8u

struct remote_endpoint_info {
	__u32 sec_identity;
	union axo_addr tunnel_endpoint;
	__u16 pad;
	__u8 key; /* encryption key, 0: none */
	__u8 flags; /* IPCACHE_F_* */
};
AXO_STATIC_ASSERT(sizeof(struct remote_endpoint_info) == 24, "remote_endpoint_info");

#endif
