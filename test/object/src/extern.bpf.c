// Kernel symbols, kconfig values, CO-RE relocations.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

enum pid_type { PIDTYPE_PID };
struct task_struct { int pid; int tgid; struct task_struct *group_leader; char comm[16]; } __attribute__((preserve_access_index));
struct not_there { int x; } __attribute__((preserve_access_index));

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig __weak;
extern enum libbpf_tristate CONFIG_NO_SUCH_THING __kconfig __weak;
extern const void bpf_prog_active __ksym __weak;
extern const int bpf_no_such_var __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_no_such_kfunc(int) __ksym __weak;

int out;

SEC("raw_tp/sched_switch") int handler(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	if (LINUX_KERNEL_VERSION > 0x050000 && CONFIG_BPF_SYSCALL)
		out = BPF_CORE_READ(task, group_leader, tgid);
	if (bpf_core_field_exists(struct not_there, x))
		out += bpf_core_field_offset(struct not_there, x);
	out += bpf_core_type_size(struct task_struct);
	out += bpf_core_enum_value(enum pid_type, PIDTYPE_PID);
	if (&bpf_prog_active)
		out += CONFIG_DEFAULT_HOSTNAME[2];
	if (CONFIG_NO_SUCH_THING == TRI_YES)
		out++;
	if (bpf_no_such_kfunc)
		bpf_no_such_kfunc(1);
	if (&bpf_no_such_var)
		out += bpf_no_such_var;
	return 0;
}

char _license[] SEC("license") = "GPL";
