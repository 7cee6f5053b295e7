import { describe } from 'vitest';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { kernelContract } from './contract.ts';

for (const jit of [1, 0]) {
  describe(`embedded kernel, bpf_jit_enable = ${jit}`, () =>
    kernelContract(() => {
      const kernel = new EmbeddedKernel({ possibleCpus: 2 });
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
    }));
}
