// struct_ops, arena, iterators and other special sections.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define BPF_MAP_TYPE_ARENA 33
#define __ulong(name, val) enum { unique_##name = val } name

struct tcp_congestion_ops {
	void (*ssthresh)(void *sk);
	int flags;
	void (*cong_avoid)(void *sk);
	char name[16];
} __attribute__((preserve_access_index));

SEC("struct_ops/first") void first(void *ctx) {}
SEC("struct_ops") void second(void *ctx) {}

SEC(".struct_ops") struct tcp_congestion_ops plain = { .ssthresh = (void *)first, .flags = 7, .cong_avoid = (void *)second, .name = "plain" };
SEC("?.struct_ops.link") struct tcp_congestion_ops linked = { .cong_avoid = (void *)second, .name = "linked" };

static struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int); __type(value, int); } hidden_map SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1); __type(key, int); __type(value, int); __ulong(map_extra, 0x123456789aULL); } extra SEC(".maps");

struct { __uint(type, BPF_MAP_TYPE_ARENA); __uint(map_flags, 1 << 10); __uint(max_entries, 4); } arena SEC(".maps");
int __attribute__((address_space(1))) in_arena = 5;
SEC("syscall") int use_arena(void *ctx) { in_arena++; return 0; }

SEC("iter.s/task") int iterate(void *ctx)
{
	int zero = 0;
	bpf_map_lookup_elem(&hidden_map, &zero);
	bpf_map_lookup_elem(&extra, &zero);
	return 0;
}
SEC("lsm.s/file_open") int guard(void *ctx) { return 0; }
SEC("uprobe//usr/bin/bash:readline") int user(void *ctx) { return 0; }
SEC("my_own_section") int unknown(void *ctx) { return 0; }
SEC("cgroup/connect4") int connect(void *ctx) { return 1; }
const char *const words[] = { "one", "two" };
SEC("socket") int pointers(struct __sk_buff *skb) { return words[skb->len & 1][0]; }

char _license[] SEC("license") = "GPL";
