// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What sockets remember of services (bpf/api/lb.h): the way back from a backend to the frontend.
#pragma once

#include "bpf/lib/lb_select.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__type(key, int);
	__type(value, struct lb_socket);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	AXO_PIN;
} cilium_lb_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ipv4_revnat_tuple);
	__type(value, struct ipv4_revnat_entry);
	__uint(max_entries, 16384);
	AXO_PIN;
} cilium_lb4_reverse_sk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ipv6_revnat_tuple);
	__type(value, struct ipv6_revnat_entry);
	__uint(max_entries, 16384);
	AXO_PIN;
} cilium_lb6_reverse_sk SEC(".maps");

static __always_inline bool is_socket_backend(const struct lb_socket *known, const union axo_addr *addr, __be16 port, const bool v6)
{
	return known->family == (v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4) && known->backend_port == port &&
	       same_addr(&known->backend, addr, v6);
}

static __always_inline void reverse4_key(struct ipv4_revnat_tuple *key, __u64 cookie, const union axo_addr *backend, __be16 port)
{
	key->cookie = cookie;
	key->address = backend->ip4;
	key->port = port;
	key->pad = 0;
}

static __always_inline void reverse6_key(struct ipv6_revnat_tuple *key, __u64 cookie, const union axo_addr *backend, __be16 port)
{
	key->cookie = cookie;
	__builtin_memcpy(key->address, backend->ip6, sizeof(key->address));
	key->port = port;
	key->pad = 0;
	key->pad2 = 0;
}

// Notes a service of a socket beside its storage. False: it could not be noted.
static __always_inline bool remember_other(struct lb_socket *known, __u64 cookie, const struct lb_socket *now, const bool v6)
{
	long ret;

	if (v6) {
		struct ipv6_revnat_entry entry = {.port = now->frontend_port, .rev_nat_index = now->rev_nat_index};
		struct ipv6_revnat_tuple key;
		const struct ipv6_revnat_entry *old;

		__builtin_memcpy(entry.address, now->frontend.ip6, sizeof(entry.address));
		reverse6_key(&key, cookie, &now->backend, now->backend_port);
		old = bpf_map_lookup_elem(&cilium_lb6_reverse_sk, &key);
		if (old && old->port == entry.port && old->rev_nat_index == entry.rev_nat_index)
			return true;
		ret = bpf_map_update_elem(&cilium_lb6_reverse_sk, &key, &entry, BPF_ANY);
	} else {
		struct ipv4_revnat_entry entry = {
			.address = now->frontend.ip4,
			.port = now->frontend_port,
			.rev_nat_index = now->rev_nat_index,
		};
		struct ipv4_revnat_tuple key;
		const struct ipv4_revnat_entry *old;

		reverse4_key(&key, cookie, &now->backend, now->backend_port);
		old = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, &key);
		if (old && old->address == entry.address && old->port == entry.port)
			return true;
		ret = bpf_map_update_elem(&cilium_lb4_reverse_sk, &key, &entry, BPF_ANY);
	}
	known->other = now->backend;
	known->other_port = now->backend_port;
	known->other_family = now->family;
	return !ret;
}

// The frontend behind a backend that a socket hears from, if it talks to that through a service.
static __always_inline bool find_frontend(const struct lb_socket *known, __u64 cookie, const union axo_addr *backend, __be16 port,
					  union axo_addr *frontend, __be16 *frontend_port, const bool v6)
{
	if (is_socket_backend(known, backend, port, v6)) {
		*frontend = known->frontend;
		*frontend_port = known->frontend_port;
		return true;
	}
	if (!known->other_family)
		return false;
	if (v6) {
		const struct ipv6_revnat_entry *entry;
		struct ipv6_revnat_tuple key;

		reverse6_key(&key, cookie, backend, port);
		entry = bpf_map_lookup_elem(&cilium_lb6_reverse_sk, &key);
		if (!entry)
			return false;
		__builtin_memcpy(frontend->ip6, entry->address, sizeof(entry->address));
		*frontend_port = entry->port;
	} else {
		const struct ipv4_revnat_entry *entry;
		struct ipv4_revnat_tuple key;

		reverse4_key(&key, cookie, backend, port);
		entry = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, &key);
		if (!entry)
			return false;
		frontend->ip4 = entry->address;
		*frontend_port = entry->port;
	}
	return true;
}

// Removes what stands of a socket beside its storage.
static __always_inline void forget_other(struct lb_socket *known, __u64 cookie)
{
	if (known->other_family == AXO_FAMILY_IPV6) {
		struct ipv6_revnat_tuple key;

		reverse6_key(&key, cookie, &known->other, known->other_port);
		bpf_map_delete_elem(&cilium_lb6_reverse_sk, &key);
	} else if (known->other_family == AXO_FAMILY_IPV4) {
		struct ipv4_revnat_tuple key;

		reverse4_key(&key, cookie, &known->other, known->other_port);
		bpf_map_delete_elem(&cilium_lb4_reverse_sk, &key);
	}
	known->other_family = 0;
}
