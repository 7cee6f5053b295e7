/* SPDX-License-Identifier: Apache-2.0 */
/* The few types of the kernel that the programs look into; CO-RE finds where the running kernel has their members. */
#ifndef TYPES_H
#define TYPES_H

/* libbpf's headers then take the register names of the kernel's pt_regs. */
#define __VMLINUX_H__

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	char comm[16];
};

struct filename {
	const char *name;
};

struct file {
	unsigned int f_mode;
};

struct linux_binprm {
	const char *filename;
};

#pragma clang attribute pop

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#endif
