/** Loads through pointers that may lead anywhere (BPF_PROBE_MEM): what cannot be read is 0, on both engines, and nothing faults. */
import { describe, expect, it } from 'vitest';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { expectedOf, runProbes } from '../engines/probe-programs.ts';
import { build } from '../interleave/support.ts';

/** Pointers of pointers, from what the kernel trusts to what it does not. */
const CHAIN = build(`
struct task_struct { struct task_struct *parent; struct task_struct *group_leader; int pid; int tgid; } __attribute__((preserve_access_index));
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;

SEC("syscall") int chain(void *ctx) {
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	struct task_struct *far = task->parent->parent->parent->parent->parent->parent;
	return far->pid + far->group_leader->group_leader->tgid;
}
`);

describe.each([0, 1] as const)('bpf_jit_enable = %d', (jit) => {
  const open = () => {
    const kernel = new EmbeddedKernel({ onOops: ({ message }) => expect.fail(message) });
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    return kernel;
  };

  it('addresses that lead nowhere read 0, whatever the size and sign', () => {
    const kernel = open();
    for (let seed = 1; seed <= 100; seed++)
      expect(runProbes(kernel, seed), `seed ${seed}`).toBe(expectedOf(seed));
  });

  it('so do pointers that are found in memory', () => {
    const kernel = open();
    const { fd } = BpfObject.open(CHAIN).load(kernel).findProgram('chain');
    expect(kernel.progTestRun({ progFd: fd }).retval).toBe(0);
  });
});
