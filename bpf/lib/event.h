// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Records for user space: drops, policy verdicts and traces. Submitting never wakes the reader unless the ring fills.
#pragma once

#include "bpf/lib/maps.h"
#include "bpf/lib/packet.h"

// Numbers of AXO_SOURCES in bpf/api/event.h; each hook file defines AXO_FILE before including this.
#ifndef AXO_FILE
#error "define AXO_FILE (bpf/api/event.h, AXO_SOURCES) before including bpf/lib"
#endif

struct event_args {
	__u32 identity_src;
	__u32 identity_dst;
	__u16 endpoint_src;
	__u16 endpoint_dst;
	__u32 ifindex;
	__u32 rule_cookie;
	__u64 packets;
	__u64 bytes;
	__u8 type;
	__u8 subtype;
	__u8 reason;
	__u8 flags;
	__u16 line;
	__s8 ext_error;
};

static __always_inline void lost_event(__u8 slot)
{
	__u32 index = slot & (EVENT_LOST_SLOTS - 1);
	__u64 *count = bpf_map_lookup_elem(&cilium_events_lost, &index);

	if (count)
		*count += 1;
}

// What is refused, and what is large, may come in floods: it gets half of the ring, so that there is room for what else is to be told.
static __always_inline bool is_half_full(void)
{
	return bpf_ringbuf_query(&cilium_events, BPF_RB_AVAIL_DATA) > 2ULL * trace_cfg.ring_wakeup_bytes;
}

static __always_inline bool is_refusal(const struct event_args *args)
{
	return args->type == EVENT_DROP || (args->type == EVENT_POLICY_VERDICT && args->subtype == POLICY_DENY);
}

static __always_inline void fill_event(struct flow_event *event, struct __sk_buff *skb, const struct packet *p, const struct event_args *args,
				       const bool v6)
{
	event->type = args->type;
	event->subtype = args->subtype;
	event->reason = args->reason;
	event->flags = args->flags | (v6 ? EVENT_F_IPV6 : 0) | ((p->flags & PACKET_FRAGMENT) ? EVENT_F_FRAGMENT : 0);
	event->ifindex = args->ifindex;
	event->time_ns = now_ns();
	event->identity_src = args->identity_src;
	event->identity_dst = args->identity_dst;
	event->endpoint_src = args->endpoint_src;
	event->endpoint_dst = args->endpoint_dst;
	event->length = CTX_FIELD(skb, len);
	event->rule_cookie = args->rule_cookie;
	event->hash = CTX_FIELD(skb, hash);
	event->saddr = p->saddr;
	event->daddr = p->daddr;
	event->sport = p->sport;
	event->dport = p->dport;
	event->proto = p->proto;
	event->tcp_flags = p->tcp_flags;
	event->icmp_type = p->icmp_type;
	event->icmp_code = p->icmp_code;
	event->ethertype = p->ethertype;
	event->line = args->line;
	event->file = AXO_FILE;
	event->ext_error = args->ext_error;
	event->pad = 0;
	event->packets = args->packets;
	event->bytes = args->bytes;
}

static __always_inline __u64 wake_flags(void)
{
	if (bpf_ringbuf_query(&cilium_events, BPF_RB_AVAIL_DATA) > trace_cfg.ring_wakeup_bytes)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

static __always_inline void submit_event(struct __sk_buff *skb, const struct packet *p, const struct event_args *args,
					 const bool v6)
{
	struct flow_event *event = NULL;

	if (!is_refusal(args) || !is_half_full())
		event = bpf_ringbuf_reserve(&cilium_events, sizeof(*event), 0);
	if (!event) {
		lost_event(args->type);
		return;
	}
	fill_event(event, skb, p, args, v6);
	bpf_ringbuf_submit(event, wake_flags());
}

// The message behind the packet's UDP header; event: room for it.
static __always_inline void submit_dns(struct __sk_buff *skb, const struct packet *p, const struct event_args *args, struct dns_event *event,
				       const bool v6)
{
	const __u32 offset = p->l4_off + sizeof(struct udphdr);
	__be16 udp_length;
	__u32 length;

	// By the datagram's own length: a short frame has bytes behind it that are nobody's.
	if (bpf_skb_load_bytes(skb, p->l4_off + __builtin_offsetof(struct udphdr, len), &udp_length, sizeof(udp_length)))
		return;
	length = bpf_ntohs(udp_length) - (__u32)sizeof(struct udphdr);
	if (length > DNS_MESSAGE_MAX)
		length = DNS_MESSAGE_MAX;
	OPAQUE(length);
	if (length < DNS_HEADER_BYTES || length > DNS_MESSAGE_MAX)
		return;
	if (bpf_skb_load_bytes(skb, offset, event->message, length))
		return;
	fill_event(&event->flow, skb, p, args, v6);
	event->flow.time_ns = bpf_ktime_get_ns(); // how long an answer takes is less than the coarse clock's step
	if (is_half_full() || bpf_ringbuf_output(&cilium_events, event, sizeof(event->flow) + length, wake_flags()))
		lost_event(EVENT_LOST_DNS);
}

static __always_inline void fill_drop(struct __sk_buff *skb, struct event_args *args, int reason, __u8 direction, __u16 line)
{
	args->type = EVENT_DROP;
	args->subtype = reason;
	args->reason = TRACE_REASON_UNKNOWN;
	if (direction == METRIC_INGRESS)
		args->flags |= EVENT_F_INGRESS;
	args->line = line;
	args->ifindex = CTX_FIELD(skb, ifindex);
}

// Counts a dropped packet and reports it. Returns the verdict: a drop is "return drop_packet(…)".
static __always_inline int drop_packet(struct __sk_buff *skb, const struct packet *p, struct event_args *args, int reason,
				       __u8 direction, __u16 line, const bool v6)
{
	count_packet(reason, direction, CTX_FIELD(skb, len));
	if (trace_cfg.drop) {
		fill_drop(skb, args, reason, direction, line);
		submit_event(skb, p, args, v6);
	}
	return AXO_DROP;
}
