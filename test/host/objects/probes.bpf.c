/* Probes of processes: functions, USDT, samples, tracepoints. x86-64. */
#include <stdbool.h>
#include <linux/types.h>
#include <linux/ptrace.h>
#include "watch.h"
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

SEC("uprobe")
int called(struct pt_regs *ctx)
{
	struct watch *w = mine();

	if (w) {
		w->words[0] = PT_REGS_PARM1(ctx);
		w->words[1] = PT_REGS_PARM2(ctx);
		w->words[2] = bpf_get_attach_cookie(ctx);
	}
	return 0;
}

SEC("uretprobe")
int returned(struct pt_regs *ctx)
{
	struct watch *w = mine();

	if (w)
		w->words[3] = PT_REGS_RC(ctx);
	return 0;
}

SEC("?uprobe/libc.so.6:getppid")
int library_called(struct pt_regs *ctx)
{
	mine();
	return 0;
}

SEC("?uprobe.multi")
int each_called(struct pt_regs *ctx)
{
	struct watch *w = mine();

	if (w)
		w->words[0] += bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("?uretprobe.multi")
int each_returned(struct pt_regs *ctx)
{
	mine();
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 32 * sizeof(__u64));
} stacks SEC(".maps");

SEC("?uprobe")
int stacked(struct pt_regs *ctx)
{
	struct watch *w = mine();

	if (w)
		w->words[0] = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK | BPF_F_REUSE_STACKID);
	return 0;
}

SEC("?raw_tp/sys_enter")
int stacked_kernel(struct bpf_raw_tracepoint_args *ctx)
{
	struct watch *w = mine();

	if (w)
		w->words[0] = bpf_get_stackid(ctx, &stacks, BPF_F_REUSE_STACKID);
	return 0;
}

SEC("usdt")
int probed(struct pt_regs *ctx)
{
	struct watch *w = mine();
	long value;

	if (!w)
		return 0;
	w->words[0] = bpf_usdt_arg_cnt(ctx);
	for (int i = 0; i < 4; i++)
		if (!bpf_usdt_arg(ctx, i, &value))
			w->words[i + 1] = value;
	w->words[5] = bpf_usdt_cookie(ctx);
	return 0;
}

SEC("perf_event")
int sampled(void *ctx)
{
	mine();
	return 0;
}

SEC("raw_tp/sys_enter")
int entered(struct bpf_raw_tracepoint_args *ctx)
{
	struct watch *w = mine();

	if (w)
		w->words[0] = ctx->args[1];
	return 0;
}
