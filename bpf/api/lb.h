/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services: what the programs at sockets and in the packet path look up to find a backend.
 *
 *     frontend --cilium_lb{4,6}_services_v2--> service --cilium_lb_tables--> backend id --cilium_lb_backends--> backend
 *
 * A service's backends are a table of ids in a slab (like a policy image): entry hash % size is the
 * one. For "random" the table is the list of backends and the hash a random number, for Maglev it is
 * Maglev's table and the hash that of the connection. A service changes by one map update that names
 * another table; programs see the old backends or the new ones, never half of both.
 *
 * Keys and flag bits are Cilium's, values are not: its slots and reverse NAT entries are not needed,
 * because a connection's entry in the flow table says how its packets are rewritten (flow.h).
 */
#ifndef AXO_API_LB_H
#define AXO_API_LB_H

#include "bpf/api/types.h"

/* lb4_key.scope: who asks. Only a service with LB_F2_TWO_SCOPES has an entry of internal scope. */
#define LB_SCOPE_EXTERNAL 0
#define LB_SCOPE_INTERNAL 1

/*
 * Address 0 (:: for IPv6): every address of this node that serves NodePorts. Port 0 and protocol 0: any other port of a
 * virtual address, which is refused (DROP_NO_SERVICE) instead of being routed.
 */
struct lb4_key {
    __be32 address;
    __be16 dport;
    __u16 backend_slot; /* 0 */
    __u8 proto;
    __u8 scope; /* LB_SCOPE_* */
    __u8 pad[2];
};
AXO_STATIC_ASSERT(sizeof(struct lb4_key) == 12, "lb4_key");

struct lb6_key {
    __be32 address[4];
    __be16 dport;
    __u16 backend_slot;
    __u8 proto;
    __u8 scope;
    __u8 pad[2];
};
AXO_STATIC_ASSERT(sizeof(struct lb6_key) == 24, "lb6_key");

/* struct lb_service.flags; no type bit: ClusterIP */
#define LB_F_EXTERNAL_IP 1u
#define LB_F_NODE_PORT 2u
#define LB_F_EXT_LOCAL_SCOPE 4u /* externalTrafficPolicy: Local */
#define LB_F_HOST_PORT 8u
#define LB_F_AFFINITY 16u
#define LB_F_LOAD_BALANCER 32u
#define LB_F_ROUTABLE 64u /* reachable from outside of the cluster; not set in entries of address 0 */
#define LB_F_SOURCE_RANGE 128u

/* struct lb_service.flags2 */
#define LB_F2_LOCAL_REDIRECT 1u
#define LB_F2_NAT46X64 2u
#define LB_F2_L7 4u
#define LB_F2_LOOPBACK_HOST_PORT 8u
#define LB_F2_INT_LOCAL_SCOPE 16u /* internalTrafficPolicy: Local */
#define LB_F2_TWO_SCOPES 32u
#define LB_F2_SOURCE_RANGE_DENY 64u /* cilium_lb*_source_range lists whom to refuse */
#define LB_F2_DSR 128u              /* where the node leaves the forwarding mode to the service */

enum lb_algorithm {
    LB_RANDOM = 1,
    LB_MAGLEV = 2,
};

struct lb_service {
    __u32 table;            /* where its table of backends begins: slab and row as in a policy reference */
    __u32 size;             /* entries of the table; 0: no backend */
    __u32 affinity_timeout; /* seconds */
    __u32 affinity_group;   /* the Service: its ports share what a client was given */
    __u32 port_id;          /* the Service's port, for cilium_lb_affinity_match */
    __u16 rev_nat_index;    /* number of the frontend, as `service list` prints it */
    __u16 backends;         /* that may be chosen */
    __u8 flags;             /* LB_F_* */
    __u8 flags2;            /* LB_F2_* */
    __u8 algorithm;         /* enum lb_algorithm */
    __u8 pad[5];
};
AXO_STATIC_ASSERT(sizeof(struct lb_service) == 32, "lb_service");

/* A row of a slab of cilium_lb_tables. Entry i of a table stands in row i / 8. */
#define LB_TABLE_ROW 8
struct lb_table_row {
    __u32 backend[LB_TABLE_ROW];
};
AXO_STATIC_ASSERT(sizeof(struct lb_table_row) == 32, "lb_table_row");

/* lb_backend.flags: Cilium's states */
#define LB_BACKEND_ACTIVE 0
#define LB_BACKEND_TERMINATING 1
#define LB_BACKEND_QUARANTINED 2
#define LB_BACKEND_MAINTENANCE 3

/* Map cilium_lb_backends: an array that the agent maps into its memory; the index is the backend's id. 0: nobody's. */
struct lb_backend {
    union axo_addr address;
    __be16 port;
    __u8 proto;  /* 0: the entry is free; a connection that it was chosen for has lost its backend */
    __u8 flags;  /* LB_BACKEND_* */
    __u8 family; /* AXO_FAMILY_* */
    __u8 zone;
    __u16 pad;
    __u32 pod_id; /* equal for all ports of one address, for affinity; never 0 */
    __u32 pad2;
};
AXO_STATIC_ASSERT(sizeof(struct lb_backend) == 32, "lb_backend");

/*
 * Map cilium_lb_affinity: which pod a client was given. By the client's address in the packet path, by the cookie of
 * its network namespace at sockets. Unpreallocated; the agent removes what has expired.
 */
struct lb_affinity_key {
    union axo_addr client; /* or the cookie, in the first eight bytes */
    __u32 group;           /* lb_service.affinity_group */
    __u8 netns_cookie;
    __u8 family;
    __u16 pad;
};
AXO_STATIC_ASSERT(sizeof(struct lb_affinity_key) == 24, "lb_affinity_key");

struct lb_affinity_val {
    __u32 last_used; /* tick */
    __u32 pod_id;
};

/* Map cilium_lb_affinity_match: the pod's backend for a port of the Service, while it may be chosen. Value: its id. */
struct lb_affinity_match {
    __u32 pod_id;
    __u32 port_id; /* lb_service.port_id */
};

/* Maps cilium_lb4_source_range, cilium_lb6_source_range (LPM): presence is the answer. Cilium's keys. */
struct lb4_src_range_key {
    __u32 prefixlen; /* 32 + the prefix's */
    __u16 rev_nat_id;
    __u16 pad;
    __be32 addr;
};
struct lb6_src_range_key {
    __u32 prefixlen;
    __u16 rev_nat_id;
    __u16 pad;
    __be32 addr[4];
};
#define LB_SOURCE_RANGE_STATIC_PREFIX 32

/*
 * Map cilium_lb_ports: which ports have a frontend of address 0, so that traffic to the node itself costs one bit.
 * An mmapable array of 64-bit words: word (protocol slot * 1024 + port / 64), bit port % 64, port in the machine's
 * order.
 */
#define LB_PORTS_TCP 0
#define LB_PORTS_UDP 1
#define LB_PORTS_SCTP 2
#define LB_PORTS_WORDS (3 * 1024)

#define LB_MAX_SERVICES 65536 /* bpf-lb-map-max */
#define LB_MAX_BACKENDS 65536
#define LB_TABLE_SLABS 64

/*
 * Map cilium_lb_sockets (socket storage): the service that a socket believes to talk to. It goes with its socket.
 */
struct lb_socket {
    union axo_addr frontend;
    union axo_addr backend;
    __be16 frontend_port;
    __be16 backend_port;
    __u16 rev_nat_index;
    __u8 family;       /* AXO_FAMILY_* of both */
    __u8 other_family; /* 0: cilium_lb*_reverse_sk has nothing of this socket */
    union axo_addr other; /* the last backend that stands there: what the socket's end removes */
    __be16 other_port;
    __u16 pad;
};
AXO_STATIC_ASSERT(sizeof(struct lb_socket) == 60, "lb_socket");

/*
 * Map cilium_lb4_reverse_sk, cilium_lb6_reverse_sk (LRU): backends of datagram sockets, with the frontends that they are known
 * as: of a connected one the only one, of others all but the first, which stands in their storage.
 */
struct ipv4_revnat_tuple {
    __u64 cookie;
    __be32 address; /* the backend */
    __be16 port;
    __u16 pad;
};
struct ipv4_revnat_entry {
    __be32 address; /* the frontend */
    __be16 port;
    __u16 rev_nat_index;
};
struct ipv6_revnat_tuple {
    __u64 cookie;
    __be32 address[4];
    __be16 port;
    __u16 pad;
    __u32 pad2;
};
struct ipv6_revnat_entry {
    __be32 address[4];
    __be16 port;
    __u16 rev_nat_index;
};

/* Map cilium_nat_addresses: interface index of a way out -> source addresses of what is translated there. */
struct nat_addresses {
    __be32 ip4; /* 0: none, nothing is translated there */
    __be32 ip6[4];
};

/*
 * Ports that are tried for a connection's translated source before it is refused. With tries all over the range,
 * the first connection to one destination fails when more than 95 % of it are in use. Maps cilium_snat_v4_alloc_retries and
 * cilium_snat_v6_alloc_retries: how many took so many further tries; at NAT_PORT_TRIES: got none.
 */
#define NAT_PORT_TRIES 192

/* Maps cilium_ipmasq_v4, cilium_ipmasq_v6 (LPM): destinations that pods' traffic reaches with its own addresses. */
struct lpm_v4_key {
    __u32 prefixlen;
    __u8 addr[4];
};
struct lpm_v6_key {
    __u32 prefixlen;
    __u8 addr[16];
};
struct lpm_val {
    __u8 flags;
};

#endif
