/* SPDX-License-Identifier: Apache-2.0 */
/* What the tools' programs share. Types of the kernel are declared as far as they are read: CO-RE finds the members. */
#ifndef TOOLS_COMMON_H
#define TOOLS_COMMON_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define TASK_COMM_LEN 16

struct task_struct {
	int tgid;
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

/* Records of system call tracepoints: 8 bytes that all records have, then these. */
struct sys_enter {
	__u64 common;
	long nr;
	unsigned long args[6];
};
struct sys_exit {
	__u64 common;
	long nr;
	long ret;
};

/* Events that found no room in the ring buffer. */
__u64 lost;

static __always_inline __u32 parent_pid(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, real_parent, tgid);
}

/* Slot of a histogram of powers of two, as BCC counts them: 1 for 0 and 1, 2 for 2 and 3 … */
static __always_inline __u32 log2_slot(__u64 value)
{
	__u32 slot = 1;

	for (int shift = 32; shift > 0; shift >>= 1)
		if (value >> shift) {
			value >>= shift;
			slot += shift;
		}
	return slot;
}

char LICENSE[] SEC("license") = "GPL";

#endif
