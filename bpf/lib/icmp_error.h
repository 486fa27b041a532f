// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What an ICMP error of the datapath looks like on the wire, behind the Ethernet header.
#pragma once

#include "bpf/lib/packet.h"

#define ICMP4_QUOTE 28 // the header and eight bytes, as RFC 792 asks at least
#define ICMP6_QUOTE 48

struct icmp4_error {
	struct iphdr ip;
	struct icmphdr icmp;
	__u8 quote[ICMP4_QUOTE];
} __attribute__((packed));

struct icmp6_error {
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
	__u8 quote[ICMP6_QUOTE];
} __attribute__((packed));
