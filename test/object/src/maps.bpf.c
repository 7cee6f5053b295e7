// Every way to define a map and data.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key { __u32 a; __u16 b; };
struct value { __u64 count; char name[16]; };

struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 128); __type(key, struct key); __type(value, struct value); __uint(map_flags, BPF_F_NO_PREALLOC); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(key_size, 4); __uint(value_size, 24); __uint(max_entries, 3); __uint(pinning, LIBBPF_PIN_BY_NAME); __uint(numa_node, 0); } pinned SEC(".maps");

struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, int); __type(value, long); };
struct inner inner_a SEC(".maps");
struct inner inner_b SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, int); __array(values, struct inner); } outer SEC(".maps") = { .values = { [0] = &inner_a, [3] = &inner_b } };

int tail_a(struct xdp_md *ctx);
int tail_b(struct xdp_md *ctx);
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 8); __uint(key_size, 4); __array(values, int (void *)); } jumps SEC(".maps") = { .values = { [2] = (void *)&tail_a, [5] = (void *)&tail_b } };

int global_data = 42;
static volatile int static_data = 7;
int zeroed[10];
static volatile long static_zero;
const volatile int threshold = 99;
int custom SEC(".data.custom") = 3;
const char text[] SEC(".rodata.text") = "hello";

SEC("xdp") int tail_a(struct xdp_md *ctx) { return XDP_DROP; }
SEC("xdp/devmap") int devmap_prog(struct xdp_md *ctx) { return XDP_PASS; }
SEC("xdp") int tail_b(struct xdp_md *ctx) { return XDP_TX; }

SEC("xdp") int entry(struct xdp_md *ctx)
{
	struct key k = { .a = threshold };
	struct value *v = bpf_map_lookup_elem(&counts, &k);
	int zero = 0;
	if (v)
		v->count += global_data + static_data++;
	zeroed[3]++;
	static_zero += text[1] + custom;
	void *e = bpf_ringbuf_reserve(&ring, 8, 0);
	if (e)
		bpf_ringbuf_discard(e, 0);
	void *in = bpf_map_lookup_elem(&outer, &zero);
	if (in)
		bpf_map_lookup_elem(in, &zero);
	bpf_map_lookup_elem(&pinned, &zero);
	bpf_tail_call(ctx, &jumps, 2);
	return XDP_PASS;
}

SEC("?tc") int optional(struct __sk_buff *skb) { return 0; }

char LICENSE[] SEC("license") = "GPL";
__u32 VERSION SEC("version") = 0x050a03;
