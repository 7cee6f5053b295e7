// SPDX-License-Identifier: Apache-2.0
/* One map operation a run (two where a key is inserted first). */
#include "common.h"

#define MAP(map_type, key_type, value_type, entries, name) \
	struct {                                    \
		__uint(type, map_type);             \
		__type(key, key_type);               \
		__type(value, value_type);           \
		__uint(max_entries, entries);       \
	} name SEC(".maps")

typedef __u32 u32;
typedef __u64 u64;

MAP(BPF_MAP_TYPE_ARRAY, u32, u64, 256, counters);
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, u32, u64, 256, percpu_counters);
MAP(BPF_MAP_TYPE_HASH, u64, u64, 1024, flows);
MAP(BPF_MAP_TYPE_LRU_HASH, u64, u64, 1024, recent);

struct prefix {
	__u32 length;
	__u32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, u32);
	__uint(max_entries, 1024);
} routes SEC(".maps");

MEASURED array_count(struct xdp_md *ctx)
{
	__u32 key = 17;
	__u64 *count = bpf_map_lookup_elem(&counters, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	return XDP_PASS;
}

MEASURED percpu_count(struct xdp_md *ctx)
{
	__u32 key = 17;
	__u64 *count = bpf_map_lookup_elem(&percpu_counters, &key);

	if (count)
		(*count)++;
	return XDP_PASS;
}

MEASURED hash_count(struct xdp_md *ctx)
{
	__u64 key = 0x0a00000100000050ULL, one = 1;
	__u64 *count = bpf_map_lookup_elem(&flows, &key);

	if (count)
		(*count)++;
	else
		bpf_map_update_elem(&flows, &key, &one, BPF_ANY);
	return XDP_PASS;
}

MEASURED hash_insert_delete(struct xdp_md *ctx)
{
	__u64 key = 7, value = 1;

	bpf_map_update_elem(&flows, &key, &value, BPF_ANY);
	return bpf_map_delete_elem(&flows, &key);
}

MEASURED lru_count(struct xdp_md *ctx)
{
	__u64 key = 0x0a00000100000050ULL, one = 1;
	__u64 *count = bpf_map_lookup_elem(&recent, &key);

	if (count)
		(*count)++;
	else
		bpf_map_update_elem(&recent, &key, &one, BPF_ANY);
	return XDP_PASS;
}

MEASURED lpm_lookup(struct xdp_md *ctx)
{
	struct prefix net = { 24, 0x0000a8c0 }, key = { 32, 0x0700a8c0 };
	__u32 *route = bpf_map_lookup_elem(&routes, &key), value = 1;

	if (!route) {
		bpf_map_update_elem(&routes, &net, &value, BPF_ANY);
		return XDP_DROP;
	}
	return XDP_PASS;
}
