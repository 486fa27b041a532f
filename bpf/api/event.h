/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Events: what the datapath tells user space through the ring buffer cilium_events.
 *
 * Records are submitted without a wake-up; the reader drains on a timer, and a producer wakes it
 * only when the ring is a quarter full. A record holds the parsed headers, not packet bytes: that
 * is all that flows, monitor and metrics show, and it keeps the cost of a record at tens of ns.
 */
#ifndef AXO_API_EVENT_H
#define AXO_API_EVENT_H

#include "bpf/api/types.h"

/* Cilium's message types. */
enum event_type {
	EVENT_DROP = 1,
	EVENT_TRACE = 4,
	EVENT_POLICY_VERDICT = 5,
	EVENT_DNS = 129, /* Cilium's type of access logs; struct dns_event */
};

/* Cilium's observation points (contracts 5.10). */
enum trace_point {
	TRACE_TO_LXC = 0,
	TRACE_TO_PROXY = 1,
	TRACE_TO_HOST = 2,
	TRACE_TO_STACK = 3,
	TRACE_TO_OVERLAY = 4,
	TRACE_FROM_LXC = 5,
	TRACE_FROM_PROXY = 6,
	TRACE_FROM_HOST = 7,
	TRACE_FROM_STACK = 8,
	TRACE_FROM_OVERLAY = 9,
	TRACE_FROM_NETWORK = 10,
	TRACE_TO_NETWORK = 11,
};

enum trace_reason {
	TRACE_REASON_NEW = 0,
	TRACE_REASON_ESTABLISHED = 1,
	TRACE_REASON_REPLY = 2,
	TRACE_REASON_RELATED = 3,
	TRACE_REASON_REOPENED = 4,
	TRACE_REASON_UNKNOWN = 5,
};

#define EVENT_F_IPV6 1u
#define EVENT_F_INGRESS 2u  /* seen from the local endpoint's side; verdicts, and drops by policy: whose policy it was */
#define EVENT_F_FRAGMENT 4u
#define EVENT_F_TUNNEL 8u   /* came out of, or goes into, a tunnel */
#define EVENT_F_NO_L4 16u   /* ports and flags are not known */
#define EVENT_F_AUDITED 32u /* EVENT_POLICY_VERDICT: would be denied, but the endpoint is in audit mode */

struct flow_event {
	__u8 type;     /* enum event_type */
	__u8 subtype;  /* EVENT_DROP: reason; EVENT_TRACE: observation point; EVENT_POLICY_VERDICT: enum policy_action */
	__u8 reason;   /* enum trace_reason; TRACE_REASON_REPLY: against the direction the connection was opened in. Drops: by policy only */
	__u8 flags;    /* EVENT_F_* */
	__u32 ifindex; /* where the packet was seen, or the device it leaves by */
	__u64 time_ns; /* CLOCK_MONOTONIC, coarse */
	__u32 identity_src;
	__u32 identity_dst;
	__u16 endpoint_src; /* local endpoints, 0: not local */
	__u16 endpoint_dst;
	__u32 length;	    /* of the packet, link layer included */
	__u32 rule_cookie;  /* bpf/api/policy.h: the rule that allowed or denied */
	__u32 hash;
	union axo_addr saddr;
	union axo_addr daddr;
	__be16 sport; /* 0 where the protocol has none; ICMP echo: the identifier in both */
	__be16 dport;
	__u8 proto;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u16 ethertype; /* machine order; tells what a non-IP drop was */
	__u16 line;	 /* of the BPF source, drops only */
	__u8 file;	 /* enum of sources below, drops only */
	__s8 ext_error;	 /* drops: errno or kernel code where there is one */
	__u16 pad;
	__u64 packets; /* of the flow's half so far; 0 on drops */
	__u64 bytes;
};
AXO_STATIC_ASSERT(sizeof(struct flow_event) == 104, "flow_event");

/*
 * A DNS message over UDP that a pod sends to port 53, or gets from there: the record of its packet, and behind it as
 * much of the message (RFC 1035) as is there, at most DNS_MESSAGE_MAX. Of the record only the ends, the direction, the
 * device, the length and the time are set.
 */
#define DNS_PORT 53
#define DNS_HEADER_BYTES 12
#define DNS_MESSAGE_MAX 1472 /* what an Ethernet frame of 1500 holds */

struct dns_event {
	struct flow_event flow;
	__u8 message[DNS_MESSAGE_MAX];
};
AXO_STATIC_ASSERT(sizeof(struct dns_event) == sizeof(struct flow_event) + DNS_MESSAGE_MAX, "dns_event");

/* Sources in drop events; texts are the file names that monitor prints. */
#define AXO_SOURCES(X)         \
	X(1, "pod.bpf.c")      \
	X(2, "netdev.bpf.c")   \
	X(3, "overlay.bpf.c")  \
	X(4, "host.bpf.c")     \
	X(20, "decide.h")      \
	X(21, "parse.h")       \
	X(22, "icmp.h")        \
	X(23, "frag.h")        \
	X(24, "encap.h")       \
	X(25, "deliver.h")

/* Counters of what the ring could not take, by event type; map cilium_events_lost (per CPU). */
#define EVENT_LOST_SLOTS 8
#define EVENT_LOST_DNS 2

#endif
