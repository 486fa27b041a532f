// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Programs for the tests of this layer: each shows one thing the loader has to get right.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "src/kernel/fixture.h"

const volatile struct fixture_config fixture_cfg = { .verdict = TC_ACT_SHOT };
const volatile struct fixture_limits fixture_limits SEC(".rodata.config") = { .records = 1 };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} axo_fixture_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} axo_fixture_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 2);
} axo_fixture_private SEC(".maps");

SEC("tc")
int fixture_verdict(struct __sk_buff *skb)
{
	__u32 key = skb->mark;
	__u64 one = 1;
	__u64 *count = bpf_map_lookup_elem(&axo_fixture_counters, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&axo_fixture_counters, &key, &one, BPF_ANY);
	return fixture_cfg.verdict;
}

SEC("tc")
int fixture_grow(struct __sk_buff *skb)
{
	return bpf_skb_change_head(skb, 50, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

/* mark: flags of the submission. */
SEC("tc")
int fixture_emit(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u32 *sequence = bpf_map_lookup_elem(&axo_fixture_private, &zero);
	__u64 i;

	if (!sequence)
		return TC_ACT_SHOT;
	for (i = 0; i < 64; i++) {
		if (i >= fixture_limits.records)
			break;
		__u32 *record = bpf_ringbuf_reserve(&axo_fixture_events, sizeof(*record), 0);

		if (!record)
			return TC_ACT_SHOT;
		*record = (*sequence)++;
		bpf_ringbuf_submit(record, skb->mark);
	}
	return TC_ACT_OK;
}

SEC("xdp")
int fixture_xdp(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data == 60 ? XDP_TX : XDP_PASS;
}

/* Reads a packet without looking at its length: no verifier lets this through. */
SEC("tc")
int fixture_refused(struct __sk_buff *skb)
{
	return *(__u8 *)(long)skb->data;
}

char _license[] SEC("license") = "Dual BSD/GPL";
