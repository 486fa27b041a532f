/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reason codes of drops and of the metrics map. Numbers and texts are Cilium's: users see them in
 * monitor, in metrics and in dashboards. X(name, number, text)
 */
#ifndef AXO_API_DROP_REASON_H
#define AXO_API_DROP_REASON_H

#define AXO_REASONS(X)                                                          \
	X(FORWARDED, 0, "Success")                                              \
	X(REASON_INTERFACE, 3, "Interface")                                     \
	X(REASON_LB_NO_BACKEND, 6, "LB, sock cgroup: No backend entry found")   \
	X(REASON_LB_REVNAT_UPDATE, 7, "LB, sock cgroup: Reverse entry update failed") \
	X(REASON_FRAG_PACKET, 9, "Fragmented packet")                           \
	X(REASON_FRAG_UPDATE, 10, "Fragmented packet entry update failed")      \
	X(REASON_MTU_ERROR_MSG, 15, "MTU error message")                        \
	X(DROP_INVALID_SMAC, 130, "Invalid source mac")                         \
	X(DROP_INVALID_SIP, 132, "Invalid source ip")                           \
	X(DROP_POLICY, 133, "Policy denied")                                    \
	X(DROP_INVALID, 134, "Invalid packet")                                  \
	X(DROP_CT_INVALID_HDR, 135, "CT: Truncated or invalid header")          \
	X(DROP_FRAG_NEEDED, 136, "Fragmentation needed")                        \
	X(DROP_CT_UNKNOWN_PROTO, 137, "CT: Unknown L4 protocol")                \
	X(DROP_UNKNOWN_L3, 139, "Unsupported L3 protocol")                      \
	X(DROP_MISSED_TAIL_CALL, 140, "Missed tail call")                       \
	X(DROP_WRITE_ERROR, 141, "Error writing to packet")                     \
	X(DROP_UNKNOWN_L4, 142, "Unknown L4 protocol")                          \
	X(DROP_UNKNOWN_ICMP6_CODE, 145, "Unknown ICMPv6 code")                  \
	X(DROP_UNKNOWN_ICMP6_TYPE, 146, "Unknown ICMPv6 type")                  \
	X(DROP_NO_TUNNEL_KEY, 147, "Error retrieving tunnel key")               \
	X(DROP_UNKNOWN_TARGET, 150, "Unknown L3 target address")                \
	X(DROP_UNROUTABLE, 151, "Stale or unroutable IP")                       \
	X(DROP_NO_LXC, 152, "No matching local container found")                \
	X(DROP_CSUM_L3, 153, "Error while correcting L3 checksum")              \
	X(DROP_CSUM_L4, 154, "Error while correcting L4 checksum")              \
	X(DROP_CT_CREATE_FAILED, 155, "CT: Map insertion failed")               \
	X(DROP_INVALID_EXTHDR, 156, "Invalid IPv6 extension header")            \
	X(DROP_FRAG_NOSUPPORT, 157, "IP fragmentation not supported")           \
	X(DROP_NO_SERVICE, 158, "Service backend not found")                           \
	X(DROP_NO_TUNNEL_ENDPOINT, 160, "No tunnel/encapsulation endpoint (datapath BUG!)") \
	X(DROP_HOST_UNREACHABLE, 164, "Local host is unreachable")              \
	X(DROP_UNSUPPORTED_L2, 166, "Unsupported L2 protocol")                  \
	X(DROP_NAT_NO_MAPPING, 167, "No mapping for NAT masquerade")                   \
	X(DROP_NAT_UNSUPP_PROTO, 168, "Unsupported protocol for NAT masquerade")       \
	X(DROP_NO_FIB, 169, "FIB lookup failed")                                \
	X(DROP_ENCAP_PROHIBITED, 170, "Encapsulation traffic is prohibited")    \
	X(DROP_INVALID_IDENTITY, 171, "Invalid identity")                       \
	X(DROP_UNKNOWN_SENDER, 172, "Unknown sender")                           \
	X(DROP_IS_CLUSTER_IP, 174, "Is a ClusterIP")                                   \
	X(DROP_FRAG_NOT_FOUND, 175, "First logical datagram fragment not found") \
	X(DROP_FORBIDDEN_ICMP6, 176, "Forbidden ICMPv6 message")                \
	X(DROP_NOT_IN_SRC_RANGE, 177, "Denied by LB src range check")                  \
	X(DROP_POLICY_DENY, 181, "Policy denied by denylist")                   \
	X(DROP_TTL_EXCEEDED, 196, "TTL exceeded")                               \
	X(DROP_HOST_NOT_READY, 202, "Host datapath not ready")                  \
	X(DROP_EP_NOT_READY, 203, "Endpoint policy program not available")

enum axo_reason {
#define X(name, number, text) name = number,
	AXO_REASONS(X)
#undef X
};

#endif
