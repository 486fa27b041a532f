// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Policy: may this connection be?
//
// A connection is judged in the direction in which it was opened, whichever of its packets is at
// hand: the source's egress policy, then the destination's ingress policy, as far as they are
// endpoints of this node. So replies need no rule of their own, and both directions of a connection
// end when its rule does. The answer lasts as long as the decision's stamp (bpf/api/generation.h).
#pragma once

#include "bpf/lib/hook.h"
#include "bpf/lib/scratch.h"

#define IPPROTO_VRRP 112

#define POLICY_INGRESS 0
#define POLICY_EGRESS 1

static __always_inline __u8 policy_slot_of(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return POLICY_SLOT_TCP;
	case IPPROTO_UDP:
		return POLICY_SLOT_UDP;
	case IPPROTO_SCTP:
		return POLICY_SLOT_SCTP;
	case IPPROTO_ICMP:
		return POLICY_SLOT_ICMP;
	case IPPROTO_ICMPV6:
		return POLICY_SLOT_ICMPV6;
	case IPPROTO_VRRP:
		return POLICY_SLOT_VRRP;
	case IPPROTO_IGMP:
		return POLICY_SLOT_IGMP;
	default:
		return POLICY_SLOT_OTHER;
	}
}

static __always_inline const struct policy_row *policy_row_at(void *slab, __u32 row)
{
	return bpf_map_lookup_elem(slab, &row);
}

// Index of an identity's rule set. 0, the rules that select everybody, if the image does not know it.
static __always_inline __u32 policy_class(void *slab, __u32 table, __u32 mask, __u32 identity)
{
	__u32 at = axo_policy_bucket(identity, mask);

	for (int probe = 0; probe < POLICY_MAX_PROBES; probe++) {
		const struct policy_row *row = policy_row_at(slab, table + at);
		const struct policy_bucket *bucket;

		if (!row)
			return 0;
		bucket = &row->bucket;
		for (int i = 0; i < POLICY_BUCKET_SLOTS; i++) {
			if (bucket->identity[i] == identity)
				return bucket->class_of[i];
		}
		if (!bucket->more)
			return 0;
		at = (at + 1) & mask;
	}
	return 0;
}

// An entry of a block of 16 rows, 16 entries each.
static __always_inline __u32 policy_port_entry(void *slab, __u32 blocks, __u32 block, __u32 index)
{
	const struct policy_row *row = policy_row_at(slab, blocks + block * 16 + ((index >> 4) & 15));

	return row ? row->shorts[index & 15] : 0;
}

// Index of a port's rule set.
static __always_inline __u32 policy_segment(void *slab, __u32 table, __u32 slot, __u32 port)
{
	const struct policy_row *row = policy_row_at(slab, table);
	__u32 directory, segment;

	if (!row)
		return 0;
	slot &= POLICY_SLOTS - 1;
	directory = row->protocols.directory[slot];
	if (!directory)
		return row->protocols.segment[slot];
	segment = policy_port_entry(slab, table + 1, directory - 1, port >> 8);
	if (segment & POLICY_PORT_BLOCK)
		segment = policy_port_entry(slab, table + 1, segment & ~POLICY_PORT_BLOCK, port);
	return segment;
}

// What an image says: 0 to allow, or why not; the rule's cookie in scratch.policy. Nothing in an
// image is trusted to be right: whatever does not lie inside its slab denies.
__noinline int lookup_policy(__u32 reference, __u32 direction, __u32 identity, __u32 slot, __u32 port)
{
	__u32 base = reference >> POLICY_REF_ROW_SHIFT & POLICY_REF_ROW_MASK;
	__u32 index = reference >> POLICY_REF_SLAB_SHIFT;
	const struct policy_row *row, *ports;
	struct scratch *s = scratch();
	__u32 classes, segments, rule;
	struct policy_direction d;
	void *slab;

	slab = bpf_map_lookup_elem(&cilium_policy_slabs, &index);
	if (!s || !slab)
		return DROP_EP_NOT_READY;
	direction &= 1;
	row = policy_row_at(slab, base + direction);
	if (!row)
		return DROP_EP_NOT_READY;
	d = row->direction;
	s->policy.cookie[direction] = d.default_cookie;
	if (d.stride) {
		classes = base + d.classes + d.stride * policy_class(slab, base + d.identities, d.identity_mask, identity);
		segments = base + d.segments + d.stride * policy_segment(slab, base + d.ports, slot, port);
	}
	for (__u32 part = 0; part < POLICY_MAX_RULE_ROWS && part < d.stride; part++) {
		row = policy_row_at(slab, classes + part);
		ports = policy_row_at(slab, segments + part);
		if (!row || !ports)
			return DROP_EP_NOT_READY;
		for (int word = 0; word < 4; word++) {
			__u64 both = row->rules[word] & ports->rules[word];

			if (!both)
				continue;
			rule = part * POLICY_RULES_PER_ROW + word * 64 + __builtin_ctzll(both);
			row = policy_row_at(slab, base + d.verdicts + (rule >> 2));
			if (!row)
				return DROP_EP_NOT_READY;
			s->policy.cookie[direction] = row->verdict[rule & 3].cookie;
			switch (row->verdict[rule & 3].action) {
			case POLICY_ALLOW:
				return 0;
			case POLICY_DENY:
				return DROP_POLICY_DENY;
			default:
				// There is no proxy to redirect to.
				return DROP_POLICY;
			}
		}
	}
	return d.flags & POLICY_DIR_F_ENFORCED ? DROP_POLICY : 0;
}

static __always_inline void report_verdict(struct __sk_buff *skb, struct scratch *s, __u32 direction, __u8 action, bool audited)
{
	struct event_args *ev = &s->event;

	ev->type = EVENT_POLICY_VERDICT;
	ev->subtype = action;
	ev->flags = (direction == POLICY_INGRESS ? EVENT_F_INGRESS : 0) | (audited ? EVENT_F_AUDITED : 0);
	ev->ifindex = CTX_FIELD(skb, ifindex);
	report_event(skb);
}

// One end's say about scratch.policy: AXO_PASS, or AXO_DROP with the drop counted and reported.
__noinline int ask_policy(struct __sk_buff *skb, __u32 direction)
{
	struct scratch *s = scratch();
	__u32 reference, cookie = POLICY_COOKIE_NONE;
	bool audited = false;
	__u8 metric;
	int reason;

	if (!s)
		return AXO_DROP;
	direction &= 1;
	reference = s->policy.reference[direction];
	if (!reference) {
		reason = DROP_EP_NOT_READY;
	} else if (!(reference & (direction == POLICY_INGRESS ? POLICY_REF_F_INGRESS : POLICY_REF_F_EGRESS))) {
		return AXO_PASS;
	} else {
		reason = lookup_policy(reference, direction, s->policy.peer[direction], s->policy.slot, s->policy.port);
		cookie = s->policy.cookie[direction];
		if (reason && reason != DROP_EP_NOT_READY && (reference & POLICY_REF_F_AUDIT)) {
			audited = true;
			reason = 0;
		}
	}
	s->event.rule_cookie = cookie;
	// A connection is reported with its first packet, what is refused (or would be) whenever it is.
	if (trace_cfg.verdict && reason != DROP_EP_NOT_READY && (reason || audited || s->is_new))
		report_verdict(skb, s, direction, reason ? POLICY_DENY : POLICY_ALLOW, audited);
	if (!reason)
		return AXO_PASS;
	metric = direction == POLICY_INGRESS ? METRIC_INGRESS : METRIC_EGRESS;
	count_packet(reason, metric, CTX_FIELD(skb, len));
	if (trace_cfg.drop) {
		const __u8 way = s->event.reason; // whether it is a reply

		s->event.flags = 0;
		fill_drop(skb, &s->event, reason, metric, __LINE__);
		s->event.reason = way;
		report_event(skb);
	}
	return AXO_DROP;
}

// Of a connection whose reply is at hand. What came through the tunnel said itself who it was.
static __always_inline __u32 who_opened(const struct scratch *s)
{
	return tunnel_cfg.protocol && s->policy.opener_ifindex == tunnel_cfg.ifindex ? s->policy.opener : s->dst.identity;
}

static __always_inline void swap_frontend(struct frontend_say *f, union axo_addr *address, __be16 *port)
{
	const union axo_addr other_address = *address;
	const __be16 other_port = *port;

	*address = f->address;
	*port = f->port;
	f->address = other_address;
	f->port = other_port;
}

// The node's say about a connection to a service from outside, as its client sees it: so it is reported, too. AXO_PASS or AXO_DROP.
__noinline int ask_frontend(struct __sk_buff *skb)
{
	struct scratch *s = scratch();
	struct event_args before;
	struct connection_policy *q;
	struct packet *p;
	int verdict;

	if (!s)
		return AXO_DROP;
	q = &s->policy;
	p = &s->packet;
	before = s->event;
	q->slot = policy_slot_of(p->proto);
	q->reference[POLICY_INGRESS] = s->frontend.policy;
	if (s->reply) {
		q->peer[POLICY_INGRESS] = who_opened(s);
		s->frontend.address = s->nat.to.saddr;
		s->frontend.port = s->nat.to.sport;
		s->event.endpoint_src = s->frontend.policy_id;
		s->event.identity_src = ID_HOST;
	} else {
		q->peer[POLICY_INGRESS] = s->src.identity;
		s->frontend.address = s->nat.from.daddr;
		s->frontend.port = s->nat.from.dport;
		s->event.endpoint_dst = s->frontend.policy_id;
		s->event.identity_dst = ID_HOST;
	}
	q->port = bpf_ntohs(s->frontend.port);
	swap_frontend(&s->frontend, s->reply ? &p->saddr : &p->daddr, s->reply ? &p->sport : &p->dport);
	verdict = ask_policy(skb, POLICY_INGRESS);
	swap_frontend(&s->frontend, s->reply ? &p->saddr : &p->daddr, s->reply ? &p->sport : &p->dport);
	s->event = before;
	return verdict;
}

// Everybody's say about scratch.policy, the sender's first. AXO_PASS or AXO_DROP.
static __always_inline int apply_policy(struct __sk_buff *skb, const struct scratch *s)
{
	int verdict = AXO_PASS;

	if (s->policy.ask & (1 << POLICY_EGRESS))
		verdict = ask_policy(skb, POLICY_EGRESS);
	if (verdict == AXO_PASS && (s->policy.ask & (1 << POLICY_INGRESS)))
		verdict = ask_policy(skb, POLICY_INGRESS);
	return verdict;
}
