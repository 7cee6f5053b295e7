// Programs for several CPUs at once; each keeps counts that must come out exactly.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define EEXIST 17
#define ENOENT 2
#define E2BIG 7

struct locked {
	struct bpf_spin_lock lock;
	__u32 pad;
	__u64 n;
	__u64 inverse;
};

struct quad {
	__u64 word[4];
};

struct triple {
	__u32 a, b, c;
};

struct record {
	__u32 cpu;
	__u32 check;
	__u64 sequence;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 56);
	__type(key, __u32);
	__type(value, __u64);
} churned SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} counted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct locked);
} locks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32);
	__type(key, struct triple);
	__type(value, struct quad);
} replaced SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct quad);
} recent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16384);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} sequences SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 50);
	__type(value, __u64);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 50);
	__type(value, __u64);
} stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

struct lpm_key {
	__u32 prefix;
	__u32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct lpm_key);
	__type(value, __u64);
} routes SEC(".maps");

struct wide {
	__u64 n, times7, inverse;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct wide);
	__type(value, __u64);
} wides SEC(".maps");

struct net {
	__u32 prefix;
	__u8 data[12];
};

struct words {
	__u64 word[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct net);
	__type(value, struct words);
} nets SEC(".maps");

__u64 widened, narrowed;
__u64 runs, wrong;
__u64 inserted, removed, full;
__u64 delivered, discarded, lost;
__u64 pushed, pushed_sum, popped, popped_sum;
__u64 stacked, stacked_sum, unstacked, unstacked_sum;
__u64 fell_through, target_a, target_b;
__u64 routes_added, routes_removed;

SEC("xdp") int churn(struct xdp_md *ctx)
{
	__u32 key = bpf_get_prandom_u32() & 127;
	__u64 value = key * 3, *found;
	long err;

	__sync_fetch_and_add(&runs, 1);
	err = bpf_map_update_elem(&churned, &key, &value, BPF_NOEXIST);
	if (err == 0)
		__sync_fetch_and_add(&inserted, 1);
	else if (err == -EEXIST) {
		err = bpf_map_delete_elem(&churned, &key);
		if (err == 0)
			__sync_fetch_and_add(&removed, 1);
		else if (err != -ENOENT)
			__sync_fetch_and_add(&wrong, 1);
	} else if (err == -E2BIG)
		__sync_fetch_and_add(&full, 1);
	else
		__sync_fetch_and_add(&wrong, 1);
	return 0;
}

SEC("xdp") int count(struct xdp_md *ctx)
{
	__u64 key = bpf_get_prandom_u32() & 63, zero = 0;
	__u32 mine = key & 7;
	__u64 *n = bpf_map_lookup_elem(&counted, &key), *m;

	if (!n) {
		/* Of two that insert one wins. */
		bpf_map_update_elem(&counted, &key, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&counted, &key);
	}
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		__sync_fetch_and_add(&wrong, 1);
	m = bpf_map_lookup_elem(&own, &mine);
	if (!m) {
		bpf_map_update_elem(&own, &mine, &zero, BPF_NOEXIST);
		m = bpf_map_lookup_elem(&own, &mine);
	}
	if (m)
		*m += 1;
	else
		__sync_fetch_and_add(&wrong, 1);
	return 0;
}

SEC("xdp") int lock(struct xdp_md *ctx)
{
	__u32 key = bpf_get_prandom_u32() & 3;
	struct locked *value = bpf_map_lookup_elem(&locks, &key);
	__u64 n, inverse;

	if (!value)
		return 1;
	bpf_spin_lock(&value->lock);
	n = value->n;
	inverse = value->inverse;
	value->n = n + 1;
	value->inverse = ~(n + 1);
	bpf_spin_unlock(&value->lock);
	if (inverse != ~n)
		__sync_fetch_and_add(&wrong, 1);
	return 0;
}

SEC("xdp") int replace(struct xdp_md *ctx)
{
	__u32 random = bpf_get_prandom_u32();
	struct triple key = { random & 15, 7, random & 1 };
	struct quad value = { { random, ~(__u64)random, random * 3ull, random ^ 0x5555ull } };

	if (bpf_map_update_elem(&replaced, &key, &value, BPF_ANY))
		__sync_fetch_and_add(&wrong, 1);
	return 0;
}

SEC("xdp") int evict(struct xdp_md *ctx)
{
	__u32 random = bpf_get_prandom_u32(), key = random & 255;
	struct quad value = { { key, ~(__u64)key, key * 3ull, key ^ 0x5555ull } };

	if ((random >> 8 & 3) == 0) {
		bpf_map_lookup_elem(&recent, &key);
		return 0;
	}
	if ((random >> 8 & 15) == 1) {
		bpf_map_delete_elem(&recent, &key);
		return 0;
	}
	if (bpf_map_update_elem(&recent, &key, &value, BPF_ANY))
		__sync_fetch_and_add(&wrong, 1);
	return 0;
}

SEC("xdp") int send(struct xdp_md *ctx)
{
	__u32 zero = 0, one = 1, random = bpf_get_prandom_u32();
	__u64 *sequence = bpf_map_lookup_elem(&sequences, &zero);
	struct record *record;

	if (!sequence)
		return 1;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	record->cpu = bpf_get_smp_processor_id();
	record->sequence = *sequence;
	record->check = record->cpu * 31 + (__u32)*sequence;
	if ((random & 15) == 0) {
		__sync_fetch_and_add(&discarded, 1);
		bpf_ringbuf_discard(record, 0);
		return 0;
	}
	*sequence += 1;
	__sync_fetch_and_add(&delivered, 1);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("xdp") int pass(struct xdp_md *ctx)
{
	__u32 random = bpf_get_prandom_u32();
	__u64 value = random & 0xffff;

	if (random >> 31) {
		if (bpf_map_push_elem(&queue, &value, 0) == 0) {
			__sync_fetch_and_add(&pushed, 1);
			__sync_fetch_and_add(&pushed_sum, value);
		}
		if (bpf_map_pop_elem(&stack, &value) == 0) {
			__sync_fetch_and_add(&unstacked, 1);
			__sync_fetch_and_add(&unstacked_sum, value);
		}
	} else {
		if (bpf_map_push_elem(&stack, &value, 0) == 0) {
			__sync_fetch_and_add(&stacked, 1);
			__sync_fetch_and_add(&stacked_sum, value);
		}
		if (bpf_map_pop_elem(&queue, &value) == 0) {
			__sync_fetch_and_add(&popped, 1);
			__sync_fetch_and_add(&popped_sum, value);
		}
	}
	return 0;
}

SEC("xdp") int route(struct xdp_md *ctx)
{
	__u32 random = bpf_get_prandom_u32();
	struct lpm_key key = { 8 + (random & 3) * 8, random >> 4 & 0x03030303 };
	__u64 value = key.prefix, *found;

	key.address &= ~0u >> (32 - key.prefix);
	found = bpf_map_lookup_elem(&routes, &key);
	if (found && (*found < 8 || *found > 32))
		__sync_fetch_and_add(&wrong, 1);
	if (random >> 31) {
		if (bpf_map_update_elem(&routes, &key, &value, BPF_NOEXIST) == 0)
			__sync_fetch_and_add(&routes_added, 1);
	} else if (bpf_map_delete_elem(&routes, &key) == 0)
		__sync_fetch_and_add(&routes_removed, 1);
	return 0;
}

/* Keys and values of many words, while user space walks and takes. Keys below 8 are there all the time. */
SEC("xdp") int walked(struct xdp_md *ctx)
{
	__u32 random = bpf_get_prandom_u32();
	__u64 n = 8 + random % 56;
	struct wide key = { n, n * 7, ~n };
	struct net net = { .prefix = 96 };
	struct words words;

	if (random >> 31) {
		if (bpf_map_update_elem(&wides, &key, &n, BPF_NOEXIST) == 0)
			__sync_fetch_and_add(&widened, 1);
	} else if (bpf_map_delete_elem(&wides, &key) == 0)
		__sync_fetch_and_add(&narrowed, 1);
	n = random >> 8 & 15;
	for (int i = 0; i < 12; i++)
		net.data[i] = n;
	if (random >> 30 & 1) {
		for (int i = 0; i < 32; i++)
			words.word[i] = n;
		bpf_map_update_elem(&nets, &net, &words, BPF_ANY);
	} else
		bpf_map_delete_elem(&nets, &net);
	return 0;
}

SEC("xdp") int call(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, bpf_get_prandom_u32() & 3);
	__sync_fetch_and_add(&fell_through, 1);
	return 0;
}

SEC("xdp") int reach_a(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&target_a, 1);
	return 0;
}

SEC("xdp") int reach_b(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&target_b, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
