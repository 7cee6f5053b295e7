// SPDX-License-Identifier: Apache-2.0
// Signals as they are generated, or as kill(2), tkill(2) and tgkill(2) ask for them.
#include "common.h"

const volatile __u32 only_pid = 0;
const volatile int only_signal = 0;
const volatile bool only_failed = false;

struct signal_event {
	__u64 time;
	__u32 pid;
	__u32 tid;
	__u32 uid;
	/* Whom it is for. */
	int target;
	int signal;
	/* -errno of the system call; enum trace_signal_generate in include/trace/events/signal.h of a signal. */
	int result;
	char comm[TASK_COMM_LEN];
	char target_comm[TASK_COMM_LEN];
};
struct signal_event *unused_signal_event __attribute__((unused));

/* signal:signal_generate */
struct generate {
	__u64 common;
	int sig;
	int errno_;
	int code;
	char comm[TASK_COMM_LEN];
	int pid;
	int group;
	int result;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, struct signal_event);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

static __always_inline void send(struct signal_event *event)
{
	if (only_failed && !event->result)
		return;
	if (bpf_ringbuf_output(&events, event, sizeof(*event), 0))
		__sync_fetch_and_add(&lost, 1);
}

static __always_inline bool sender(struct signal_event *event, int signal, int target)
{
	__u64 id = bpf_get_current_pid_tgid();

	event->pid = id >> 32;
	event->tid = id;
	if ((only_pid && event->pid != only_pid) || (only_signal && signal != only_signal))
		return false;
	event->time = bpf_ktime_get_ns();
	event->uid = bpf_get_current_uid_gid();
	event->signal = signal;
	event->target = target;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	return true;
}

SEC("tracepoint/signal/signal_generate")
int generated(struct generate *ctx)
{
	struct signal_event event = {};

	if (!sender(&event, ctx->sig, ctx->pid))
		return 0;
	event.result = ctx->result;
	__builtin_memcpy(event.target_comm, ctx->comm, sizeof(event.target_comm));
	send(&event);
	return 0;
}

static __always_inline int asked(int target, int signal)
{
	struct signal_event event = {};

	if (sender(&event, signal, target))
		bpf_map_update_elem(&calls, &event.tid, &event, BPF_ANY);
	return 0;
}

static __always_inline int answered(struct sys_exit *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct signal_event *event = bpf_map_lookup_elem(&calls, &tid);

	if (!event)
		return 0;
	event->result = ctx->ret;
	send(event);
	bpf_map_delete_elem(&calls, &tid);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_kill")
int enter_kill(struct sys_enter *ctx)
{
	return asked(ctx->args[0], ctx->args[1]);
}

SEC("tracepoint/syscalls/sys_exit_kill")
int exit_kill(struct sys_exit *ctx)
{
	return answered(ctx);
}

SEC("tracepoint/syscalls/sys_enter_tkill")
int enter_tkill(struct sys_enter *ctx)
{
	return asked(ctx->args[0], ctx->args[1]);
}

SEC("tracepoint/syscalls/sys_exit_tkill")
int exit_tkill(struct sys_exit *ctx)
{
	return answered(ctx);
}

SEC("tracepoint/syscalls/sys_enter_tgkill")
int enter_tgkill(struct sys_enter *ctx)
{
	return asked(ctx->args[1], ctx->args[2]);
}

SEC("tracepoint/syscalls/sys_exit_tgkill")
int exit_tgkill(struct sys_exit *ctx)
{
	return answered(ctx);
}
