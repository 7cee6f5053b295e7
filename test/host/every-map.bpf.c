// One call of every map operation and of most helpers on maps; each answer goes to a slot of `out`.
// Built by two-kernels.test.ts: clang -O2 -g -target bpf -c every-map.bpf.c
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct pair { __u64 a; __u64 b; };
struct locked { struct bpf_spin_lock lock; __u32 x; __u64 y; };
struct sum { __u64 sum; __u64 odd; };

#define MAP(NAME, TYPE, MAX, KEY, VALUE) \
	struct { __uint(type, TYPE); __uint(max_entries, MAX); __type(key, KEY); __type(value, VALUE); } NAME SEC(".maps")

MAP(hash, BPF_MAP_TYPE_HASH, 64, __u32, struct pair);
MAP(hash16, BPF_MAP_TYPE_HASH, 64, struct pair, __u64);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, 64, __u64, __u64);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, 4, __u32, __u64);
MAP(lru, BPF_MAP_TYPE_LRU_HASH, 64, __u32, __u64);
MAP(locks, BPF_MAP_TYPE_HASH, 4, __u32, struct locked);
MAP(out, BPF_MAP_TYPE_ARRAY, 80, __u32, __u64);
struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(max_entries, 4); __type(value, __u64); } queue SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_STACK); __uint(max_entries, 4); __type(value, __u64); } stack SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} trie SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); };
struct inner first SEC(".maps"), second SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, struct inner);
} array_of_maps SEC(".maps") = { .values = { &first, &second } };
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} hash_of_maps SEC(".maps") = { .values = { &second, &first } };
char text[128];

static __always_inline void put(__u32 slot, __u64 value)
{
	bpf_map_update_elem(&out, &slot, &value, BPF_ANY);
}

static long each_pair(void *map, __u32 *key, struct pair *value, struct sum *ctx)
{
	ctx->sum += *key * 1000 + value->a;
	ctx->odd += *key & 1;
	return 0;
}

static long each_slot(void *map, __u32 *key, __u64 *value, struct sum *ctx)
{
	ctx->odd += *key;
	return *key == 2;
}

static long loop(__u32 i, struct sum *ctx)
{
	ctx->sum += i;
	return i == 50;
}

SEC("tc")
int hashes(struct __sk_buff *skb)
{
	struct pair value = { 1, 2 }, other = { 100, 200 }, *found;
	__u64 x, *word, key8 = 0x1234567890;
	__u32 k;

	for (int i = 0; i < 70; i++) {
		k = i;
		value.a = i;
		x = bpf_map_update_elem(&hash, &k, &value, BPF_ANY);
		if (i >= 63)
			put(i - 63, x);
	}
	k = 5;
	put(8, bpf_map_update_elem(&hash, &k, &value, BPF_NOEXIST));
	k = 99;
	put(9, bpf_map_update_elem(&hash, &k, &value, BPF_EXIST));
	k = 6;
	put(10, bpf_map_delete_elem(&hash, &k));
	put(11, bpf_map_delete_elem(&hash, &k));
	k = 7;
	found = bpf_map_lookup_elem(&hash, &k);
	if (found) {
		/* The old element is what the pointer goes on seeing. */
		bpf_map_update_elem(&hash, &k, &other, BPF_ANY);
		put(12, found->a);
		found = bpf_map_lookup_elem(&hash, &k);
		if (found)
			put(13, found->a);
	}
	x = 77;
	bpf_map_update_elem(&hash16, &value, &x, BPF_ANY);
	word = bpf_map_lookup_elem(&hash16, &value);
	if (word)
		put(14, ++*word);
	x = 9;
	bpf_map_update_elem(&percpu_hash, &key8, &x, BPF_ANY);
	word = bpf_map_lookup_elem(&percpu_hash, &key8);
	if (word) {
		__sync_fetch_and_add(word, 5);
		put(15, *word);
	}
	word = bpf_map_lookup_percpu_elem(&percpu_hash, &key8, 4096);
	put(16, word ? 1 : 2);
	k = 2;
	word = bpf_map_lookup_elem(&percpu_array, &k);
	if (word)
		*word = 11;
	word = bpf_map_lookup_percpu_elem(&percpu_array, &k, bpf_get_smp_processor_id());
	if (word)
		put(17, *word);
	for (int i = 0; i < 10; i++) {
		k = i;
		x = i;
		bpf_map_update_elem(&lru, &k, &x, BPF_ANY);
	}
	k = 3;
	word = bpf_map_lookup_elem(&lru, &k);
	if (word)
		put(18, *word);
	return 1;
}

SEC("tc")
int others(struct __sk_buff *skb)
{
	struct locked locked = { .x = 5 }, *held;
	__u64 x, *word, prefix;
	__u32 k, one = 1, two = 2, *number;
	void *map;

	for (int i = 0; i < 6; i++) {
		x = i;
		put(19, bpf_map_push_elem(&queue, &x, BPF_ANY));
		put(20, bpf_map_push_elem(&stack, &x, BPF_EXIST));
	}
	put(21, bpf_map_pop_elem(&queue, &x));
	put(22, x);
	put(23, bpf_map_peek_elem(&queue, &x));
	put(24, x);
	put(25, bpf_map_pop_elem(&stack, &x));
	put(26, x);

	k = 1;
	bpf_map_update_elem(&locks, &k, &locked, BPF_ANY);
	held = bpf_map_lookup_elem(&locks, &k);
	if (held) {
		bpf_spin_lock(&held->lock);
		held->x++;
		held->y = 9;
		bpf_spin_unlock(&held->lock);
		put(27, held->x);
		locked.y = 4;
		put(28, bpf_map_update_elem(&locks, &k, &locked, BPF_F_LOCK));
		put(29, held->y);
	}

	prefix = 8 | (__u64)10 << 32;
	put(30, bpf_map_update_elem(&trie, &prefix, &one, BPF_ANY));
	prefix = 16 | (__u64)(10 | 1 << 8) << 32;
	put(31, bpf_map_update_elem(&trie, &prefix, &two, BPF_ANY));
	prefix = 32 | (__u64)0x0403010a << 32;
	number = bpf_map_lookup_elem(&trie, &prefix);
	if (number)
		put(32, *number);
	prefix = 32 | (__u64)0x0403020a << 32;
	number = bpf_map_lookup_elem(&trie, &prefix);
	if (number)
		put(33, *number);
	prefix = 32 | (__u64)0x0403020b << 32;
	put(34, bpf_map_lookup_elem(&trie, &prefix) ? 1 : 2);

	for (int i = 0; i < 3; i++) {
		k = i;
		map = bpf_map_lookup_elem(&array_of_maps, &k);
		if (!map) {
			put(35, i);
			continue;
		}
		k = 1;
		x = 1000 + i;
		bpf_map_update_elem(map, &k, &x, BPF_ANY);
	}
	for (int i = 0; i < 2; i++) {
		k = i;
		map = bpf_map_lookup_elem(&hash_of_maps, &k);
		if (map) {
			k = 1;
			word = bpf_map_lookup_elem(map, &k);
			if (word)
				put(36 + i, *word);
		}
	}
	k = 1;
	word = bpf_map_lookup_elem(&first, &k);
	if (word)
		put(38, *word);
	return 2;
}

SEC("tc")
int records(struct __sk_buff *skb)
{
	__u64 *record, *word, x = 0, value[2] = { 5, 6 };
	struct bpf_dynptr dynptr;

	record = bpf_ringbuf_reserve(&ring, 24, 0);
	if (record) {
		record[0] = 1;
		bpf_ringbuf_submit(record, 0);
	}
	record = bpf_ringbuf_reserve(&ring, 8, 0);
	if (record) {
		record[0] = 4;
		bpf_ringbuf_discard(record, 0);
	}
	put(40, bpf_ringbuf_output(&ring, value, sizeof(value), 0));
	put(41, bpf_ringbuf_query(&ring, BPF_RB_PROD_POS));
	put(42, bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA));
	put(43, bpf_ringbuf_reserve_dynptr(&ring, 100, 0, &dynptr));
	put(44, bpf_dynptr_write(&dynptr, 4, value, sizeof(value), 0));
	put(45, bpf_dynptr_read(&x, 8, &dynptr, 4, 0));
	put(46, x);
	put(47, bpf_dynptr_read(&x, 8, &dynptr, 93, 0));
	word = bpf_dynptr_data(&dynptr, 12, 8);
	if (word)
		put(48, *word);
	bpf_ringbuf_submit_dynptr(&dynptr, 0);
	put(49, bpf_ringbuf_query(&ring, BPF_RB_PROD_POS));
	return 3;
}

SEC("tc")
int calls(struct __sk_buff *skb)
{
	static const char fmt[] = "%d %s %x %lld|", hello[] = "hello";
	__u64 args[4] = { 1, (__u64)"abc", 0xff, -1 };
	struct sum ctx = {};
	long number = 0;

	put(50, bpf_for_each_map_elem(&hash, each_pair, &ctx, 0));
	put(51, ctx.sum);
	put(52, ctx.odd);
	put(53, bpf_for_each_map_elem(&out, each_slot, &ctx, 0));
	put(54, ctx.odd);
	put(55, bpf_loop(100, loop, &ctx, 0));
	put(56, ctx.sum);
	put(57, bpf_snprintf(text, sizeof(text), fmt, args, sizeof(args)));
	put(58, *(__u64 *)text);
	put(59, *(__u64 *)(text + 8));
	put(60, bpf_strtol("-42xyz", 6, 10, &number));
	put(61, number);
	put(62, bpf_strncmp("hellp", 5, hello));
	return 4;
}

char _license[] SEC("license") = "GPL";
