// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Services at sockets: what a process asks for is replaced by a backend before there is a packet.
#pragma once

#include "bpf/lib/lb_select.h"
#include "bpf/lib/sock_maps.h"

#define SOCK_REFUSE 0
#define SOCK_PROCEED 1

#define ID_HOST 1
#define ID_REMOTE_NODE 6
#define ID_KUBE_APISERVER 7
#define NODE_IDENTITY_SCOPE 2

#define EHOSTUNREACH 113
#define ENOMEM 12

const volatile struct sock_config sock_cfg = {};

// Whom a socket talks to, or is bound to.
struct sock_addr {
	union axo_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

// The protocol of services that a socket's belongs to; 0: left alone.
static __always_inline __u8 service_protocol(__u32 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
	case IPPROTO_MPTCP:
		return IPPROTO_TCP;
	case IPPROTO_UDP:
		return IPPROTO_UDP;
	default:
		return 0;
	}
}

static __always_inline bool is_node_cookie(__u64 cookie)
{
	return cookie == (sock_cfg.host_netns_cookie ? sock_cfg.host_netns_cookie : bpf_get_netns_cookie(NULL));
}

// 127.0.0.0/8, ::1, and the unspecified address, which a connection takes for loopback.
static __always_inline bool is_loopback(const union axo_addr *addr, const bool v6)
{
	if (v6)
		return !(addr->ip6[0] | addr->ip6[1] | addr->ip6[2] | (addr->ip6[3] & ~bpf_htonl(1)));
	return !addr->ip4 || (addr->ip4 & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

static __always_inline bool is_own_address(const union axo_addr *addr, const bool v6)
{
	struct endpoint_key key = {.family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4};
	const struct endpoint_info *ep;

	if (v6)
		__builtin_memcpy(key.addr.ip6, addr->ip6, 16);
	else
		key.addr.ip4 = addr->ip4;
	ep = bpf_map_lookup_elem(&cilium_lxc, &key);
	return ep && (ep->flags & ENDPOINT_F_HOST);
}

static __always_inline bool is_other_node(const union axo_addr *addr, const bool v6)
{
	struct ipcache_key key = {
		.prefixlen = IPCACHE_STATIC_PREFIX + (v6 ? 128 : 32),
		.family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4,
	};
	const struct remote_endpoint_info *info;

	if (v6)
		__builtin_memcpy(key.addr.ip6, addr->ip6, 16);
	else
		key.addr.ip4 = addr->ip4;
	info = bpf_map_lookup_elem(&cilium_ipcache_v2, &key);
	return info && (info->sec_identity == ID_REMOTE_NODE || info->sec_identity == ID_KUBE_APISERVER ||
			info->sec_identity >> 24 == NODE_IDENTITY_SCOPE);
}

// The service that a destination is, as far as sockets deal with it.
static __always_inline bool find_socket_service(const struct sock_addr *to, bool in_host, struct lb_service *svc, const bool v6)
{
	const bool loopback = is_loopback(&to->addr, v6);

	// A pod's loopback is its own.
	if (loopback && !in_host)
		return false;
	if (!is_zero_addr(&to->addr, v6) && find_service(&to->addr, to->port, to->proto, LB_SCOPE_INTERNAL, svc, v6)) {
		// Whoever may create a Service must not thereby get what is meant for any address of the world.
		if ((svc->flags & LB_F_EXTERNAL_IP) && !sock_cfg.external_ips && !is_own_address(&to->addr, v6))
			return false;
		if ((svc->flags & LB_F_HOST_PORT) && !loopback && !is_own_address(&to->addr, v6))
			return false;
	} else {
		if (!find_node_port(to->port, to->proto, LB_SCOPE_INTERNAL, svc, v6))
			return false;
		// A host port is served by the node that has the pod, a NodePort by this one for all.
		if (!loopback && (!serves_node_ports(&to->addr, v6) ||
				  (!is_own_address(&to->addr, v6) &&
				   (!(svc->flags & LB_F_NODE_PORT) || !is_other_node(&to->addr, v6)))))
			return false;
	}
	// These need the packets.
	return !(svc->flags2 & (LB_F2_L7 | LB_F2_LOCAL_REDIRECT));
}

// Replaces a service in *to by the backend that its socket gets. 1: done; 0: nothing to do; negative: an error.
static __always_inline int translate_destination(struct bpf_sock_addr *ctx, struct sock_addr *to, bool connects, const bool v6)
{
	struct lb_affinity_key client = {.netns_cookie = 1};
	__u64 netns = bpf_get_netns_cookie(ctx), cookie = bpf_get_socket_cookie(ctx);
	const bool in_host = is_node_cookie(netns);
	const struct lb_backend *backend;
	struct lb_socket now = {};
	struct lb_socket *known;
	struct lb_service svc;
	__u32 hash, id;

	if (sock_cfg.host_only && !in_host)
		return 0;
	if (!find_socket_service(to, in_host, &svc, v6))
		return 0;
	client.client.ip6[0] = (__u32)netns;
	client.client.ip6[1] = (__u32)(netns >> 32);
	client.family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4;
	// Datagrams of one socket belong together.
	hash = to->proto == IPPROTO_TCP ? bpf_get_prandom_u32() : lb_hash_cookie(cookie, svc.rev_nat_index);
	backend = select_backend(&svc, hash, &client, &id);
	if (!backend) {
		count_packet(REASON_LB_NO_BACKEND, METRIC_EGRESS, 0);
		return -EHOSTUNREACH;
	}
	now.frontend = to->addr;
	now.frontend_port = to->port;
	now.backend = backend->address;
	now.backend_port = backend->port;
	now.rev_nat_index = svc.rev_nat_index;
	now.family = v6 ? AXO_FAMILY_IPV6 : AXO_FAMILY_IPV4;
	known = bpf_sk_storage_get(&cilium_lb_sockets, ctx->sk, &now, BPF_SK_STORAGE_GET_F_CREATE);
	if (!known)
		goto no_memory;
	if (!is_socket_backend(known, &now.backend, now.backend_port, v6) || known->frontend_port != now.frontend_port ||
	    !same_addr(&known->frontend, &now.frontend, v6)) {
		if (connects) {
			// It talks to nobody else from now on.
			forget_other(known, cookie);
			known->family = 0;
			known->frontend = now.frontend;
			known->frontend_port = now.frontend_port;
			known->backend = now.backend;
			known->backend_port = now.backend_port;
			known->rev_nat_index = now.rev_nat_index;
			known->family = now.family;
		} else if (!remember_other(known, cookie, &now, v6)) {
			goto no_memory;
		}
	}
	// Nobody can ask the kernel for the storage of datagram sockets: who ends those of a backend that went asks the map.
	if (connects && to->proto == IPPROTO_UDP)
		remember_other(known, cookie, &now, v6);
	to->addr = now.backend;
	to->port = now.backend_port;
	return 1;
no_memory:
	count_packet(REASON_LB_REVNAT_UPDATE, METRIC_EGRESS, 0);
	return -ENOMEM;
}

// A connection that is not to a service: the socket forgets the one it had.
static __always_inline void forget_service(struct bpf_sock_addr *ctx)
{
	struct lb_socket *known = bpf_sk_storage_get(&cilium_lb_sockets, ctx->sk, NULL, 0);

	if (!known)
		return;
	known->family = 0;
	forget_other(known, bpf_get_socket_cookie(ctx));
}

// Replaces a backend in *from by the service that its socket knows it as.
static __always_inline bool translate_source(struct bpf_sock_addr *ctx, struct sock_addr *from, const bool v6)
{
	const struct lb_socket *known = bpf_sk_storage_get(&cilium_lb_sockets, ctx->sk, NULL, 0);

	return known && find_frontend(known, bpf_get_socket_cookie(ctx), &from->addr, from->port, &from->addr, &from->port, v6);
}

// May a socket of the node be bound to this? Not where a service is reached: it would wait for connections that it never gets.
static __always_inline bool may_bind(const struct sock_addr *to, const bool v6)
{
	struct lb_service svc;

	if (!find_service(&to->addr, to->port, to->proto, LB_SCOPE_INTERNAL, &svc, v6) &&
	    (!find_node_port(to->port, to->proto, LB_SCOPE_INTERNAL, &svc, v6) ||
	     (!is_loopback(&to->addr, v6) && (!serves_node_ports(&to->addr, v6) || !is_own_address(&to->addr, v6)))))
		return true;
	return !(svc.flags & (LB_F_NODE_PORT | LB_F_EXTERNAL_IP | LB_F_LOAD_BALANCER));
}
