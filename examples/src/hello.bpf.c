// SPDX-License-Identifier: Apache-2.0
// Prints a line for every program that is executed.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Layout of the record: /sys/kernel/tracing/events/syscalls/sys_enter_execve/format */
struct execve_args {
	__u64 common;
	__s64 nr;
	const char *filename;
	const char *const *argv;
	const char *const *envp;
};

SEC("tracepoint/syscalls/sys_enter_execve")
int hello(struct execve_args *ctx)
{
	char filename[64];
	char comm[16];

	bpf_get_current_comm(comm, sizeof(comm));
	bpf_probe_read_user_str(filename, sizeof(filename), ctx->filename);
	bpf_printk("Hello, %s! %s runs %s", "world", comm, filename);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
