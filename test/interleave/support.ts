/** A kernel that interprets, with an object compiled from C, and its CPUs in turns. */
import { builtinHeader, compile } from '../../src/compiler/index.ts';
import type { InterleaveAttr, InterleaveResult } from '../../src/contracts/interleave.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';

const PRELUDE = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
`;

export function build(text: string): Uint8Array {
  const result = compile({
    files: { read: () => undefined },
    main: 'race.bpf.c',
    text: PRELUDE + text,
    options: { builtinHeader },
  });
  if (result.object === null) throw new Error(result.diagnostics.map(({ message }) => message).join('\n'));
  return result.object;
}

export interface Setup {
  readonly kernel: EmbeddedKernel;
  readonly object: ReturnType<BpfObject['load']>;
  interleave(
    attr: Omit<InterleaveAttr, 'cpus'> & { readonly programs: readonly (readonly string[])[] },
  ): InterleaveResult;
  /** First 8 bytes of the first value. */
  value(map: string): number;
  /** The first value, of all CPUs where each has one. */
  bytes(map: string): DataView;
}

/** A fresh kernel for each run: results must depend on the seed alone. */
export function setUp(object: Uint8Array, possibleCpus = 2, jit: 0 | 1 = 0): Setup {
  const kernel = new EmbeddedKernel({ possibleCpus, randomSeed: 1, onOops: () => undefined });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  kernel.simulator.setTime(1_000_000_000n, 1_700_000_000_000_000_000n);
  const loaded = BpfObject.open(object, { name: 'race' }).load(kernel);
  const bytes = (map: string): DataView => {
    const value = kernel.mapLookupElem({ mapFd: loaded.findMap(map).fd, key: new Uint8Array(4) })!;
    return new DataView(value.buffer, value.byteOffset);
  };
  return {
    kernel,
    object: loaded,
    bytes,
    interleave: ({ programs, ...attr }) =>
      kernel.simulator.interleave({
        ...attr,
        cpus: programs.map((names) =>
          names.map((name) => ({ progFd: loaded.findProgram(name).fd, dataIn: new Uint8Array(64) })),
        ),
      }),
    value: (map) => Number(bytes(map).getBigUint64(0, true)),
  };
}
