// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
//   process ── socket ──┬─ connect, sendmsg:     a service becomes one of its backends
//                       ├─ recvmsg, getpeername: the backend becomes the service again
//                       ├─ post_bind:            the node's processes keep off services' ports
//                       └─ release:              what stands of the socket beside its storage goes
//
// Attached to a cgroup, for the processes of the node and of its pods. Packets then need no translation, and the
// connection is a plain one between the socket and its backend. IPv6 sockets that talk to IPv4 addresses (::ffff:a.b.c.d)
// use services of IPv4.
#define AXO_FILE 5

#include "bpf/lib/sock.h"

static __always_inline bool is_mapped(const struct bpf_sock_addr *ctx)
{
	return !(ctx->user_ip6[0] | ctx->user_ip6[1]) && ctx->user_ip6[2] == bpf_htonl(0xffff);
}

static __always_inline __be16 user_port(struct bpf_sock_addr *ctx)
{
	// The field has 32 bits, of which a narrow load would be refused.
	volatile __u32 port = ctx->user_port;

	return (__be16)port;
}

static __always_inline void read4(struct bpf_sock_addr *ctx, struct sock_addr *to, __u32 ip4)
{
	to->addr.ip4 = ip4;
	to->port = user_port(ctx);
	to->proto = service_protocol(ctx->protocol);
}

static __always_inline void read6(struct bpf_sock_addr *ctx, struct sock_addr *to)
{
	to->addr.ip6[0] = ctx->user_ip6[0];
	to->addr.ip6[1] = ctx->user_ip6[1];
	to->addr.ip6[2] = ctx->user_ip6[2];
	to->addr.ip6[3] = ctx->user_ip6[3];
	to->port = user_port(ctx);
	to->proto = service_protocol(ctx->protocol);
}

static __always_inline void write4(struct bpf_sock_addr *ctx, const struct sock_addr *to)
{
	ctx->user_ip4 = to->addr.ip4;
	ctx->user_port = to->port;
}

static __always_inline void write_mapped(struct bpf_sock_addr *ctx, const struct sock_addr *to)
{
	ctx->user_ip6[3] = to->addr.ip4;
	ctx->user_port = to->port;
}

static __always_inline void write6(struct bpf_sock_addr *ctx, const struct sock_addr *to)
{
	ctx->user_ip6[0] = to->addr.ip6[0];
	ctx->user_ip6[1] = to->addr.ip6[1];
	ctx->user_ip6[2] = to->addr.ip6[2];
	ctx->user_ip6[3] = to->addr.ip6[3];
	ctx->user_port = to->port;
}

static __always_inline int proceed_or_refuse(int outcome)
{
	if (outcome >= 0)
		return SOCK_PROCEED;
	if (sock_cfg.has_set_retval)
		bpf_set_retval(outcome);
	return SOCK_REFUSE;
}

static __always_inline int to_service4(struct bpf_sock_addr *ctx, bool connects)
{
	struct sock_addr to = {};
	int outcome = 0;

	read4(ctx, &to, ctx->user_ip4);
	if (sock_cfg.ipv4 && to.proto)
		outcome = translate_destination(ctx, &to, connects, false);
	if (outcome > 0)
		write4(ctx, &to);
	else if (connects)
		forget_service(ctx);
	return proceed_or_refuse(outcome);
}

// Destinations of an IPv6 socket, one function for each family of services.
static __noinline int to_service_mapped(struct bpf_sock_addr *ctx, bool connects)
{
	struct sock_addr to = {};
	int outcome;

	read4(ctx, &to, ctx->user_ip6[3]);
	outcome = to.proto ? translate_destination(ctx, &to, connects, false) : 0;
	if (outcome > 0)
		write_mapped(ctx, &to);
	return outcome;
}

static __noinline int to_service6(struct bpf_sock_addr *ctx, bool connects)
{
	struct sock_addr to = {};
	int outcome;

	read6(ctx, &to);
	outcome = to.proto ? translate_destination(ctx, &to, connects, true) : 0;
	if (outcome > 0)
		write6(ctx, &to);
	return outcome;
}

static __always_inline int to_service_of_either(struct bpf_sock_addr *ctx, bool connects)
{
	int outcome = 0;

	if (is_mapped(ctx)) {
		if (sock_cfg.ipv4)
			outcome = to_service_mapped(ctx, connects);
	} else if (sock_cfg.ipv6) {
		outcome = to_service6(ctx, connects);
	}
	if (connects && outcome <= 0)
		forget_service(ctx);
	return proceed_or_refuse(outcome);
}

static __always_inline int from_backend4(struct bpf_sock_addr *ctx)
{
	struct sock_addr from = {};

	read4(ctx, &from, ctx->user_ip4);
	if (sock_cfg.ipv4 && translate_source(ctx, &from, false))
		write4(ctx, &from);
	return SOCK_PROCEED;
}

static __always_inline int from_backend6(struct bpf_sock_addr *ctx)
{
	struct sock_addr from = {};

	if (is_mapped(ctx)) {
		read4(ctx, &from, ctx->user_ip6[3]);
		if (sock_cfg.ipv4 && translate_source(ctx, &from, false))
			write_mapped(ctx, &from);
	} else {
		read6(ctx, &from);
		if (sock_cfg.ipv6 && translate_source(ctx, &from, true))
			write6(ctx, &from);
	}
	return SOCK_PROCEED;
}

SEC("cgroup/connect4")
int cil_sock4_connect(struct bpf_sock_addr *ctx)
{
	return to_service4(ctx, true);
}

SEC("cgroup/connect6")
int cil_sock6_connect(struct bpf_sock_addr *ctx)
{
	return to_service_of_either(ctx, true);
}

SEC("cgroup/sendmsg4")
int cil_sock4_sendmsg(struct bpf_sock_addr *ctx)
{
	return to_service4(ctx, false);
}

SEC("cgroup/sendmsg6")
int cil_sock6_sendmsg(struct bpf_sock_addr *ctx)
{
	return to_service_of_either(ctx, false);
}

SEC("cgroup/recvmsg4")
int cil_sock4_recvmsg(struct bpf_sock_addr *ctx)
{
	return from_backend4(ctx);
}

SEC("cgroup/recvmsg6")
int cil_sock6_recvmsg(struct bpf_sock_addr *ctx)
{
	return from_backend6(ctx);
}

SEC("cgroup/getpeername4")
int cil_sock4_getpeername(struct bpf_sock_addr *ctx)
{
	return from_backend4(ctx);
}

SEC("cgroup/getpeername6")
int cil_sock6_getpeername(struct bpf_sock_addr *ctx)
{
	return from_backend6(ctx);
}

// What a socket is bound to; its port is in the machine's order here.
static __always_inline bool read_bound(struct bpf_sock *ctx, struct sock_addr *to)
{
	__u32 port = ctx->src_port;

	to->port = bpf_htons((__u16)port);
	to->proto = service_protocol(ctx->protocol);
	return to->port && to->proto && is_node_cookie(bpf_get_netns_cookie(ctx));
}

SEC("cgroup/post_bind4")
int cil_sock4_post_bind(struct bpf_sock *ctx)
{
	struct sock_addr to = {};

	if (!sock_cfg.bind_protection || !sock_cfg.ipv4 || !read_bound(ctx, &to))
		return SOCK_PROCEED;
	to.addr.ip4 = ctx->src_ip4;
	return may_bind(&to, false) ? SOCK_PROCEED : SOCK_REFUSE;
}

SEC("cgroup/post_bind6")
int cil_sock6_post_bind(struct bpf_sock *ctx)
{
	struct sock_addr to = {};
	bool mapped;

	if (!sock_cfg.bind_protection || !read_bound(ctx, &to))
		return SOCK_PROCEED;
	to.addr.ip6[0] = ctx->src_ip6[0];
	to.addr.ip6[1] = ctx->src_ip6[1];
	to.addr.ip6[2] = ctx->src_ip6[2];
	to.addr.ip6[3] = ctx->src_ip6[3];
	mapped = !(to.addr.ip6[0] | to.addr.ip6[1]) && to.addr.ip6[2] == bpf_htonl(0xffff);
	if (!mapped && sock_cfg.ipv6 && !may_bind(&to, true))
		return SOCK_REFUSE;
	// The unspecified address takes connections of both families.
	if (sock_cfg.ipv4 && (mapped || is_zero_addr(&to.addr, true))) {
		to.addr.ip4 = to.addr.ip6[3];
		if (!may_bind(&to, false))
			return SOCK_REFUSE;
	}
	return SOCK_PROCEED;
}

SEC("cgroup/sock_release")
int cil_sock_release(struct bpf_sock *ctx)
{
	struct lb_socket *known;

	if (ctx->protocol != IPPROTO_UDP)
		return SOCK_PROCEED;
	known = bpf_sk_storage_get(&cilium_lb_sockets, ctx, NULL, 0);
	if (known && known->other_family)
		forget_other(known, bpf_get_socket_cookie(ctx));
	return SOCK_PROCEED;
}

char _license[] SEC("license") = "Dual BSD/GPL";
