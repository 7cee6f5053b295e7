/* Probes of the kernel's functions; kernels without kprobes or trampolines refuse some of them. x86-64. */
#include <linux/types.h>
#include <linux/ptrace.h>
#include "watch.h"
#include <bpf/bpf_tracing.h>

#define COUNT(section, name)                    \
	SEC(section)                            \
	int name(struct pt_regs *ctx)           \
	{                                       \
		mine();                         \
		return 0;                       \
	}

COUNT("?kprobe/do_unlinkat", kprobed)
COUNT("?kretprobe/do_unlinkat", kretprobed)
COUNT("?ksyscall/unlink", syscalled)
COUNT("?kprobe.multi/do_unlink*", several)
COUNT("?kretprobe.multi/do_unlink*", several_returned)

SEC("?fentry/do_unlinkat")
int BPF_PROG(before, int dfd)
{
	struct watch *w = mine();

	if (w)
		w->words[0] = dfd;
	return 0;
}

SEC("?fexit/do_unlinkat")
int BPF_PROG(after, int dfd, void *name, long ret)
{
	struct watch *w = mine();

	if (w)
		w->words[0] = ret;
	return 0;
}

SEC("?lsm/path_unlink")
int BPF_PROG(asked, void *dir, void *dentry, int ret)
{
	mine();
	return ret;
}

/* Not inlined and not static: it may be replaced. */
__attribute__((noinline)) int verdict(struct xdp_md *ctx)
{
	volatile int pass = XDP_PASS;

	return pass;
}

SEC("?xdp")
int asks(struct xdp_md *ctx)
{
	return verdict(ctx);
}

SEC("?freplace/verdict")
int replacement(struct xdp_md *ctx)
{
	return XDP_DROP;
}
