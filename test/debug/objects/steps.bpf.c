/* A program for the tests of coverage and debugger: every count can be done by hand. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct counter {
	__u64 packets;
	__u32 last_length;
	__u8 first_bytes[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

__u64 total = 5;
int rounds;

static __noinline int classify(__u32 length)
{
	if (length > 100)
		return 2;
	if (length > 50)
		return 1;
	return 0;
}

static long add_round(__u32 index, void *ctx)
{
	*(__u64 *)ctx += index;
	rounds++;
	return 0;
}

SEC("xdp")
int steps(struct xdp_md *ctx)
{
	__u32 length = ctx->data_end - ctx->data;
	__u32 kind = classify(length);
	struct counter fresh = { .packets = 1, .last_length = length };
	struct counter *known = bpf_map_lookup_elem(&counters, &kind);
	__u64 sum = 0;

	if (!known) {
		bpf_map_update_elem(&counters, &kind, &fresh, BPF_ANY);
	} else {
		known->packets++;
		known->last_length = length;
	}
	bpf_loop(4, add_round, &sum, 0);
	total += sum;
	return kind == 2 ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
