// SPDX-License-Identifier: Apache-2.0
// Counts system calls, and the time that they take, by call or by process.
#include "common.h"

const volatile __u32 only_pid = 0;
const volatile bool by_process = false;
const volatile bool only_failed = false;
const volatile int only_errno = 0;
const volatile bool measured = false;

struct total {
	__u64 count;
	__u64 time;
	char comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u64);
} started SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, struct total);
} totals SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int enter(struct sys_enter *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now;
	__u32 tid = id;

	if (!measured || (only_pid && id >> 32 != only_pid))
		return 0;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&started, &tid, &now, BPF_ANY);
	return 0;
}

SEC("tracepoint/raw_syscalls/sys_exit")
int leave(struct sys_exit *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), time = 0;
	__u32 tid = id, key = by_process ? id >> 32 : ctx->nr;
	struct total *total, empty = {};

	if (only_pid && id >> 32 != only_pid)
		return 0;
	// -1: not a system call, but a return from a signal handler.
	if (ctx->nr < 0 || (only_failed && ctx->ret >= 0) || (only_errno && ctx->ret != -only_errno))
		return 0;
	if (measured) {
		__u64 *since = bpf_map_lookup_elem(&started, &tid);

		if (!since)
			return 0;
		time = bpf_ktime_get_ns() - *since;
		bpf_map_delete_elem(&started, &tid);
	}
	total = bpf_map_lookup_elem(&totals, &key);
	if (!total) {
		bpf_map_update_elem(&totals, &key, &empty, BPF_NOEXIST);
		total = bpf_map_lookup_elem(&totals, &key);
		if (!total) {
			__sync_fetch_and_add(&lost, 1);
			return 0;
		}
	}
	__sync_fetch_and_add(&total->count, 1);
	__sync_fetch_and_add(&total->time, time);
	if (by_process)
		bpf_get_current_comm(total->comm, sizeof(total->comm));
	return 0;
}
