// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Parsing: from the bytes of a packet to struct packet. One pass, every access bounds-checked.
#pragma once

#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "bpf/lib/common.h"
#include "bpf/lib/maps.h"

// RFC 792; <linux/icmp.h> drags in the C library's socket headers.
struct icmphdr {
	__u8 type;
	__u8 code;
	__be16 checksum;
	union {
		struct {
			__be16 id;
			__be16 sequence;
		} echo;
		struct {
			__be16 unused;
			__be16 mtu;
		} frag;
	} un;
};

#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_PORT_UNREACH 3 // code of ICMP_DEST_UNREACH
#define ICMP_FRAG_NEEDED 4 // code of ICMP_DEST_UNREACH
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

#define IP4_DF 0x4000
#define IP4_MF 0x2000
#define IP4_OFFSET 0x1FFF
#define IP6_MF 0x0001
#define IP6_OFFSET 0xFFF8

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP 132
#endif

struct packet {
	union axo_addr saddr;
	union axo_addr daddr;
	__be16 sport; // ICMP echo: the identifier in both
	__be16 dport;
	__u8 proto;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 ttl;
	__u8 flags; // PACKET_*
	__u16 l4_off;
	__u16 l3_len; // as the IP header says; 0 with jumbograms
	__u16 ethertype;
};

#define PACKET_FRAGMENT 1u   // any fragment
#define PACKET_LATER_FRAG 2u // not the first one: has no L4 header
#define PACKET_DF 4u
#define PACKET_ICMP_ERROR 8u // the ports are those of the packet that the error is about, turned around
#define PACKET_ICMP_ECHO 16u
#define PACKET_ICMP_OTHER 32u // neither error nor echo: nothing in its flow key tells its type

struct ports {
	__be16 source;
	__be16 dest;
};

static __always_inline bool is_icmp_error4(__u8 type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

// RFC 4443: types below 128 are errors.
static __always_inline bool is_icmp_error6(__u8 type)
{
	return type < 128;
}

// Ports of the packet an ICMP error quotes, turned around so that the error looks like a packet of
// the flow it is about, from the side it came from. False: quotes nothing that we track.
static __always_inline bool parse_quoted(struct __sk_buff *skb, struct packet *p, __u32 off, const bool v6)
{
	struct ports quoted;
	__u32 l4;

	if (v6) {
		struct ipv6hdr inner;

		if (bpf_skb_load_bytes(skb, off, &inner, sizeof(inner)))
			return false;
		p->proto = inner.nexthdr;
		__builtin_memcpy(p->saddr.ip6, &inner.daddr, 16);
		l4 = off + sizeof(inner);
		__builtin_memcpy(p->daddr.ip6, &inner.saddr, 16);
	} else {
		struct iphdr inner;

		if (bpf_skb_load_bytes(skb, off, &inner, sizeof(inner)) || inner.ihl < 5)
			return false;
		if (inner.frag_off & bpf_htons(IP4_OFFSET))
			return false;
		p->proto = inner.protocol;
		p->saddr.ip4 = inner.daddr;
		p->daddr.ip4 = inner.saddr;
		l4 = off + inner.ihl * 4;
	}
	switch (p->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (bpf_skb_load_bytes(skb, l4, &quoted, sizeof(quoted)))
			return false;
		p->sport = quoted.dest;
		p->dport = quoted.source;
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		// Only echo has an identifier, at offset 4 of its header.
		if (bpf_skb_load_bytes(skb, l4 + 4, &p->sport, sizeof(p->sport)))
			return false;
		p->dport = p->sport;
		return true;
	default:
		return false;
	}
}

// The ports of a datagram's first fragment, remembered for those that follow. 0 or -DROP_*.
static __always_inline int track_fragment(void *map, const void *id, struct packet *p)
{
	struct frag_l4ports *known, ports;

	if (p->flags & PACKET_LATER_FRAG) {
		known = bpf_map_lookup_elem(map, id);
		if (!known)
			return -DROP_FRAG_NOT_FOUND;
		p->sport = known->sport;
		p->dport = known->dport;
		return 0;
	}
	ports.sport = p->sport;
	ports.dport = p->dport;
	bpf_map_update_elem(map, id, &ports, BPF_ANY);
	return 0;
}

static __always_inline int track_fragment4(const struct iphdr *ip, struct packet *p)
{
	struct ipv4_frag_id id = {
		.daddr = ip->daddr,
		.saddr = ip->saddr,
		.id = ip->id,
		.proto = ip->protocol,
	};

	if (!ct_cfg.fragments_v4)
		return -DROP_FRAG_NOSUPPORT;
	return track_fragment(&cilium_ipv4_frag_datagrams, &id, p);
}

static __always_inline int track_fragment6(struct packet *p, __be32 ident)
{
	struct ipv6_frag_id id = {
		.id = ident,
		.proto = p->proto,
	};

	if (!ct_cfg.fragments_v6)
		return -DROP_FRAG_NOSUPPORT;
	__builtin_memcpy(id.saddr, p->saddr.ip6, 16);
	__builtin_memcpy(id.daddr, p->daddr.ip6, 16);
	return track_fragment(&cilium_ipv6_frag_datagrams, &id, p);
}

// Past IPv6 extension headers (RFC 8200); at most 4, as many as real packets carry. Offset of the
// upper layer or -DROP_*.
static __always_inline int skip_extensions(struct __sk_buff *skb, struct packet *p, __u32 off, __be32 *frag_id)
{
	__u8 next = p->proto;
	struct {
		__u8 next;
		__u8 len;
		__be16 frag_off;
		__be32 frag_id;
	} ext;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			if (bpf_skb_load_bytes(skb, off, &ext, 2))
				return -DROP_INVALID_EXTHDR;
			off += (ext.len + 1) * 8;
			break;
		case IPPROTO_AH:
			if (bpf_skb_load_bytes(skb, off, &ext, 2))
				return -DROP_INVALID_EXTHDR;
			off += (ext.len + 2) * 4;
			break;
		case IPPROTO_FRAGMENT:
			if (bpf_skb_load_bytes(skb, off, &ext, 8))
				return -DROP_INVALID_EXTHDR;
			off += 8;
			// An atomic fragment (RFC 6946) is a whole datagram.
			if (ext.frag_off & bpf_htons(IP6_OFFSET | IP6_MF))
				p->flags |= PACKET_FRAGMENT;
			if (ext.frag_off & bpf_htons(IP6_OFFSET)) {
				p->flags |= PACKET_LATER_FRAG;
				*frag_id = ext.frag_id;
				p->proto = ext.next;
				return off;
			}
			*frag_id = ext.frag_id;
			break;
		default:
			p->proto = next;
			return off;
		}
		next = ext.next;
	}
	return -DROP_INVALID_EXTHDR;
}

// L4 of a packet that has it. 0 or -DROP_*.
static __always_inline int parse_l4(struct __sk_buff *skb, struct packet *p, const bool v6)
{
	union {
		struct ports ports;
		struct {
			__u8 type;
			__u8 code;
			__be16 csum;
			__be16 id;
			__be16 seq;
		} icmp;
	} l4;
	__u8 tcp_flags;

	switch (p->proto) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, p->l4_off + 13, &tcp_flags, 1))
			return -DROP_CT_INVALID_HDR;
		p->tcp_flags = tcp_flags;
		/* fallthrough */
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (bpf_skb_load_bytes(skb, p->l4_off, &l4.ports, sizeof(l4.ports)))
			return -DROP_CT_INVALID_HDR;
		p->sport = l4.ports.source;
		p->dport = l4.ports.dest;
		return 0;
	case IPPROTO_ICMP:
		if (v6)
			return -DROP_CT_UNKNOWN_PROTO;
		break;
	case IPPROTO_ICMPV6:
		if (!v6)
			return -DROP_CT_UNKNOWN_PROTO;
		break;
	default:
		return node_cfg.extended_protocols ? 0 : -DROP_CT_UNKNOWN_PROTO;
	}
	if (bpf_skb_load_bytes(skb, p->l4_off, &l4.icmp, sizeof(l4.icmp)))
		return -DROP_CT_INVALID_HDR;
	p->icmp_type = l4.icmp.type;
	p->icmp_code = l4.icmp.code;
	if (v6 ? l4.icmp.type == ICMPV6_ECHO_REQUEST || l4.icmp.type == ICMPV6_ECHO_REPLY
	       : l4.icmp.type == ICMP_ECHO || l4.icmp.type == ICMP_ECHOREPLY) {
		p->flags |= PACKET_ICMP_ECHO;
		p->sport = l4.icmp.id;
		p->dport = l4.icmp.id;
	} else if (v6 ? is_icmp_error6(l4.icmp.type) : is_icmp_error4(l4.icmp.type)) {
		p->flags |= PACKET_ICMP_ERROR;
	} else {
		p->flags |= PACKET_ICMP_OTHER;
	}
	return 0;
}

// Everything about the packet whose IP header starts at l3_off. 0 or -DROP_*; on a drop the
// addresses are filled in as far as they could be read.
static __always_inline int parse_packet(struct __sk_buff *skb, __u32 l3_off, struct packet *p, const bool v6)
{
	int ret;

	__builtin_memset(p, 0, sizeof(*p));
	if (v6) {
		struct ipv6hdr ip;
		__be32 frag_id = 0;

		p->ethertype = ETH_P_IPV6;
		if (bpf_skb_load_bytes(skb, l3_off, &ip, sizeof(ip)))
			return -DROP_INVALID;
		if (ip.version != 6)
			return -DROP_INVALID;
		__builtin_memcpy(p->saddr.ip6, &ip.saddr, 16);
		__builtin_memcpy(p->daddr.ip6, &ip.daddr, 16);
		p->proto = ip.nexthdr;
		p->ttl = ip.hop_limit;
		p->l3_len = bpf_ntohs(ip.payload_len) + sizeof(ip);
		p->flags = PACKET_DF;
		ret = skip_extensions(skb, p, l3_off + sizeof(ip), &frag_id);
		if (ret < 0)
			return ret;
		p->l4_off = ret;
		if (!(p->flags & PACKET_LATER_FRAG)) {
			ret = parse_l4(skb, p, true);
			if (ret)
				return ret;
		}
		if (p->flags & PACKET_FRAGMENT)
			return track_fragment6(p, frag_id);
		return 0;
	} else {
		struct iphdr ip;

		p->ethertype = ETH_P_IP;
		if (bpf_skb_load_bytes(skb, l3_off, &ip, sizeof(ip)))
			return -DROP_INVALID;
		if (ip.version != 4 || ip.ihl < 5)
			return -DROP_INVALID;
		p->saddr.ip4 = ip.saddr;
		p->daddr.ip4 = ip.daddr;
		p->proto = ip.protocol;
		p->ttl = ip.ttl;
		p->l3_len = bpf_ntohs(ip.tot_len);
		p->l4_off = l3_off + ip.ihl * 4;
		if (ip.frag_off & bpf_htons(IP4_DF))
			p->flags |= PACKET_DF;
		if (ip.frag_off & bpf_htons(IP4_MF | IP4_OFFSET))
			p->flags |= PACKET_FRAGMENT;
		if (ip.frag_off & bpf_htons(IP4_OFFSET))
			p->flags |= PACKET_LATER_FRAG;
		if (!(p->flags & PACKET_LATER_FRAG)) {
			ret = parse_l4(skb, p, false);
			if (ret)
				return ret;
		}
		if (p->flags & PACKET_FRAGMENT)
			return track_fragment4(&ip, p);
		return 0;
	}
}
