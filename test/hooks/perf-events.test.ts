/** Perf events of the embedded kernel: samples that a recording brings, where programs are attached to the same event, on both engines. */
import { describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import type { KernelEvent } from '../../src/contracts/events.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';

const PROGRAM = `
#include <uapi/linux/bpf_perf_event.h>
struct seen_t { u64 ip; u64 period; u64 addr; int user; int kernel; };
BPF_HASH(seen, u32, struct seen_t);
BPF_STACK_TRACE(stacks, 64);
int sample(struct bpf_perf_event_data *ctx) {
  struct seen_t one = {};
  u32 pid = bpf_get_current_pid_tgid();
  one.ip = ctx->regs.ip;
  one.period = ctx->sample_period;
  one.addr = ctx->addr;
  one.user = stacks.get_stackid(ctx, BPF_F_USER_STACK);
  one.kernel = stacks.get_stackid(ctx, 0);
  seen.update(&pid, &one);
  return 0;
}`;

const KERNEL_IP = 0xffff_ffff_8100_0010n;

const sample = (pid: number, more: object = {}): KernelEvent => ({
  kind: 'perf_sample',
  type: 1,
  config: 0n,
  period: 1000n,
  address: 77n,
  process: { pid, tgid: pid, comm: 'busy' },
  time: 5n,
  stacks: { kernel: [KERNEL_IP, 2n], user: [0x40_0000n] },
  ...more,
});

for (const jit of [1, 0])
  describe(`perf events, bpf_jit_enable = ${jit}`, () => {
    const open = (options: object = {}) => {
      const kernel = new EmbeddedKernel({ possibleCpus: 2 });
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      const b = new BPF({ kernel, text: PROGRAM });
      b.attachPerfEvent({ evType: 1, evConfig: 0, fnName: 'sample', sampleFreq: 49, ...options });
      return { kernel, b, seen: () => new Map(b.get('seen')) };
    };

    it('run the program with registers, period, address and stacks', () => {
      const { kernel, b, seen } = open();
      expect(kernel.simulator.fire(sample(3))).toBe(1);
      const one = seen().get(3) as { user: number; kernel: number };
      expect(one).toMatchObject({ ip: KERNEL_IP, period: 1000, addr: 77 });
      expect(b.get('stacks').walk(one.kernel)).toEqual([KERNEL_IP, 2n]);
      expect(b.get('stacks').walk(one.user)).toEqual([0x40_0000n]);
      // Without a stack of the kernel it was user space that ran; a stack that is not known is -EFAULT.
      kernel.simulator.fire(sample(4, { stacks: { user: [0x40_0000n] } }));
      expect(seen().get(4)).toMatchObject({ ip: 0x40_0000, kernel: -14 });
      expect(kernel.simulator.oopses()).toEqual([]);
    });

    it('are one each: another event, or what is detached, runs nothing', () => {
      const { kernel, b } = open();
      expect(kernel.simulator.fire(sample(3, { config: 2n }))).toBe(0);
      expect(kernel.simulator.fire(sample(3, { cpu: 1 }))).toBe(1);
      b.detachPerfEvent(1, 0);
      expect(kernel.simulator.fire(sample(3))).toBe(0);
    });

    it('are of one processor, or of one process, where that was asked for', () => {
      const cpu = open({ cpu: 1 });
      expect([0, 1].map((number) => cpu.kernel.simulator.fire(sample(3, { cpu: number })))).toEqual([0, 1]);
      const pid = open({ pid: 4 });
      expect([3, 4].map((number) => pid.kernel.simulator.fire(sample(number)))).toEqual([0, 1]);
    });

    it('take programs of their own type only', () => {
      const { kernel, b } = open();
      const event = kernel.perfEventOpen({ kind: 'tracepoint', category: 'a', name: 'b' });
      const { fd } = b.loadFunc('sample', BPF.PERF_EVENT);
      expect(() => kernel.linkCreate({ progFd: fd, targetFd: event, attachType: 41 })).toThrow(
        /a perf_event program cannot be attached to a tracepoint event/,
      );
    });
  });
