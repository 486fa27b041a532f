// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Addresses and ports of a packet exchanged for those of a flow's entry, checksums by what they change by.
//
// Checksums of L4 go through bpf_l4_csum_replace, which knows what the device still has to fill in (CHECKSUM_PARTIAL
// covers addresses only) and what it has summed up already. For IPv6 it takes the address' part from the device's sum as if the
// IP header had a checksum of its own; bpf_csum_update puts it back (kernels before 6.16 have no flag for that).
#pragma once

#include "bpf/lib/packet.h"

static __always_inline bool nat_on(void)
{
	return lb_cfg.pods || lb_cfg.node_port || lb_cfg.masquerade4 || lb_cfg.masquerade6;
}

// Does the flow rewrite packets of this direction?
static __always_inline bool rewrites(__u16 flags, __u32 dir)
{
	return nat_on() && (flags & (FLOW_F_REWRITE_LOW << (dir & 1)));
}

static __always_inline __u16 fold_sum(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

// A checksum of which the summed bytes have changed by delta.
static __always_inline __u16 adjust_csum(__u16 check, __u32 delta)
{
	return (__u16)~fold_sum((__u32)fold_sum(delta) + (__u16)~check);
}

// What a sum changes by when a 16-bit word does.
static __always_inline __u32 word_delta(__u16 from, __u16 to)
{
	return (__u32)(__u16)~from + to;
}

static __always_inline __u32 address_delta(const union axo_addr *from, const union axo_addr *to, const bool v6)
{
	const __u32 size = v6 ? 16 : 4;

	return bpf_csum_diff((__be32 *)from, size, (__be32 *)to, size, 0);
}

static __always_inline __u32 add_deltas(__u32 a, __u32 b)
{
	__u64 sum = (__u64)a + b;

	return (__u32)sum + (__u32)(sum >> 32);
}

static __always_inline bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

// Something that tells connections between the same addresses apart: ports, or ICMP's identifier.
static __always_inline bool has_l4_id(const struct packet *p)
{
	return has_ports(p->proto) || (p->flags & PACKET_ICMP_ECHO);
}

// Where a protocol's checksum stands in its header; 0: it has none that an address or a port is part of. SCTP sums up neither
// addresses nor in a way that could be adjusted, so its ports stay as they are.
static __always_inline __u32 csum_offset(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 2;
	default:
		return 0;
	}
}

static __always_inline bool write_addresses(struct __sk_buff *skb, const struct flow_rewrite *r, const bool v6)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return false;
		__builtin_memcpy(&ip->saddr, r->saddr.ip6, 16);
		__builtin_memcpy(&ip->daddr, r->daddr.ip6, 16);
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return false;
		ip->saddr = r->saddr.ip4;
		ip->daddr = r->daddr.ip4;
		ip->check = adjust_csum(ip->check, r->addr_delta);
	}
	return true;
}

// After the addresses and ports have been written.
static __always_inline bool fix_l4_csum(struct __sk_buff *skb, const struct flow_rewrite *r, __u32 l4_off, __u8 proto, const bool v6)
{
	const __u64 zero_is_none = proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	const __u32 offset = csum_offset(proto);

	if (offset) {
		if (proto != IPPROTO_ICMP &&
		    bpf_l4_csum_replace(skb, l4_off + offset, 0, r->addr_delta, BPF_F_PSEUDO_HDR | zero_is_none))
			return false;
		if (r->port_delta && bpf_l4_csum_replace(skb, l4_off + offset, 0, r->port_delta, zero_is_none))
			return false;
	}
	if (v6)
		bpf_csum_update(skb, r->addr_delta);
	return true;
}

// The fast path's: TCP or UDP right behind an IP header without options. False: not readable, and not changed.
static __always_inline bool rewrite_plain(struct __sk_buff *skb, const struct flow_rewrite *r, const bool v6)
{
	const __u32 l4_off = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ports *ports = data + l4_off;
	__u8 proto;

	if ((void *)(ports + 2) > end)
		return false;
	proto = v6 ? ((struct ipv6hdr *)(data + ETH_HLEN))->nexthdr : ((struct iphdr *)(data + ETH_HLEN))->protocol;
	ports->source = r->sport;
	ports->dest = r->dport;
	if (!write_addresses(skb, r, v6))
		return false;
	// Constant flags and offsets: one of the two, not a value that the verifier follows.
	if (proto == IPPROTO_TCP)
		return fix_l4_csum(skb, r, l4_off, IPPROTO_TCP, v6);
	return fix_l4_csum(skb, r, l4_off, IPPROTO_UDP, v6);
}

// Any packet: with IP options or extension headers, fragments, ICMP echo. l4_off as parsed.
static __always_inline bool rewrite_parsed(struct __sk_buff *skb, const struct packet *p, const struct flow_rewrite *r, const bool v6)
{
	const struct ports ports = { r->sport, r->dport };
	__u32 l4_off = p->l4_off;

	if (!write_addresses(skb, r, v6))
		return false;
	if (p->flags & PACKET_LATER_FRAG) {
		// A fragment without an L4 header: nothing in it sums up the addresses.
		if (v6)
			bpf_csum_update(skb, r->addr_delta);
		return true;
	}
	switch (p->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		if (bpf_skb_store_bytes(skb, l4_off, &ports, sizeof(ports), 0))
			return false;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if ((p->flags & PACKET_ICMP_ECHO) && bpf_skb_store_bytes(skb, l4_off + 4, &ports.source, sizeof(ports.source), 0))
			return false;
		break;
	}
	return fix_l4_csum(skb, r, l4_off, p->proto, v6);
}

// The quoted packet ran the other way, so it gets the rewrite's ends exchanged. Returns what the error's own checksum changes by;
// *failed: it could not be written.
static __always_inline __u32 rewrite_quote(struct __sk_buff *skb, const struct flow_rewrite *r, __u32 off, __u8 proto, bool *failed,
					   const bool v6)
{
	const __u32 csum_at = csum_offset(proto);
	__u32 delta = r->addr_delta, l4_off;
	__u16 check, old;

	*failed = true;
	if (v6) {
		l4_off = off + sizeof(struct ipv6hdr);
		if (bpf_skb_store_bytes(skb, off + 8, r->daddr.ip6, 16, 0) || bpf_skb_store_bytes(skb, off + 24, r->saddr.ip6, 16, 0))
			return 0;
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, off, &ip, sizeof(ip)))
			return 0;
		l4_off = off + ip.ihl * 4;
		old = ip.check;
		ip.saddr = r->daddr.ip4;
		ip.daddr = r->saddr.ip4;
		ip.check = adjust_csum(old, r->addr_delta);
		delta = add_deltas(delta, word_delta(old, ip.check));
		if (bpf_skb_store_bytes(skb, off, &ip, sizeof(ip), 0))
			return 0;
	}
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP) {
		const struct ports ports = { r->dport, r->sport };

		if (bpf_skb_store_bytes(skb, l4_off, &ports, sizeof(ports), 0))
			return 0;
		delta = add_deltas(delta, r->port_delta);
	} else if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
		if (bpf_skb_store_bytes(skb, l4_off + 4, &r->sport, sizeof(r->sport), 0))
			return 0;
		delta = add_deltas(delta, r->port_delta);
	}
	*failed = false;
	// The quote may end before the checksum; a UDP checksum of zero is none.
	if (!csum_at || bpf_skb_load_bytes(skb, l4_off + csum_at, &old, sizeof(old)) || (proto == IPPROTO_UDP && !old))
		return delta;
	check = adjust_csum(old, proto == IPPROTO_ICMP ? r->port_delta : add_deltas(r->addr_delta, r->port_delta));
	if (bpf_skb_store_bytes(skb, l4_off + csum_at, &check, sizeof(check), 0)) {
		*failed = true;
		return 0;
	}
	return add_deltas(delta, word_delta(old, check));
}

// An ICMP error about a translated packet: its addresses, and the packet that it quotes.
static __always_inline bool rewrite_error(struct __sk_buff *skb, const struct packet *p, __u8 quoted_proto,
					  const struct flow_rewrite *quote, const struct flow_rewrite *outer, const bool v6)
{
	bool failed;
	__u32 delta = rewrite_quote(skb, quote, p->l4_off + 8, quoted_proto, &failed, v6);

	if (failed || bpf_l4_csum_replace(skb, p->l4_off + 2, 0, delta, 0))
		return false;
	if (v6 && bpf_l4_csum_replace(skb, p->l4_off + 2, 0, outer->addr_delta, BPF_F_PSEUDO_HDR))
		return false;
	if (!write_addresses(skb, outer, v6))
		return false;
	if (v6)
		bpf_csum_update(skb, outer->addr_delta);
	return true;
}
