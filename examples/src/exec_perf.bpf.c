// SPDX-License-Identifier: Apache-2.0
// Sends an event for every execve through a perf buffer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "exec_event.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

/* Puts the type into the BTF, so that readers can show the fields. */
struct exec_event *unused_exec_event __attribute__((unused));

SEC("tracepoint/syscalls/sys_enter_execve")
int exec_perf(struct execve_args *ctx)
{
	struct exec_event event = {};

	fill_event(&event, ctx);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
