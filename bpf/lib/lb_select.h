// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Services: from an address and a port to the backend that a connection is given. Neither packets nor
// sockets in here: programs of all kinds ask the same questions.
//
//     find_service / find_node_port ─→ may_use_service ─→ select_backend
#pragma once

#include "bpf/lib/lb_maps.h"

static __always_inline bool is_zero_addr(const union axo_addr *addr, const bool v6)
{
	return v6 ? !(addr->ip6[0] | addr->ip6[1] | addr->ip6[2] | addr->ip6[3]) : !addr->ip4;
}

static __always_inline bool same_addr(const union axo_addr *a, const union axo_addr *b, const bool v6)
{
	if (!v6)
		return a->ip4 == b->ip4;
	return !((a->ip6[0] ^ b->ip6[0]) | (a->ip6[1] ^ b->ip6[1]) | (a->ip6[2] ^ b->ip6[2]) | (a->ip6[3] ^ b->ip6[3]));
}

// One entry, copied: an element of a hash that is replaced meanwhile may be given to another key at once. Whose copy
// that would be is told by the entry being the key's still.
static __always_inline bool read_service(const void *map, const void *key, struct lb_service *svc)
{
	const struct lb_service *entry = bpf_map_lookup_elem((void *)map, key);

	if (!entry)
		return false;
	*svc = *entry;
	barrier();
	if (likely(bpf_map_lookup_elem((void *)map, key) == entry))
		return true;
	// Once more: two changes within the same nanoseconds do not hit the same service.
	entry = bpf_map_lookup_elem((void *)map, key);
	if (!entry)
		return false;
	*svc = *entry;
	return true;
}

// The service of exactly this frontend. addr NULL: the one that every address of the node has. scope: who asks,
// LB_SCOPE_*; the internal entry is read where there are two.
static __always_inline bool find_service(const union axo_addr *addr, __be16 port, __u8 proto, __u8 scope, struct lb_service *svc,
					 const bool v6)
{
	if (v6) {
		struct lb6_key key = {.dport = port, .proto = proto};

		if (addr)
			__builtin_memcpy(key.address, addr->ip6, sizeof(key.address));
		if (!read_service(&cilium_lb6_services_v2, &key, svc))
			return false;
		if (scope == LB_SCOPE_EXTERNAL || !(svc->flags2 & LB_F2_TWO_SCOPES))
			return true;
		key.scope = scope;
		return read_service(&cilium_lb6_services_v2, &key, svc);
	} else {
		struct lb4_key key = {.dport = port, .proto = proto};

		if (addr)
			key.address = addr->ip4;
		if (!read_service(&cilium_lb4_services_v2, &key, svc))
			return false;
		if (scope == LB_SCOPE_EXTERNAL || !(svc->flags2 & LB_F2_TWO_SCOPES))
			return true;
		key.scope = scope;
		return read_service(&cilium_lb4_services_v2, &key, svc);
	}
}

// May a port of the node lead to a service? One bit, before anybody finds out whether an address is the node's.
static __always_inline bool is_service_port(__be16 port, __u8 proto)
{
	__u32 number = bpf_ntohs(port);
	__u32 index;
	const __u64 *word;

	switch (proto) {
	case IPPROTO_TCP:
		index = LB_PORTS_TCP * 1024;
		break;
	case IPPROTO_UDP:
		index = LB_PORTS_UDP * 1024;
		break;
	case IPPROTO_SCTP:
		index = LB_PORTS_SCTP * 1024;
		break;
	default:
		return false;
	}
	index += number >> 6;
	word = bpf_map_lookup_elem(&cilium_lb_ports, &index);
	return word && (READ_ONCE(*word) >> (number & 63) & 1);
}

// nodeport-addresses: does this address serve them, if it is a node's?
static __always_inline bool serves_node_ports(const union axo_addr *addr, const bool v6)
{
	const __u32 family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4;

	if (!lb_cfg.some_node_ports)
		return true;
#pragma unroll
	for (int i = 0; i < NODE_PORT_PREFIXES; i++) {
		const volatile struct node_port_prefix *prefix = &lb_cfg.node_port_prefixes[i];
		__be32 differs;

		if (prefix->family != family)
			continue;
		differs = ((v6 ? addr->ip6[0] : addr->ip4) & prefix->mask[0]) ^ prefix->addr[0];
		if (v6) {
			differs |= (addr->ip6[1] & prefix->mask[1]) ^ prefix->addr[1];
			differs |= (addr->ip6[2] & prefix->mask[2]) ^ prefix->addr[2];
			differs |= (addr->ip6[3] & prefix->mask[3]) ^ prefix->addr[3];
		}
		if (!differs)
			return true;
	}
	return false;
}

// The service behind a port of the node (NodePort, host port). That the address is the node's is the caller's to know.
static __always_inline bool find_node_port(__be16 port, __u8 proto, __u8 scope, struct lb_service *svc, const bool v6)
{
	return is_service_port(port, proto) && find_service(NULL, port, proto, scope, svc, v6);
}

// Is this a virtual address, whose ports without a frontend lead nowhere?
static __always_inline bool is_virtual_address(const union axo_addr *addr, const bool v6)
{
	if (v6) {
		struct lb6_key key = {};

		__builtin_memcpy(key.address, addr->ip6, sizeof(key.address));
		return bpf_map_lookup_elem(&cilium_lb6_services_v2, &key) != NULL;
	} else {
		struct lb4_key key = {.address = addr->ip4};

		return bpf_map_lookup_elem(&cilium_lb4_services_v2, &key) != NULL;
	}
}

// loadBalancerSourceRanges.
static __always_inline bool may_use_service(const struct lb_service *svc, const union axo_addr *client, const bool v6)
{
	bool listed;

	if (!(svc->flags & LB_F_SOURCE_RANGE))
		return true;
	if (v6) {
		struct lb6_src_range_key key = {
			.prefixlen = LB_SOURCE_RANGE_STATIC_PREFIX + 128,
			.rev_nat_id = svc->rev_nat_index,
		};

		__builtin_memcpy(key.addr, client->ip6, sizeof(key.addr));
		listed = bpf_map_lookup_elem(&cilium_lb6_source_range, &key) != NULL;
	} else {
		struct lb4_src_range_key key = {
			.prefixlen = LB_SOURCE_RANGE_STATIC_PREFIX + 32,
			.rev_nat_id = svc->rev_nat_index,
			.addr = client->ip4,
		};

		listed = bpf_map_lookup_elem(&cilium_lb4_source_range, &key) != NULL;
	}
	return listed != !!(svc->flags2 & LB_F2_SOURCE_RANGE_DENY);
}

// The mixing steps of Jenkins' lookup3, as the kernel's jhash has them.
#define LB_ROTATE(x, n) ((x) << (n) | (x) >> (32 - (n)))
#define LB_HASH_MIX(a, b, c)                                 \
	do {                                                 \
		(a) -= (c), (a) ^= LB_ROTATE(c, 4), (c) += (b);  \
		(b) -= (a), (b) ^= LB_ROTATE(a, 6), (a) += (c);  \
		(c) -= (b), (c) ^= LB_ROTATE(b, 8), (b) += (a);  \
		(a) -= (c), (a) ^= LB_ROTATE(c, 16), (c) += (b); \
		(b) -= (a), (b) ^= LB_ROTATE(a, 19), (a) += (c); \
		(c) -= (b), (c) ^= LB_ROTATE(b, 4), (b) += (a);  \
	} while (0)
#define LB_HASH_FINAL(a, b, c)                    \
	do {                                      \
		(c) ^= (b), (c) -= LB_ROTATE(b, 14);  \
		(a) ^= (c), (a) -= LB_ROTATE(c, 11);  \
		(b) ^= (a), (b) -= LB_ROTATE(a, 25);  \
		(c) ^= (b), (c) -= LB_ROTATE(b, 16);  \
		(a) ^= (c), (a) -= LB_ROTATE(c, 4);   \
		(b) ^= (a), (b) -= LB_ROTATE(a, 14);  \
		(c) ^= (b), (c) -= LB_ROTATE(b, 24);  \
	} while (0)

// Equal on all nodes. Without the frontend's address: a client keeps its backend whichever node it comes through.
static __always_inline __u32 lb_hash(const union axo_addr *client, __be16 sport, __be16 dport, __u8 proto, const bool v6)
{
	__u32 a = 0xdeadbeef + lb_cfg.maglev_seed, b = a, c = a;

	if (v6) {
		a += client->ip6[0];
		b += client->ip6[1];
		c += client->ip6[2];
		LB_HASH_MIX(a, b, c);
		a += client->ip6[3];
	} else {
		a += client->ip4;
	}
	b += (__u32)dport << 16 | sport;
	c += proto;
	LB_HASH_FINAL(a, b, c);
	return c;
}

// For what a connection is not known by its addresses, but by a cookie of the kernel.
static __always_inline __u32 lb_hash_cookie(__u64 cookie, __u32 more)
{
	__u32 a = 0xdeadbeef + (__u32)cookie, b = 0xdeadbeef + (__u32)(cookie >> 32), c = 0xdeadbeef + more;

	LB_HASH_FINAL(a, b, c);
	return c;
}

// The entry of a service's table of backends for a hash; 0: it has none. A table does not lie in a slab that is not there.
static __always_inline __u32 table_entry(const struct lb_service *svc, __u32 hash)
{
	__u32 slab_index = svc->table >> POLICY_REF_SLAB_SHIFT;
	const struct lb_table_row *row;
	__u32 entry, at;
	void *slab;

	if (!svc->size)
		return 0;
	slab = bpf_map_lookup_elem(&cilium_lb_tables, &slab_index);
	if (!slab)
		return 0;
	entry = hash % svc->size;
	at = (svc->table >> POLICY_REF_ROW_SHIFT & POLICY_REF_ROW_MASK) + entry / LB_TABLE_ROW;
	row = bpf_map_lookup_elem(slab, &at);
	return row ? row->backend[entry & (LB_TABLE_ROW - 1)] : 0;
}

static __always_inline const struct lb_backend *live_backend(__u32 id)
{
	const struct lb_backend *backend = id ? lb_backend(id) : NULL;

	return backend && backend->proto ? backend : NULL;
}

static __always_inline __u32 affinity_ticks(const struct lb_service *svc)
{
	return (__u32)((__u64)svc->affinity_timeout * 1000000000ULL >> AXO_TICK_SHIFT);
}

// The backend that this client was given before, or NULL.
static __always_inline const struct lb_backend *affine_backend(const struct lb_service *svc, const struct lb_affinity_key *client,
							       __u32 *id)
{
	struct lb_affinity_val *known = bpf_map_lookup_elem(&cilium_lb_affinity, client);
	struct lb_affinity_match match = {.port_id = svc->port_id};
	const struct lb_backend *backend;
	const __u32 *matched;
	__u32 now = now_tick();

	if (!known || now - READ_ONCE(known->last_used) > affinity_ticks(svc))
		return NULL;
	match.pod_id = known->pod_id;
	matched = bpf_map_lookup_elem(&cilium_lb_affinity_match, &match);
	if (!matched)
		return NULL;
	*id = *matched;
	backend = live_backend(*id);
	if (backend)
		WRITE_ONCE(known->last_used, now);
	return backend;
}

// The backend for a new connection, and its id. NULL: there is none that may be chosen.
// hash: where the service leaves it to chance, any number: a random one, or lb_hash_cookie() of what should keep its backend; with LB_MAGLEV
// in the packet path lb_hash() of the connection. client: all of it but the group; read only with LB_F_AFFINITY.
static __always_inline const struct lb_backend *select_backend(const struct lb_service *svc, __u32 hash, struct lb_affinity_key *client,
							       __u32 *id)
{
	struct lb_affinity_val given = {};
	const struct lb_backend *backend;

	if (!(svc->flags & LB_F_AFFINITY)) {
		*id = table_entry(svc, hash);
		return live_backend(*id);
	}
	client->group = svc->affinity_group;
	backend = affine_backend(svc, client, id);
	if (backend)
		return backend;
	// By the client alone, so that all nodes give it the same one.
	hash = client->netns_cookie ? lb_hash_cookie((__u64)client->client.ip6[1] << 32 | client->client.ip6[0], 0)
				    : lb_hash(&client->client, 0, 0, 0, client->family == AXO_FAMILY_IPV6);
	*id = table_entry(svc, hash);
	backend = live_backend(*id);
	if (backend) {
		given.last_used = now_tick();
		given.pod_id = backend->pod_id;
		// A full map costs the client its affinity, not its connection.
		bpf_map_update_elem(&cilium_lb_affinity, client, &given, BPF_ANY);
	}
	return backend;
}

// Is the backend that a connection was given still there? An id that is another's now is not.
static __always_inline bool has_backend(__u32 id, const union axo_addr *addr, __be16 port, __u8 proto, const bool v6)
{
	const struct lb_backend *backend = live_backend(id);

	return backend && backend->port == port && backend->proto == proto &&
	       backend->family == (v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4) && same_addr(&backend->address, addr, v6);
}
