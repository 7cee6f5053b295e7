/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What exec_perf and exec_ringbuf send to user space. */
struct exec_event {
	__u64 time_ns;
	__u32 pid;
	__u32 uid;
	char comm[16];
	char filename[96];
};

/* Layout of the record: /sys/kernel/tracing/events/syscalls/sys_enter_execve/format */
struct execve_args {
	__u64 common;
	__s64 nr;
	const char *filename;
	const char *const *argv;
	const char *const *envp;
};

static __always_inline void fill_event(struct exec_event *event, const struct execve_args *ctx)
{
	event->time_ns = bpf_ktime_get_ns();
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = (__u32)bpf_get_current_uid_gid();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_probe_read_user_str(event->filename, sizeof(event->filename), ctx->filename);
}
