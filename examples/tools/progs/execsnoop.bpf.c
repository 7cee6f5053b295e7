// SPDX-License-Identifier: Apache-2.0
// Every execve(2): what was to be executed is kept at its entry, and sent at its exit with the result.
#include "common.h"

#define TEXT_SIZE 4096
#define ARG_SIZE 256
#define MAX_ARGS 64

const volatile bool failed_too = false;
const volatile bool any_uid = true;
const volatile __u32 only_uid = 0;
const volatile __u32 only_ppid = 0;
const volatile __u32 max_args = 20;

struct exec_event {
	__u64 time;
	__u32 pid;
	__u32 ppid;
	__u32 uid;
	int ret;
	/* Of the arguments that were read, and whether there are more. */
	__u32 args;
	__u32 more;
	__u32 size;
	char comm[TASK_COMM_LEN];
	/* The arguments, each with its NUL. */
	char text[TEXT_SIZE];
};
struct exec_event *unused_exec_event __attribute__((unused));

static const struct exec_event empty;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct exec_event);
} running SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

static __always_inline void add(struct exec_event *event, const char *from)
{
	__u32 at = event->size;
	long size;

	if (at > TEXT_SIZE - ARG_SIZE) {
		event->more = 1;
		return;
	}
	size = bpf_probe_read_user_str(&event->text[at], ARG_SIZE, from);
	if (size <= 0 || size > ARG_SIZE)
		return;
	event->size = at + size;
	event->args++;
}

SEC("tracepoint/syscalls/sys_enter_execve")
int enter_execve(struct sys_enter *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u32 uid = bpf_get_current_uid_gid();
	const char *const *argv = (const char *const *)ctx->args[1];
	struct exec_event *event;

	if (!any_uid && uid != only_uid)
		return 0;
	if (bpf_map_update_elem(&running, &tid, &empty, BPF_ANY))
		return 0;
	event = bpf_map_lookup_elem(&running, &tid);
	if (!event)
		return 0;
	event->time = bpf_ktime_get_ns();
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = uid;
	event->ppid = parent_pid();
	// The path comes first: argv[0] is what the caller says it is.
	add(event, (const char *)ctx->args[0]);
	for (int i = 1; i < MAX_ARGS; i++) {
		const char *arg = 0;

		if (bpf_probe_read_user(&arg, sizeof(arg), &argv[i]) || !arg)
			return 0;
		if (i > max_args) {
			event->more = 1;
			return 0;
		}
		add(event, arg);
	}
	event->more = 1;
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_execve")
int exit_execve(struct sys_exit *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct exec_event *event = bpf_map_lookup_elem(&running, &tid);

	if (!event)
		return 0;
	if ((failed_too || ctx->ret == 0) && (!only_ppid || event->ppid == only_ppid)) {
		event->ret = ctx->ret;
		bpf_get_current_comm(event->comm, sizeof(event->comm));
		if (bpf_ringbuf_output(&events, event, sizeof(*event), 0))
			__sync_fetch_and_add(&lost, 1);
	}
	bpf_map_delete_elem(&running, &tid);
	return 0;
}
