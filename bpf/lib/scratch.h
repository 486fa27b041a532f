// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The slow path's working memory, and the steps that are functions of their own.
//
// A global function is verified once, whatever the number of paths that lead to it, and has its own
// stack frame; it takes only the context, so everything else goes through the scratch memory.
// Packet pointers are read anew after every call of one.
#pragma once

#include "bpf/lib/event.h"
#include "bpf/lib/forward.h"
#include "bpf/lib/icmp_error.h"

#define NO_TUNNEL_KEY 0xffffffff

// An end of a connection, as far as it is an endpoint of this node (id 0: it is not).
struct local_end {
	__u32 ifindex;
	__u32 identity; // also of ends elsewhere
	__u32 policy;	// reference to the endpoint's policy (bpf/api/policy.h)
	__u16 id;
	__u16 policy_id; // whose policy that is: the endpoint's, or the host's for an address of the node; see policy_id()
	struct axo_mac mac;
	struct axo_mac node_mac;
};

// What policy is asked about a connection, in the direction in which it was opened. By direction: 0
// ingress, the destination's policy; 1 egress, the source's.
struct connection_policy {
	__u32 reference[2];
	__u32 peer[2]; // identity of the other end
	__u32 cookie[2]; // the answer: which rule
	__u16 port;
	__u8 slot;    // enum policy_slot
	__u8 ask;     // bits by direction: an endpoint of this node has a say
	// Of the flow's entry, as far as replies are judged by it.
	__u32 opener; // source identity of the packets that opened it
	__u32 opener_ifindex; // where they come from
	__u8 opener_icmp_type;
};

// The node's say about a connection that comes from outside to a service, beside that of whoever is behind it. It is asked about the
// frontend, and the client is who asks.
struct frontend_say {
	__u32 policy;	 // as in local_end
	__u16 policy_id; // 0: the node has none
	__be16 port;	 // the frontend's while the packet is the backend's, and the other way round while it is asked
	union axo_addr address;
};

// The part of a flow that every packet may move on.
struct connection_life {
	__u32 expires;
	__u16 flags;
	__u8 tcp_flags[2];
};

// What becomes of a packet's addresses.
enum nat_stage {
	NAT_NONE = 0,
	NAT_KNOWN, // what the flow's entry says
	NAT_NEW,   // a backend has been chosen for a connection that is not known yet
	NAT_LEAVE, // about to leave by an uplink with a source that must not be seen there
};

struct tuple {
	union axo_addr saddr;
	union axo_addr daddr;
	__be16 sport;
	__be16 dport;
};

struct translation {
	struct tuple from; // as the packet came; of an ICMP error, the packet it quotes, turned around
	struct flow_rewrite to;
	struct flow_rewrite outer; // an ICMP error's own addresses
	struct tuple frontend;	   // DSR: what a packet that came straight to its backend was sent to, as source and port
	__u32 dir;
	__u32 stage; // enum nat_stage
	__u32 backend_id;
	__u16 rev_nat;
	__u16 flags; // FLOW_F_* that the connection has because of its translation
	__u8 afresh; // the entry that was found is another connection's by now
	__u8 refuse; // DROP_*
	__u8 answer; // say so with an ICMP error
	__u8 dsr;    // frontend is set
	__u8 zone;
};

// What a decision works on; too large for the stack. One per CPU: bottom halves are off while a
// program runs, and no two programs of one CPU are between lookup and use at the same time.
struct scratch {
	struct flow flow;
	struct flow twin;
	struct packet packet;
	struct packet quoted;
	struct event_args event;
	union flow_key key;
	union flow_key twin_key;
	struct translation nat;
	struct lb_service service;
	__u32 generation_dst; // of bucket_dst, as the stamp has it
	struct local_end src;
	struct local_end dst;
	struct frontend_say frontend;
	struct connection_life life;
	struct connection_policy policy;
	__u32 stamp;
	__u32 ifindex_in;
	__u32 bucket_src;
	__u32 bucket_dst;
	__u32 tunnel_identity; // what the tunnel carried; the hook's to set
	__u32 to_host;
	__u32 reply;  // the packet runs against the direction in which its connection was opened
	__u32 is_new; // no entry was found, or another connection's
	__u32 report;
	struct bpf_fib_lookup fib;
	struct flow_half out; // the decision being carried out
	__be16 out_sport;
	union {
		struct icmp4_error v4;
		struct icmp6_error v6;
	} icmp;
	struct dns_event dns;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct scratch);
	__uint(max_entries, 1);
} axo_scratch SEC(".maps");

static __always_inline struct scratch *scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&axo_scratch, &zero);
}

__noinline int parse4(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	return s ? parse_packet(skb, ETH_HLEN, &s->packet, false) : -DROP_HOST_NOT_READY;
}

__noinline int parse6(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	return s ? parse_packet(skb, ETH_HLEN, &s->packet, true) : -DROP_HOST_NOT_READY;
}

// 0: the quoted packet is in scratch.quoted.
__noinline int parse_icmp_quote(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	if (!s)
		return -DROP_HOST_NOT_READY;
	if (s->packet.ethertype == ETH_P_IPV6)
		return parse_quoted(skb, &s->quoted, s->packet.l4_off + 8, true) ? 0 : -DROP_INVALID;
	return parse_quoted(skb, &s->quoted, s->packet.l4_off + 8, false) ? 0 : -DROP_INVALID;
}

// Submits scratch.event for scratch.packet.
__noinline int report_event(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	if (s)
		submit_event(skb, &s->packet, &s->event, s->packet.ethertype == ETH_P_IPV6);
	return 0;
}

// The DNS message that scratch.packet is.
__noinline int report_dns_message(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	if (s)
		submit_dns(skb, &s->packet, &s->event, &s->dns, s->packet.ethertype == ETH_P_IPV6);
	return 0;
}

__noinline int push_tunnel_headers(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	return s ? send_encapsulated(skb, s->out_sport, &s->out) : -DROP_HOST_NOT_READY;
}

__noinline int hand_to_tunnel_device(struct __sk_buff *skb)
{
	struct scratch *s = scratch();

	return s ? send_tunnel_device(skb, &s->out.route.tunnel_endpoint, s->out.flags & FLOW_HALF_TUNNEL_V6, carried_identity(&s->out))
		 : -DROP_HOST_NOT_READY;
}
