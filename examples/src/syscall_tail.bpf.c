// SPDX-License-Identifier: Apache-2.0
// Dispatches by system call number: a program array is indexed with the number, each program counts or prints its own call.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <asm/unistd.h>

/* Layout of the record: /sys/kernel/tracing/events/raw_syscalls/sys_enter/format */
struct sys_enter_args {
	__u64 common;
	__s64 id;
	__u64 args[6];
};

enum { HANDLED_EXECVE, HANDLED_OPENAT, HANDLED_WRITE, NOT_HANDLED, COUNTERS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &which);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}

/* The three programs of the array have no event in their section: nothing but the array runs them. */
SEC("tracepoint")
int on_execve(struct sys_enter_args *ctx)
{
	char filename[64];

	count(HANDLED_EXECVE);
	bpf_probe_read_user_str(filename, sizeof(filename), (void *)ctx->args[0]);
	bpf_printk("execve(%s)", filename);
	return 0;
}

SEC("tracepoint")
int on_openat(struct sys_enter_args *ctx)
{
	count(HANDLED_OPENAT);
	return 0;
}

SEC("tracepoint")
int on_write(struct sys_enter_args *ctx)
{
	count(HANDLED_WRITE);
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 512);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} handlers SEC(".maps") = {
	.values = {
		[__NR_execve] = (void *)&on_execve,
		[__NR_openat] = (void *)&on_openat,
		[__NR_write] = (void *)&on_write,
	},
};

SEC("tracepoint/raw_syscalls/sys_enter")
int dispatch(struct sys_enter_args *ctx)
{
	bpf_tail_call(ctx, &handlers, ctx->id);
	/* Only reached where the array has no program for the call. */
	count(NOT_HANDLED);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
