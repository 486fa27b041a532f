/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef AXO_API_ENDPOINT_H
#define AXO_API_ENDPOINT_H

#include "bpf/api/types.h"

/* Map cilium_lxc: address of a local endpoint or of the node itself -> who that is. Cilium's layout. */
struct endpoint_key {
	union axo_addr addr;
	__u8 family;
	__u8 key;
	__u16 cluster_id;
};
AXO_STATIC_ASSERT(sizeof(struct endpoint_key) == 20, "endpoint_key");

#define ENDPOINT_F_HOST 1u	 /* an address of this node: hand to the stack */
#define ENDPOINT_F_ATHOSTNS 2u	 /* lives in the host's network namespace */
#define ENDPOINT_F_NO_SNAT_V4 4u
#define ENDPOINT_F_NO_SNAT_V6 8u

struct endpoint_info {
	__u32 ifindex;
	__u16 unused;
	__u16 lxc_id;
	__u32 flags; /* ENDPOINT_F_* */
	__u32 pad0;
	struct axo_mac mac; /* the pod's interface */
	__u16 pad1;
	struct axo_mac node_mac; /* the host's end */
	__u16 pad2;
	__u32 sec_id;
	__u32 parent_ifindex;
	__u32 pad[2];
};
AXO_STATIC_ASSERT(sizeof(struct endpoint_info) == 48, "endpoint_info");

/*
 * Map cilium_lxc_dev: interface index of a pod's host-side device -> the endpoint behind it.
 * Read where a decision is made, not on every packet.
 */
struct endpoint_device {
	__be32 ip4; /* 0: none */
	__be32 ip6[4];
	__u32 sec_id;
	__u16 lxc_id;
	__u16 flags; /* ENDPOINT_DEV_F_* */
	struct axo_mac mac;
	struct axo_mac node_mac;
	__u32 pad;
};
AXO_STATIC_ASSERT(sizeof(struct endpoint_device) == 44, "endpoint_device");

#define ENDPOINT_DEV_F_NO_SIP_CHECK 1u /* disable-sip-verification */
#define ENDPOINT_DEV_F_ARP_PASS 2u     /* require-arp-passthrough */

#endif
