// SPDX-License-Identifier: Apache-2.0
// Sends an event for every execve through a ring buffer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "exec_event.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

/* Puts the type into the BTF, so that readers can show the fields. */
struct exec_event *unused_exec_event __attribute__((unused));

SEC("tracepoint/syscalls/sys_enter_execve")
int exec_ringbuf(struct execve_args *ctx)
{
	struct exec_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return 0;
	fill_event(event, ctx);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
