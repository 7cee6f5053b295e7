// SPDX-License-Identifier: Apache-2.0
// Time that threads wait for a processor: from their wake-up, or from being put aside while they could run, to their next turn.
#include "common.h"

#define TASK_RUNNING 0
/* Set beside 0 where a thread was put aside against its will (TASK_REPORT_MAX). */
#define STATES 0xff
#define SLOTS 40

enum { ALL = 0, BY_THREAD = 1 };

const volatile __u32 only_tid = 0;
const volatile __u32 by = ALL;
const volatile __u64 unit = 1000;

struct histogram {
	__u32 slots[SLOTS];
	char comm[TASK_COMM_LEN];
};

/* sched:sched_wakeup, sched:sched_wakeup_new */
struct wakeup {
	__u64 common;
	char comm[TASK_COMM_LEN];
	int tid;
	int prio;
	int target_cpu;
};

/* sched:sched_switch */
struct sched_switch {
	__u64 common;
	char prev_comm[TASK_COMM_LEN];
	int prev_tid;
	int prev_prio;
	long prev_state;
	char next_comm[TASK_COMM_LEN];
	int next_tid;
	int next_prio;
};

static const struct histogram empty;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u64);
} waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, struct histogram);
} histograms SEC(".maps");

static __always_inline void enqueue(__u32 tid)
{
	__u64 now = bpf_ktime_get_ns();

	// Thread 0 is the processor at rest.
	if (tid && (!only_tid || tid == only_tid))
		bpf_map_update_elem(&waiting, &tid, &now, BPF_ANY);
}

SEC("tracepoint/sched/sched_wakeup")
int woken(struct wakeup *ctx)
{
	enqueue(ctx->tid);
	return 0;
}

SEC("tracepoint/sched/sched_wakeup_new")
int woken_new(struct wakeup *ctx)
{
	enqueue(ctx->tid);
	return 0;
}

SEC("tracepoint/sched/sched_switch")
int switched(struct sched_switch *ctx)
{
	__u32 tid = ctx->next_tid, key, slot;
	struct histogram *histogram;
	__u64 *since;
	__s64 time;

	if ((ctx->prev_state & STATES) == TASK_RUNNING)
		enqueue(ctx->prev_tid);
	since = bpf_map_lookup_elem(&waiting, &tid);
	if (!since)
		return 0;
	time = bpf_ktime_get_ns() - *since;
	bpf_map_delete_elem(&waiting, &tid);
	if (time < 0)
		return 0;
	key = by == BY_THREAD ? tid : 0;
	histogram = bpf_map_lookup_elem(&histograms, &key);
	if (!histogram) {
		bpf_map_update_elem(&histograms, &key, &empty, BPF_NOEXIST);
		histogram = bpf_map_lookup_elem(&histograms, &key);
		if (!histogram) {
			__sync_fetch_and_add(&lost, 1);
			return 0;
		}
	}
	if (by == BY_THREAD)
		__builtin_memcpy(histogram->comm, ctx->next_comm, sizeof(histogram->comm));
	slot = log2_slot((__u64)time / unit);
	if (slot >= SLOTS)
		slot = SLOTS - 1;
	__sync_fetch_and_add(&histogram->slots[slot], 1);
	return 0;
}
