/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Compiled policy: what an endpoint may receive and send, as an image of 32-byte rows.
 *
 * A policy of R rules, I identities and P port ranges is not multiplied out. The image says which
 * rules' peers contain an identity (a bit per rule: a rule set) and which rules' ports contain a
 * port (another one). The lowest bit that stands in both is the rule that decides: rules are ordered
 * by precedence, denials first. So size grows with I + P, not with I x P, and nothing can overflow at
 * run time: an image is built whole, or refused whole.
 *
 * Images lie in slabs: the inner arrays of the array of maps cilium_policy_slabs, written by the
 * agent through mmap and read-only to programs. An endpoint's policy is switched by one aligned
 * 64-bit store to its struct policy_ref, generation and location together: no packet sees a part of
 * two policies. Rows of an image that is not referenced any more are used again only after the
 * kernel's grace period.
 *
 * Rule sets: rule r is bit (r & 63) of word ((r >> 6) & 3) of row (r >> 8).
 */
#ifndef AXO_API_POLICY_H
#define AXO_API_POLICY_H

#include "bpf/api/types.h"

#define POLICY_SLABS 64
#define POLICY_RULES_PER_ROW 256
#define POLICY_MAX_RULE_ROWS 16 /* 4096 rules for one direction of one endpoint */
#define POLICY_MAX_PROBES 8	/* rows of the identity table that a lookup looks at */

/*
 * Which image, in struct policy_ref: slab << 26 | row << 6 | flags. 0: this endpoint's policy has
 * not been computed yet, its packets are dropped with DROP_EP_NOT_READY. Not so the host endpoint's: a
 * booting node must not be cut off from what would tell it its policy.
 */
#define POLICY_REF_SLAB_SHIFT 26
#define POLICY_REF_ROW_SHIFT 6
#define POLICY_REF_ROW_MASK 0xfffffu
#define POLICY_REF_F_READY 1u	/* always set in a reference that is not 0 */
#define POLICY_REF_F_INGRESS 2u /* ingress is enforced; without it nothing has to be looked up */
#define POLICY_REF_F_EGRESS 4u
#define POLICY_REF_F_AUDIT 8u /* report what would be denied, and let it pass */

struct policy_ref {
	__u32 generation; /* generation.h: part of the stamp */
	__u32 location;
};
AXO_STATIC_ASSERT(sizeof(struct policy_ref) == 8, "policy_ref");

/* Row 0 of an image: ingress. Row 1: egress. Row numbers are relative to the image. */
struct policy_direction {
	__u32 identities;     /* first row of the identity table */
	__u32 identity_mask;  /* its rows - 1; a power of two - 1 */
	__u32 classes;	      /* rule set of class c: rows classes + c * stride … */
	__u32 ports;	      /* struct policy_protocols */
	__u32 segments;	      /* rule set of port segment s: rows segments + s * stride … */
	__u32 verdicts;	      /* struct policy_verdict of rule r: row verdicts + r / 4, entry r & 3 */
	__u32 default_cookie; /* whom to name when no rule matches: why the direction is closed */
	__u16 stride;	      /* rows of a rule set; 0: no rules at all */
	__u16 flags;	      /* POLICY_DIR_F_* */
};
#define POLICY_DIR_F_ENFORCED 1u /* what no rule allows is denied; otherwise what no rule denies is allowed */

/*
 * Identity -> class (all identities that the same rules select). Open addressing by rows: start at
 * axo_policy_bucket, go on to the next row (cyclically) while `more` is set. An identity that is not
 * there has class 0: the rules that select everybody.
 */
#define POLICY_BUCKET_SLOTS 5
struct policy_bucket {
	__u32 identity[POLICY_BUCKET_SLOTS]; /* 0: free */
	__u16 class_of[POLICY_BUCKET_SLOTS];
	__u16 more;
};

/*
 * Port -> segment (all ports that the same rules contain), per protocol slot. For ICMP the port is the type.
 * directory 0: the protocol's ports do not differ, segment[slot] is the answer. Otherwise blocks of 16 rows
 * (256 __u16 each) follow the row of this struct; directory - 1 is the block to look at with port >> 8. What stands
 * there is a segment, or POLICY_PORT_BLOCK | block to look at with port & 255.
 */
enum policy_slot {
	POLICY_SLOT_OTHER = 0,
	POLICY_SLOT_TCP = 1,
	POLICY_SLOT_UDP = 2,
	POLICY_SLOT_SCTP = 3,
	POLICY_SLOT_ICMP = 4,
	POLICY_SLOT_ICMPV6 = 5,
	POLICY_SLOT_VRRP = 6,
	POLICY_SLOT_IGMP = 7,
	POLICY_SLOTS = 8,
};
#define POLICY_PORT_BLOCK 0x8000u
struct policy_protocols {
	__u16 directory[POLICY_SLOTS];
	__u16 segment[POLICY_SLOTS];
};

enum policy_action {
	POLICY_ALLOW = 1,
	POLICY_DENY = 2,
	POLICY_REDIRECT = 3, /* to proxy_port */
};
struct policy_verdict {
	__u32 cookie; /* names the rule; see the agent's rule table */
	__be16 proxy_port;
	__u8 action; /* enum policy_action */
	__u8 auth_type;
};
AXO_STATIC_ASSERT(sizeof(struct policy_verdict) == 8, "policy_verdict");

/* Cookies that no rule has. */
#define POLICY_COOKIE_NONE 0	  /* not enforced */
#define POLICY_COOKIE_LOCALHOST 1 /* allow-localhost: a node may reach its own pods */
#define POLICY_COOKIE_CLOSED 2	  /* the endpoint's own policy did not fit: everything is denied */
#define POLICY_COOKIE_FIRST 16	  /* of rules */

struct policy_row {
	union {
		__u64 rules[4];
		__u32 words[8];
		__u16 shorts[16];
		struct policy_direction direction;
		struct policy_bucket bucket;
		struct policy_protocols protocols;
		struct policy_verdict verdict[4];
	};
};
AXO_STATIC_ASSERT(sizeof(struct policy_row) == 32, "policy_row");

/* The row of the identity table where the search for an identity starts. Both sides call this very function. */
static inline __u32 axo_policy_bucket(__u32 identity, __u32 mask)
{
	__u32 h = identity * 0x9E3779B1u;

	return (h ^ (h >> 15)) & mask;
}

#endif
