// SPDX-License-Identifier: Apache-2.0
/* Events for a ring buffer, as many as the context asks for: bench/ring-rate.ts runs it at a given rate. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define EVENTS_A_RUN 1000

struct event {
	__u64 sequence;
	__u64 time;
};

struct produce {
	__u32 events;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

__u64 written;
__u64 lost;

SEC("syscall") int produce(struct produce *ctx)
{
	for (__u32 i = 0; i < EVENTS_A_RUN; i++) {
		struct event *event;

		if (i >= ctx->events)
			break;
		event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
		if (!event) {
			lost++;
			continue;
		}
		event->sequence = written++;
		event->time = bpf_ktime_get_ns();
		bpf_ringbuf_submit(event, 0);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
