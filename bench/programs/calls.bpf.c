// SPDX-License-Identifier: Apache-2.0
/* Calls of every kind. */
#include "common.h"

static __noinline __u64 mix(__u64 x, __u64 y)
{
	return (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ULL + y;
}

/* What a run costs of which the program has nothing: it is in all the others. */
MEASURED empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* Ten calls of a function. */
MEASURED functions(struct xdp_md *ctx)
{
	__u64 x = ctx->rx_queue_index;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++)
		x = mix(x, i);
	return x;
}

/* Ten calls of a helper that has little to do. */
MEASURED helpers(struct xdp_md *ctx)
{
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++)
		sum += bpf_get_smp_processor_id();
	return sum;
}

/* One reading of the clock. */
MEASURED clock(struct xdp_md *ctx)
{
	return bpf_ktime_get_ns() != 0;
}

/* Ten random numbers. */
MEASURED random(struct xdp_md *ctx)
{
	__u32 sum = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++)
		sum |= bpf_get_prandom_u32();
	return sum != 0;
}

static const char method[] = "POST /index.html";

/* A string compared with a constant one. */
MEASURED string(struct xdp_md *ctx)
{
	char line[16] = "GET /index.html";

	return bpf_strncmp(line, sizeof(line), method) != 0;
}

static long add(__u32 i, void *sum)
{
	*(__u64 *)sum += i;
	return 0;
}

/* bpf_loop over 100 indexes. */
MEASURED loop(struct xdp_md *ctx)
{
	__u64 sum = 0;

	bpf_loop(100, add, &sum, 0);
	return sum;
}

int tail_1(struct xdp_md *ctx), tail_2(struct xdp_md *ctx), tail_3(struct xdp_md *ctx), tail_4(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} chain SEC(".maps") = {
	.values = { (void *)&tail_1, (void *)&tail_2, (void *)&tail_3, (void *)&tail_4 },
};

/* Four tail calls in a row. */
MEASURED tail_calls(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &chain, 0);
	return 0;
}

MEASURED tail_1(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &chain, 1);
	return 1;
}

MEASURED tail_2(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &chain, 2);
	return 2;
}

MEASURED tail_3(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &chain, 3);
	return 3;
}

MEASURED tail_4(struct xdp_md *ctx)
{
	return 4;
}
