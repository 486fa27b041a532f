// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Direct server return: the packet that opens a connection tells the backend's node which frontend its client speaks to,
// in an IPv4 option or an IPv6 destination option, or in an option of the Geneve tunnel between the two (Cilium's encodings).
// Receivers that do not know the first two skip them.
#pragma once

#include "bpf/lib/rewrite.h"
#include "bpf/lib/scratch.h"

#define DSR_OPTION4 0x9a // copied into fragments, experimental
#define DSR_OPTION6 0x1b // to be skipped by who does not know it
#define DSR_GENEVE_CLASS bpf_htons(0x014b) // Cilium's
#define DSR_GENEVE_TYPE 0x81		    // critical: who does not know it must drop the packet

struct dsr_option4 {
	__u8 type;
	__u8 len;
	__be16 port;
	__be32 addr;
} __attribute__((packed));

struct dsr_option6 {
	__u8 nexthdr;
	__u8 hdrlen;
	__u8 type;
	__u8 len;
	__be32 addr[4];
	__be16 port;
	__u16 pad;
} __attribute__((packed));

struct dsr_geneve4 {
	__be16 class;
	__u8 type;
	__u8 words; // behind the first one
	__be32 addr;
	__be16 port;
	__u16 pad;
} __attribute__((packed));

struct dsr_geneve6 {
	__be16 class;
	__u8 type;
	__u8 words;
	__be32 addr[4];
	__be16 port;
	__u16 pad;
} __attribute__((packed));

static __always_inline __u16 dsr_length(const bool v6)
{
	if (dsr_by_geneve())
		return v6 ? sizeof(struct dsr_geneve6) : sizeof(struct dsr_geneve4);
	return v6 ? sizeof(struct dsr_option6) : sizeof(struct dsr_option4);
}

// Ways out by which the backend's node can be told.
static __always_inline bool can_carry_frontend(__u8 action)
{
	return dsr_by_geneve() ? action == FLOW_ENCAP || action == FLOW_TUNNEL_DEV : action == FLOW_NEIGH;
}

// Which packets of a connection carry the option: those that may be the first that the backend's node sees.
static __always_inline bool carries_frontend(const struct packet *p)
{
	if (p->flags & (PACKET_LATER_FRAG | PACKET_ICMP_ERROR))
		return false;
	return p->proto != IPPROTO_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

// Behind the IP header of a packet whose addresses are rewritten already.
static __always_inline bool add_frontend(struct __sk_buff *skb, const struct tuple *from, const bool v6)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	if (v6) {
		struct dsr_option6 option = {
			.hdrlen = sizeof(option) / 8 - 1,
			.type = DSR_OPTION6,
			.len = sizeof(option) - 4,
			.port = from->dport,
		};
		struct ipv6hdr ip;

		__builtin_memcpy(option.addr, from->daddr.ip6, 16);
		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return false;
		option.nexthdr = ip.nexthdr;
		ip.nexthdr = IPPROTO_DSTOPTS;
		ip.payload_len = bpf_htons(bpf_ntohs(ip.payload_len) + sizeof(option));
		if (bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, flags))
			return false;
		return !bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) &&
		       !bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &option, sizeof(option), BPF_F_RECOMPUTE_CSUM);
	} else {
		struct dsr_option4 option = {
			.type = DSR_OPTION4,
			.len = sizeof(option),
			.port = from->dport,
			.addr = from->daddr.ip4,
		};
		const __u32 words = sizeof(option) / 4; // of the header's length
		struct iphdr ip;
		__u32 delta;
		__u16 len;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.ihl > 15 - words)
			return false;
		len = bpf_htons(bpf_ntohs(ip.tot_len) + sizeof(option));
		// Options of the sender's own stay where they are: only what is new goes into the sum.
		delta = bpf_csum_diff(NULL, 0, (__be32 *)&option, sizeof(option), word_delta(ip.tot_len, len));
		ip.check = adjust_csum(ip.check, add_deltas(delta, bpf_htons(words << 8)));
		ip.tot_len = len;
		ip.ihl += words;
		return !bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, flags) &&
		       !bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) &&
		       !bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &option, sizeof(option), 0);
	}
}

// From a packet that another node has sent on to its backend: the frontend. False: carries none.
static __always_inline bool read_frontend(struct __sk_buff *skb, const struct packet *p, struct tuple *frontend, const bool v6)
{
	if (v6) {
		struct dsr_option6 option;
		__u8 next;

		if (p->l4_off < ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(option) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + 6, &next, sizeof(next)) || next != IPPROTO_DSTOPTS ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &option, sizeof(option)) ||
		    option.type != DSR_OPTION6 || option.len != sizeof(option) - 4)
			return false;
		__builtin_memcpy(frontend->saddr.ip6, option.addr, 16);
		frontend->sport = option.port;
	} else {
		struct dsr_option4 option;

		if (p->l4_off < ETH_HLEN + sizeof(struct iphdr) + sizeof(option) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &option, sizeof(option)) ||
		    option.type != DSR_OPTION4 || option.len != sizeof(option))
			return false;
		frontend->saddr.ip4 = option.addr;
		frontend->sport = option.port;
	}
	return true;
}

// Is the packet one that the tunnel's header tells the frontend of? The device writes that: the fast way has no options. Later
// fragments of datagrams go with the first one, which they would overtake otherwise.
static __always_inline bool names_frontend(const struct scratch *s)
{
	const struct packet *p = &s->packet;

	if (!dsr_by_geneve() || !s->nat.stage || !is_one_way(s->nat.flags))
		return false;
	return carries_frontend(p) || ((p->flags & PACKET_LATER_FRAG) && p->proto != IPPROTO_TCP);
}

// Beside the tunnel key that the packet has already.
static __always_inline bool put_tunnel_option(struct __sk_buff *skb, const struct tuple *from, const bool v6)
{
	if (v6) {
		struct dsr_geneve6 option = {
			.class = DSR_GENEVE_CLASS,
			.type = DSR_GENEVE_TYPE,
			.words = sizeof(option) / 4 - 1,
			.port = from->dport,
		};

		__builtin_memcpy(option.addr, from->daddr.ip6, 16);
		return !bpf_skb_set_tunnel_opt(skb, &option, sizeof(option));
	} else {
		struct dsr_geneve4 option = {
			.class = DSR_GENEVE_CLASS,
			.type = DSR_GENEVE_TYPE,
			.words = sizeof(option) / 4 - 1,
			.addr = from->daddr.ip4,
			.port = from->dport,
		};

		return !bpf_skb_set_tunnel_opt(skb, &option, sizeof(option));
	}
}

// From a packet that has come through the tunnel device. False: carries none.
static __always_inline bool read_tunnel_option(struct __sk_buff *skb, struct tuple *frontend, const bool v6)
{
	if (v6) {
		struct dsr_geneve6 option = {};

		if (bpf_skb_get_tunnel_opt(skb, &option, sizeof(option)) != sizeof(option) || option.class != DSR_GENEVE_CLASS ||
		    option.type != DSR_GENEVE_TYPE || option.words != sizeof(option) / 4 - 1)
			return false;
		__builtin_memcpy(frontend->saddr.ip6, option.addr, 16);
		frontend->sport = option.port;
	} else {
		struct dsr_geneve4 option = {};

		if (bpf_skb_get_tunnel_opt(skb, &option, sizeof(option)) != sizeof(option) || option.class != DSR_GENEVE_CLASS ||
		    option.type != DSR_GENEVE_TYPE || option.words != sizeof(option) / 4 - 1)
			return false;
		frontend->saddr.ip4 = option.addr;
		frontend->sport = option.port;
	}
	return true;
}
