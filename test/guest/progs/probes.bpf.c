// SPDX-License-Identifier: Apache-2.0
/*
 * One program a way of attaching that container kernels often lack, each naming its place in its section. All look at one
 * process only and write what they saw into an element of `seen` of their own.
 */
#include "types.h"

char LICENSE[] SEC("license") = "GPL";

enum { KPROBE, KRETPROBE, KSYSCALL, FENTRY, FEXIT, LSM, TP_BTF, RAW_TP, TP, PROGRAMS };

struct seen {
	__u64 hits;
	__s64 value;
	char text[48];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PROGRAMS);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

/* Element 0: the process to look at. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} watched SEC(".maps");

struct event {
	__u32 pid;
	__u32 parent;
	char file[56];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

static __always_inline struct seen *see(__u32 program)
{
	__u32 zero = 0;
	__u32 *pid = bpf_map_lookup_elem(&watched, &zero);
	struct seen *entry;

	if (!pid || bpf_get_current_pid_tgid() >> 32 != *pid)
		return 0;
	entry = bpf_map_lookup_elem(&seen, &program);
	if (entry)
		entry->hits++;
	return entry;
}

SEC("kprobe/do_unlinkat")
int BPF_KPROBE(on_kprobe, int dfd, struct filename *name)
{
	struct seen *entry = see(KPROBE);

	if (entry) {
		entry->value = dfd;
		bpf_probe_read_kernel_str(entry->text, sizeof(entry->text), BPF_CORE_READ(name, name));
	}
	return 0;
}

SEC("kretprobe/do_unlinkat")
int BPF_KRETPROBE(on_kretprobe, int ret)
{
	struct seen *entry = see(KRETPROBE);

	if (entry)
		entry->value = ret;
	return 0;
}

SEC("ksyscall/unlink")
int BPF_KSYSCALL(on_ksyscall, const char *path)
{
	struct seen *entry = see(KSYSCALL);

	if (entry)
		entry->value = bpf_probe_read_user_str(entry->text, sizeof(entry->text), path);
	return 0;
}

SEC("fentry/do_unlinkat")
int BPF_PROG(on_fentry, int dfd, struct filename *name)
{
	struct seen *entry = see(FENTRY);

	if (entry) {
		entry->value = dfd;
		bpf_probe_read_kernel_str(entry->text, sizeof(entry->text), name->name);
	}
	return 0;
}

SEC("fexit/do_unlinkat")
int BPF_PROG(on_fexit, int dfd, struct filename *name, int ret)
{
	struct seen *entry = see(FEXIT);

	if (entry)
		entry->value = ret;
	return 0;
}

SEC("lsm/file_open")
int BPF_PROG(on_lsm, struct file *file)
{
	struct seen *entry = see(LSM);

	if (!entry)
		return 0;
	entry->value = file->f_mode;
	/* the second file and all after it: EPERM */
	return entry->hits > 1 ? -1 : 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_tp_btf, struct task_struct *task, int old_pid, struct linux_binprm *binary)
{
	struct seen *entry = see(TP_BTF);
	struct event *event;

	if (!entry)
		return 0;
	entry->value = old_pid;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->pid = task->tgid;
	event->parent = task->real_parent->tgid;
	bpf_probe_read_kernel_str(event->file, sizeof(event->file), binary->filename);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("raw_tp/sched_process_exec")
int on_raw_tp(struct bpf_raw_tracepoint_args *ctx)
{
	struct seen *entry = see(RAW_TP);

	if (entry)
		entry->value = BPF_CORE_READ((struct task_struct *)ctx->args[0], real_parent, tgid);
	return 0;
}

struct sys_enter {
	__u64 common;
	long id;
	unsigned long args[6];
};

SEC("tracepoint/syscalls/sys_enter_unlink")
int on_tracepoint(struct sys_enter *ctx)
{
	struct seen *entry = see(TP);

	if (entry)
		entry->value = bpf_probe_read_user_str(entry->text, sizeof(entry->text), (void *)ctx->args[0]);
	return 0;
}
