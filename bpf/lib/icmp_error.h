// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What an ICMP error of the datapath looks like on the wire, behind the Ethernet header.
#pragma once

#include "bpf/lib/packet.h"

// As much of the packet as tells whose it is behind extension headers and what tunnels and translators add; of a shorter one what
// RFC 792 and 4443 ask for at least, the IP header and eight bytes.
#define ICMP_QUOTE 128
#define ICMP_QUOTE_MEDIUM 64
#define ICMP4_QUOTE_LEAST 28
#define ICMP6_QUOTE_LEAST 48

struct icmp4_error {
	struct iphdr ip;
	struct icmphdr icmp;
	__u8 quote[ICMP_QUOTE];
} __attribute__((packed));

struct icmp6_error {
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
	__u8 quote[ICMP_QUOTE];
} __attribute__((packed));
