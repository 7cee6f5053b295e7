// What the tests of events on CPUs attach.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 4096);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 4 * sizeof(__u64));
} stacks SEC(".maps");

__s64 stack_id;

SEC("kprobe/do_mkdirat") int makes(void *ctx)
{
	stack_id = bpf_get_stackid(ctx, &stacks, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} pids SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&own, &what);

	if (n)
		*n += 1;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int opened(struct trace_event_raw_sys_enter *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	char path[16], comm[16], known[16];

	count(0);
	bpf_get_current_comm(comm, sizeof(comm));
	bpf_core_read_str(known, sizeof(known), &task->comm);
	if (bpf_probe_read_user_str(path, sizeof(path), (void *)ctx->args[1]) < 0)
		return 0;
	bpf_printk("%d %s %s opens %s", bpf_get_smp_processor_id(), comm, known, path);
	bpf_printk("at %llu", bpf_ktime_get_ns());
	return 0;
}

SEC("kprobe/do_unlinkat")
int BPF_KPROBE(unlinked, int dfd, struct filename *name)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = 1, *n;

	count(1);
	n = bpf_map_lookup_elem(&pids, &pid);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&pids, &pid, &one, BPF_ANY);
	return 0;
}

SEC("lsm/file_open")
int BPF_PROG(first, struct file *file, int ret)
{
	return file->f_flags == 2 ? -1 : 0;
}

SEC("lsm/file_open")
int BPF_PROG(second, struct file *file, int ret)
{
	bpf_printk("flags %d on %d", file->f_flags, bpf_get_smp_processor_id());
	return 0;
}

SEC("xdp")
int frame(struct xdp_md *ctx)
{
	count(0);
	return XDP_PASS;
}
