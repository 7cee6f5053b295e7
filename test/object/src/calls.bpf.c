// Calls across sections, static and global subprograms, callbacks.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int total;

static __attribute__((noinline)) int leaf(int x) { return x * 3 + total; }
static __attribute__((noinline)) int middle(int x) { return leaf(x) + leaf(x + 1); }
__attribute__((noinline)) int global_func(int x) { return middle(x) ^ 5; }
__hidden __attribute__((noinline)) int hidden_func(int x) { return leaf(x) - 5; }

static long callback(__u32 index, void *ctx) { total += index; return 0; }

SEC("socket") int one(struct __sk_buff *skb) { return global_func(skb->len) + hidden_func(2); }
SEC("socket") int two(struct __sk_buff *skb)
{
	bpf_loop(10, callback, 0, 0);
	return middle(skb->len);
}
SEC("tc") int three(struct __sk_buff *skb) { return leaf(skb->mark); }

char _license[] SEC("license") = "GPL";
