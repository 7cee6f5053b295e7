import { describe } from 'vitest';
import { EmbeddedKernel, type EmbeddedKernelOptions } from '../../src/kernel/index.ts';
import { backgroundThreads } from './background-threads.ts';
import { kernelContract } from './contract.ts';
import { loadContract } from './contract-load.ts';
import type { Subject } from './subject.ts';

function subject(jit: number, options: EmbeddedKernelOptions = {}): Subject {
  const kernel = new EmbeddedKernel({ possibleCpus: 2, ...options });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  const bpffs = '/sys/fs/bpf/own';
  kernel.mkdir(bpffs);
  return {
    name: 'embedded',
    kernel,
    bpffs,
    ifindex: kernel.simulator.addInterface('t0'),
    link: (existing, pathname) => kernel.link(existing, pathname),
    symlink: (target, pathname) => kernel.symlink(target, pathname),
    eventually: (check) => check(),
    done: () => kernel.shutdown(),
  };
}

for (const jit of [1, 0]) {
  describe(`embedded kernel, bpf_jit_enable = ${jit}`, () => kernelContract(() => subject(jit)));
  describe(`embedded kernel with a thread, bpf_jit_enable = ${jit}`, () =>
    loadContract(() => subject(jit, { background: { start: backgroundThreads(), fromInsns: 0 } })));
}
