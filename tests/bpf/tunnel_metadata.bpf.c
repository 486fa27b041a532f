// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// BPF_PROG_RUN shows bytes only. These give a packet the metadata of a tunnel device before a shipped program runs, and take
// what one sends to such a device; neither needs the kernel to have the protocol.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "tests/bpf/tunnel_metadata.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct tunnel_metadata);
	__uint(max_entries, 1);
} axo_test_metadata SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} axo_test_next SEC(".maps");

SEC("tc")
int give_metadata(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct tunnel_metadata *given;
	__u32 zero = 0;

	given = bpf_map_lookup_elem(&axo_test_metadata, &zero);
	if (!given)
		return TC_ACT_STOLEN;
	key.tunnel_id = given->identity;
	key.remote_ipv4 = given->remote4;
	if (bpf_skb_set_tunnel_key(skb, &key, __builtin_offsetof(struct bpf_tunnel_key, local_ipv4), 0))
		return TC_ACT_STOLEN;
	if (given->option_len == 12 && bpf_skb_set_tunnel_opt(skb, given->option, 12))
		return TC_ACT_STOLEN;
	if (given->option_len == 24 && bpf_skb_set_tunnel_opt(skb, given->option, 24))
		return TC_ACT_STOLEN;
	if (given->option_len == 32 && bpf_skb_set_tunnel_opt(skb, given->option, 32))
		return TC_ACT_STOLEN;
	bpf_tail_call(skb, &axo_test_next, 0);
	return TC_ACT_STOLEN; // no verdict of ours
}

// At a tunnel device's egress, in its place: what is sent is seen and goes no further.
SEC("tc")
int take_metadata(struct __sk_buff *skb)
{
	struct tunnel_metadata *seen;
	struct bpf_tunnel_key key = {};
	__u32 zero = 0;
	int len;

	seen = bpf_map_lookup_elem(&axo_test_metadata, &zero);
	if (!seen || bpf_skb_get_tunnel_key(skb, &key, __builtin_offsetof(struct bpf_tunnel_key, local_ipv4), 0))
		return TC_ACT_SHOT;
	seen->identity = key.tunnel_id;
	len = bpf_skb_get_tunnel_opt(skb, seen->option, sizeof(seen->option));
	seen->option_len = len > 0 ? len : 0;
	__sync_fetch_and_add(&seen->packets, 1);
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
