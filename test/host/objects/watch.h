/* What the programs of this directory share: they look at one process only, and leave words for the test to read. */
#ifndef WATCH_H
#define WATCH_H
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct watch {
	__u64 pid; /* written by the test */
	__u64 count;
	__u64 words[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct watch);
} watched SEC(".maps");

/* The record, where the process of the moment is the one that is watched. */
static __always_inline struct watch *mine(void)
{
	__u32 zero = 0;
	struct watch *w = bpf_map_lookup_elem(&watched, &zero);

	if (!w || w->pid != bpf_get_current_pid_tgid() >> 32)
		return 0;
	__sync_fetch_and_add(&w->count, 1);
	return w;
}

/* Programs of packets run for nobody: they have a network of the test's own. */
static __always_inline struct watch *seen(void)
{
	__u32 zero = 0;
	struct watch *w = bpf_map_lookup_elem(&watched, &zero);

	if (w)
		__sync_fetch_and_add(&w->count, 1);
	return w;
}

char LICENSE[] SEC("license") = "GPL";
#endif
