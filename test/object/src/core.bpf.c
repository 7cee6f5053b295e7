// CO-RE of every kind, against types of a kernel: local definitions differ from it on purpose.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#ifndef bpf_core_type_matches
#define bpf_core_type_matches(type) __builtin_preserve_type_info(*(typeof(type) *)0, 2)
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct list_head { struct list_head *next, *prev; };
struct rcu_head;
struct mm_struct { unsigned long start_stack; };
struct kuid { unsigned int val; };
typedef struct kuid kuid_t;
struct task_struct___old { int pid; long state; };
struct task_struct___new { unsigned int __state; };
struct task_struct {
	int tgid;
	int pid;
	unsigned long flags; /* 4 bytes in the kernel: unsigned, may shrink */
	long prio; /* int in the kernel: signed, must not be resized */
	struct task_struct *group_leader;
	struct list_head children;
	char comm[16];
	struct mm_struct *mm;
	unsigned in_execve : 1;
	unsigned sched_reset_on_fork : 1;
};
struct sk_buff {
	unsigned char pkt_type : 3;
	unsigned char ip_summed : 2;
	unsigned int len;
	union { struct { struct sk_buff *next; }; };
};
struct sock_common { union { struct { unsigned int skc_daddr; unsigned int skc_rcv_saddr; }; }; unsigned short skc_family; };
struct sock { struct sock_common __sk_common; unsigned short sk_protocol; };
struct nowhere_struct { int a; };
#pragma clang attribute pop
enum bpf_map_type___k { BPF_MAP_TYPE_HASH___x = 77, BPF_MAP_TYPE_RINGBUF___x = 78, BPF_MAP_TYPE_NEVER = 79 };
typedef int nowhere_typedef;
typedef int (*some_fn)(int);

long out[64];

SEC("raw_tp/sys_enter") int core(void *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct sk_buff *skb = (void *)bpf_get_current_task();
	struct sock *sk = (void *)skb;
	int i = 0;

	out[i++] = BPF_CORE_READ(t, group_leader, group_leader, pid);
	out[i++] = BPF_CORE_READ(t, flags);
	out[i++] = BPF_CORE_READ(t, comm[5]);
	out[i++] = BPF_CORE_READ(t, mm, start_stack);
	out[i++] = (long)BPF_CORE_READ(t, children.next);
	out[i++] = BPF_CORE_READ_BITFIELD_PROBED(t, in_execve);
	out[i++] = BPF_CORE_READ_BITFIELD_PROBED(t, sched_reset_on_fork);
	out[i++] = BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed);
	out[i++] = BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type);
	out[i++] = BPF_CORE_READ(skb, len);
	out[i++] = (long)BPF_CORE_READ(skb, next);
	out[i++] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	out[i++] = BPF_CORE_READ(sk, __sk_common.skc_family);
	out[i++] = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol);
	out[i++] = bpf_core_field_size(t->comm);
	out[i++] = bpf_core_field_size(struct task_struct, flags);
	out[i++] = bpf_core_field_offset(struct task_struct, comm);
	out[i++] = bpf_core_field_offset(t->comm[3]);
	out[i++] = bpf_core_field_exists(struct task_struct, mm);
	out[i++] = __builtin_preserve_field_info(t->prio, BPF_FIELD_SIGNED);
	out[i++] = __builtin_preserve_field_info(t->flags, BPF_FIELD_SIGNED);
	struct task_struct___old *old = (void *)t;
	struct task_struct___new *new = (void *)t;
	if (bpf_core_field_exists(old->state))
		out[i++] = BPF_CORE_READ(old, state);
	else
		out[i++] = BPF_CORE_READ(new, __state);
	out[i++] = bpf_core_type_exists(struct task_struct);
	out[i++] = bpf_core_type_exists(struct nowhere_struct);
	out[i++] = bpf_core_type_exists(nowhere_typedef);
	out[i++] = bpf_core_type_exists(kuid_t);
	out[i++] = bpf_core_type_size(struct sk_buff);
	out[i++] = bpf_core_type_size(struct nowhere_struct);
	out[i++] = bpf_core_type_id_kernel(struct list_head);
	out[i++] = bpf_core_type_id_kernel(struct nowhere_struct);
	out[i++] = bpf_core_type_id_local(struct list_head);
	out[i++] = bpf_core_type_matches(struct list_head);
	out[i++] = bpf_core_type_matches(struct task_struct);
	out[i++] = bpf_core_enum_value_exists(enum bpf_map_type___k, BPF_MAP_TYPE_RINGBUF___x);
	out[i++] = bpf_core_enum_value_exists(enum bpf_map_type___k, BPF_MAP_TYPE_NEVER);
	out[i++] = bpf_core_enum_value(enum bpf_map_type___k, BPF_MAP_TYPE_RINGBUF___x);
	out[i++] = bpf_core_enum_value(enum bpf_map_type___k, BPF_MAP_TYPE_HASH___x);
	return 0;
}

SEC("tp_btf/sys_enter") int direct(unsigned long long *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task_btf();
	out[0] = t->flags;
	out[1] = t->group_leader->pid;
	out[2] = (long)t->children.prev;
	out[3] = t->comm[2];
	return 0;
}

char _license[] SEC("license") = "GPL";
