/** `task_struct` as programs reach it from bpf_get_current_task: who is current, its parent, how it ends, on both engines. */
import { describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';

const PROGRAM = `
#include <linux/sched.h>
struct seen_t { int pid; int tgid; int ppid; int grandparent; int leader; u32 code; u64 start; char comm[16]; };
BPF_HASH(seen, u32, struct seen_t);
TRACEPOINT_PROBE(sched, sched_process_exit) {
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct seen_t one = {};
  u32 pid = task->pid;
  one.pid = pid;
  one.tgid = task->tgid;
  one.ppid = task->real_parent->tgid;
  one.grandparent = task->real_parent->real_parent->tgid;
  one.leader = task->group_leader->pid;
  one.code = task->exit_code;
  one.start = task->start_time;
  bpf_probe_read_kernel_str(&one.comm, sizeof(one.comm), task->comm);
  seen.update(&pid, &one);
  return 0;
}`;

for (const jit of [1, 0])
  describe(`tasks, bpf_jit_enable = ${jit}`, () => {
    it('have parents, groups, names, a beginning and an end', () => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      const b = new BPF({ kernel, text: PROGRAM });
      const shell = { pid: 100, tgid: 100, ppid: 7, comm: 'shell' };
      const child = { pid: 101, tgid: 101, comm: 'child' };
      const thread = { pid: 102, tgid: 101, ppid: 100, comm: 'thread' };
      const { fire } = { fire: kernel.simulator.fire.bind(kernel.simulator) };
      fire({ kind: 'fork', process: { pid: 7, comm: 'init' }, child: shell, time: 1000n });
      fire({ kind: 'fork', process: shell, child, time: 2000n });
      fire({ kind: 'fork', process: child, child: thread, time: 3000n });
      fire({ kind: 'exit', process: thread, time: 4000n });
      fire({ kind: 'exec', process: child, comm: 'renamed', time: 5000n });
      fire({ kind: 'exit', process: { pid: 101, tgid: 101 }, time: 6000n, exitCode: 3 << 8 });
      const seen = new Map(b.get('seen'));
      expect(seen.get(102)).toMatchObject({ tgid: 101, ppid: 100, leader: 101, code: 0, comm: 'thread' });
      expect(seen.get(101)).toMatchObject({
        tgid: 101,
        ppid: 100,
        grandparent: 7,
        leader: 101,
        code: 3 << 8,
        comm: 'renamed',
        start: 2000,
      });
      expect(kernel.simulator.oopses()).toEqual([]);
    });

    it('that nobody has told of have no parent: reading it gives 0', () => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      const b = new BPF({ kernel, text: PROGRAM });
      kernel.simulator.fire({ kind: 'exit', process: { pid: 9, comm: 'alone' }, time: 1n });
      expect(b.get('seen').get(9)).toMatchObject({ pid: 9, ppid: 0, grandparent: 0 });
    });

    it('that are each other’s parents end the walk', () => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      const b = new BPF({ kernel, text: PROGRAM });
      const [one, other] = [
        { pid: 20, ppid: 21 },
        { pid: 21, ppid: 20 },
      ];
      kernel.simulator.fire({ kind: 'fork', process: one, child: other, time: 1n });
      kernel.simulator.fire({ kind: 'exit', process: other, time: 2n });
      expect(b.get('seen').get(21)).toMatchObject({ ppid: 20, grandparent: 21 });
    });
  });
