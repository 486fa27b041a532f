/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table: connection tracking and decision cache in one.
 *
 * One entry per connection and node. The key is canonical: the two ends are ordered, so both
 * directions find the same entry, and the entry holds one half per direction. half[0] is the
 * direction from the lower to the higher end. Creating a connection is one map write; refreshing,
 * closing and collecting it touch one element.
 *
 * A packet of a FLOW_F_FAST flow whose half has a current stamp, came in where the half says and
 * was decided less than a report interval ago leaves after this one lookup. Everything else takes the slow path.
 */
#ifndef AXO_API_FLOW_H
#define AXO_API_FLOW_H

#include "bpf/api/types.h"

/* End a is the lower one: by address in network order as big integer, then by port. */
struct flow_key4 {
	__be32 addr[2]; /* [0] < [1] */
	__be16 port[2]; /* ICMP echo: the identifier twice; protocols without ports: 0 */
	__u8 proto;
	__u8 zone; /* FLOW_ZONE_* */
	__u16 pad;
};
AXO_STATIC_ASSERT(sizeof(struct flow_key4) == 16, "flow_key4");

struct flow_key6 {
	__be32 addr[2][4];
	__be16 port[2];
	__u8 proto;
	__u8 zone;
	__u16 pad;
};
AXO_STATIC_ASSERT(sizeof(struct flow_key6) == 40, "flow_key6");

/*
 * What leaves a node through its stack is translated at the uplink, although its addresses mean something else before:
 * a pod's connection that cil_from_container left to the stack, or a port of the node that a translated connection has taken.
 */
#define FLOW_ZONE_DEFAULT 0
#define FLOW_ZONE_UPLINK 1

enum flow_action {
	FLOW_UNDECIDED = 0, /* no packet has been seen in this direction yet */
	FLOW_DELIVER = 1,   /* to a local endpoint: MACs below, then redirect_peer or redirect */
	FLOW_NEIGH = 2,     /* out of an uplink to a known next hop */
	FLOW_ENCAP = 3,     /* push outer headers, then out of an uplink to a known next hop */
	FLOW_TUNNEL_DEV = 4,/* hand to the tunnel device with a tunnel key */
	FLOW_STACK = 5,     /* pass to the kernel's stack */
	FLOW_DROP = 6,      /* a denied flow; the reason stands in drop_reason */
};

/* struct flow_half.flags */
#define FLOW_HALF_NH_V6 1u     /* the next hop is an IPv6 address */
#define FLOW_HALF_TUNNEL_V6 2u /* the tunnel endpoint is an IPv6 address */
#define FLOW_HALF_PEER 4u      /* deliver with bpf_redirect_peer */
#define FLOW_HALF_AS_NODE 8u   /* the tunnel carries the node's identity, because the packet has the node's address */
#define FLOW_HALF_AS_WORLD 16u /* the tunnel carries "world": who that is each node finds out by the address */

struct flow_half {
	__u32 stamp;	   /* generation.h */
	__u32 decided_at;  /* tick; after the report interval the slow path looks again */
	__u32 ifindex_in;  /* where packets of this direction come from; the tunnel device stands for all tunnelled */
	__u32 ifindex_out;
	__u32 identity;	   /* source identity; tunnelled packets must carry it */
	__u8 action;	   /* enum flow_action */
	__u8 flags;	   /* FLOW_HALF_* */
	__u16 mtu;	   /* largest IP packet this way out takes, without the tunnel's overhead */
	__u16 dep_src;	   /* endpoint ids whose policy generation the stamp includes, 0: none */
	__u16 dep_dst;
	__u16 bucket_src;  /* ipcache buckets of both addresses */
	__u16 bucket_dst;
	union {
		struct {
			struct axo_mac dmac;
			struct axo_mac smac;
		} deliver;
		struct {
			union axo_addr next_hop;
			union axo_addr tunnel_endpoint;
		} route;
		struct { /* FLOW_NEIGH: what XDP has found out about the next hop, see bpf/lib/xdp.h */
			union axo_addr next_hop;
			struct axo_mac dmac;
			struct axo_mac smac;
			__u32 check; /* over the two and decided_at: they are this decision's */
		} link;
	};
	__u64 packets;
	__u64 bytes;
};
AXO_STATIC_ASSERT(sizeof(struct flow_half) == 80, "flow_half");

/* struct flow.flags */
#define FLOW_F_INITIATOR_HIGH 1u /* the connection was opened from the higher end: half[1] is the original direction */
#define FLOW_F_ESTABLISHED 2u	 /* TCP: a packet without SYN was seen */
#define FLOW_F_CLOSING_LOW 4u	 /* TCP: FIN or RST seen from the lower end */
#define FLOW_F_CLOSING_HIGH 8u
#define FLOW_F_REPLIED 16u	 /* a packet against the original direction was seen */
#define FLOW_F_LOCAL 32u	 /* both ends are endpoints of this node */
#define FLOW_F_FAST 64u		 /* plain packets may replay the decision: not a handshake, not closed */
#define FLOW_F_REWRITE_LOW 128u  /* packets of half[0] are rewritten; see struct flow_rewrite */
#define FLOW_F_REWRITE_HIGH 256u /* those of half[1] */
#define FLOW_F_TRANSLATED 512u	 /* the entry of the translated addresses: its replies are rewritten */
#define FLOW_F_NODE_PORT 1024u	 /* a service, reached from outside */
#define FLOW_F_DSR 2048u	 /* replies go from the backend's node straight to the client */
#define FLOW_F_LOOPBACK 4096u	 /* a pod reaches itself through a service */
#define FLOW_F_SNAT 8192u	 /* the translated source's port was taken from the range */

/*
 * A translated connection has two entries, one under the addresses that its opener uses and one under those that its
 * other end sees (FLOW_F_TRANSLATED), because a packet is looked up as it arrives. Each rewrites the packets of one
 * direction: the first those of the opener, the second the replies. The rewritten addresses and ports are the other
 * entry's key, so each finds the other; state and lifetime are kept equal by the slow path, which sees all that changes
 * them. The translated entry is also what reserves its source port: there is no NAT table beside the flow table.
 */
struct flow_rewrite {
	union axo_addr saddr; /* after the rewrite */
	union axo_addr daddr;
	__be16 sport;
	__be16 dport;
	__u32 addr_delta; /* what checksums change by: addresses, and ports (bpf_csum_diff from the packet's to these) */
	__u32 port_delta;
	__u8 zone; /* of the other entry's key */
	__u8 pad[3];
};
AXO_STATIC_ASSERT(sizeof(struct flow_rewrite) == 48, "flow_rewrite");

struct flow {
	__u32 created; /* tick */
	__u32 expires; /* tick; the collector may remove the entry afterwards */
	__u32 identity_src; /* of the original direction */
	__u32 identity_dst;
	__u16 endpoint_src; /* local endpoint ids of the original direction, 0: not local */
	__u16 endpoint_dst;
	__u16 flags;	    /* FLOW_F_* */
	__u8 tcp_flags[2];  /* seen so far, by half */
	__u32 egress_cookie; /* the rule of the source's policy that allowed it; 0: none was needed */
	__u16 proxy_port;
	__u16 rev_nat;
	__u32 backend_id;
	__u8 drop_reason;
	__u8 icmp_type; /* of the packet that opened it: what its policy is asked about */
	__be16 tunnel_sport; /* outer source port, the same for all packets of the connection */
	__u32 ingress_cookie; /* the same of the destination's policy */
	__u32 pad2;
	struct flow_half half[2];
	struct flow_rewrite rewrite;
};
AXO_STATIC_ASSERT(sizeof(struct flow) == 256, "flow");

/* Fragments: first fragment's ports, for those that carry none. Cilium's keys. */
struct ipv4_frag_id {
	__be32 daddr;
	__be32 saddr;
	__be16 id;
	__u8 proto;
	__u8 pad;
};
struct ipv6_frag_id {
	__be32 id;
	__u8 proto;
	__u8 pad[3];
	__be32 saddr[4];
	__be32 daddr[4];
};
struct frag_l4ports {
	__be16 sport;
	__be16 dport;
};

#endif
