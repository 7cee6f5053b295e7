/* Programs with typed arguments: a tracepoint by BTF, iterators. */
#include <linux/types.h>
#include "watch.h"
#include <bpf/bpf_tracing.h>

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct task_struct {
	int pid;
	int tgid;
	char comm[16];
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

struct bpf_map;

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

SEC("tp_btf/sys_enter")
int BPF_PROG(entered, void *regs, long id)
{
	struct watch *w = mine();

	if (w)
		w->words[0] = id;
	return 0;
}

SEC("iter/task")
int tasks(struct bpf_iter__task *ctx)
{
	static const char format[] = "%d %d %s\n";
	struct task_struct *task = ctx->task;
	__u64 args[3];

	if (!task)
		return 0;
	args[0] = task->pid;
	args[1] = task->tgid;
	args[2] = (__u64)task->comm;
	bpf_seq_printf(ctx->meta->seq, format, sizeof(format), args, sizeof(args));
	return 0;
}

SEC("iter/bpf_map_elem")
int elements(struct bpf_iter__bpf_map_elem *ctx)
{
	static const char format[] = "%u=%llu\n";
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;
	__u64 args[2];

	if (!key || !value)
		return 0;
	args[0] = *key;
	args[1] = *value;
	bpf_seq_printf(ctx->meta->seq, format, sizeof(format), args, sizeof(args));
	return 0;
}
