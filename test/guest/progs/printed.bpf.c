// SPDX-License-Identifier: Apache-2.0
/* What `tsbpf run --kernel host` is given: a program for each way of attaching, saying what it sees. */
#include "types.h"

char LICENSE[] SEC("license") = "GPL";

SEC("kprobe/do_unlinkat")
int BPF_KPROBE(on_kprobe, int dfd, struct filename *name)
{
	bpf_printk("kprobe %d", dfd);
	return 0;
}

SEC("kretprobe/do_unlinkat")
int BPF_KRETPROBE(on_kretprobe, int ret)
{
	bpf_printk("kretprobe %d", ret);
	return 0;
}

SEC("ksyscall/unlink")
int BPF_KSYSCALL(on_ksyscall, const char *path)
{
	char text[32];

	bpf_probe_read_user_str(text, sizeof(text), path);
	bpf_printk("ksyscall %s", text);
	return 0;
}

SEC("fentry/do_unlinkat")
int BPF_PROG(on_fentry, int dfd, struct filename *name)
{
	bpf_printk("fentry %s", name->name);
	return 0;
}

SEC("fexit/do_unlinkat")
int BPF_PROG(on_fexit, int dfd, struct filename *name, int ret)
{
	bpf_printk("fexit %d", ret);
	return 0;
}

SEC("lsm/path_unlink")
int BPF_PROG(on_lsm)
{
	bpf_printk("lsm");
	return -1;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_tp_btf, struct task_struct *task, int old_pid, struct linux_binprm *binary)
{
	bpf_printk("tp_btf %s", binary->filename);
	return 0;
}
