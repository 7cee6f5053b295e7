/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for libbpf's header where the measured programs are compiled for this machine: what they use of it, as C does it. */
#pragma once

/* No header of the C library: programs have names such as `clock`. */
struct bench_time {
	long seconds, nanoseconds;
};
int clock_gettime(int clock, struct bench_time *now);
int rand(void);
int sched_getcpu(void);

#define SEC(name) __attribute__((used, visibility("default")))
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]

static inline long bpf_loop(__u32 rounds, long (*callback)(__u32, void *), void *data, __u64 flags)
{
	for (__u32 i = 0; i < rounds; i++)
		if (callback(i, data))
			return i + 1;
	return rounds;
}

static inline __u32 bpf_get_smp_processor_id(void)
{
	return sched_getcpu();
}

static inline __u64 bpf_ktime_get_ns(void)
{
	struct bench_time now;

	clock_gettime(1, &now);
	return now.seconds * 1000000000ULL + now.nanoseconds;
}

static inline __u32 bpf_get_prandom_u32(void)
{
	return rand();
}

static inline int bpf_strncmp(const char *text, __u32 size, const char *other)
{
	return __builtin_strncmp(text, other, size);
}

/* There is no program to go on in. */
static inline long bpf_tail_call(void *ctx, void *map, __u32 index)
{
	return -1;
}
