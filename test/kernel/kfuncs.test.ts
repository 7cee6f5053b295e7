/** Programs that call kernel functions, on both engines and without the types of any Linux. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { encodeProgram } from '../../src/asm/index.ts';
import { BtfBuilder } from '../../src/btf/index.ts';
import { IMPLEMENTED_KFUNCS } from '../../src/helpers/index.ts';
import { EmbeddedKernel, ownKernelBtf } from '../../src/kernel/index.ts';
import { kfuncsByName, progTypeByName } from '../../src/spec/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { kfuncContract } from './kfunc-contract.ts';

const { R0 } = asm;

for (const jit of [0, 1] as const) {
  describe(`kernel functions, bpf_jit_enable = ${jit}`, () =>
    kfuncContract(() => {
      const kernel = new EmbeddedKernel({ randomSeed: 1 });
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      return kernel;
    }));
}

describe('the table of kernel functions', () => {
  it('every function that runs has a row and a prototype', () => {
    const btf = ownKernelBtf();
    for (const name of IMPLEMENTED_KFUNCS) {
      expect(kfuncsByName(name).length, name).toBeGreaterThan(0);
      if (name !== 'bpf_cast_to_kern_ctx') expect(btf.find(name, 'func'), name).toBeDefined();
    }
  });

  it('a function that is not implemented is refused by name, after verification', () => {
    const kernel = new EmbeddedKernel();
    const b = new BtfBuilder();
    const proto = b.add({ kind: 'func_proto', returnType: 0, params: [] });
    const id = b.add({ kind: 'func', name: 'bpf_iter_task_destroy', type: proto, linkage: 'static' });
    const linux = new EmbeddedKernel({ kernelBtf: b.build() });
    const insns = encodeProgram([asm.callKfunc(id), asm.mov64Imm(R0, 0), asm.exit()]);
    const load = { progType: progTypeByName('sched_cls')!.id, insns, license: 'GPL' };
    expect(() => linux.progLoad(load)).toThrow(/bpf_iter_task_destroy is not implemented/);
    expect(() => linux.progLoad({ ...load, license: 'MIT' })).toThrow(/non-GPL compatible/);
    expect(() =>
      kernel.progLoad({ ...load, insns: encodeProgram([asm.callKfunc(999_999), asm.exit()]) }),
    ).toThrow(BpfError);
    kernel.shutdown();
    linux.shutdown();
  });
});
