/** Loads the objects into kernels that compile or interpret, and takes the time of each step. */
import { readFileSync } from 'node:fs';
import type { Kernel, LoadStages, ProgLoadAttr } from '../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { BpfObject, type BpfProgram } from '../src/libbpf/index.ts';

export type EngineName = 'jit' | 'interpreter';

export interface LoadedObject {
  readonly object: BpfObject;
  readonly kernel: EmbeddedKernel;
  /** Steps of each program's load, by name. */
  readonly stages: ReadonlyMap<string, LoadStages>;
  program(name: string): BpfProgram;
}

function kernelFor(engine: EngineName, budget: number | undefined): EmbeddedKernel {
  const kernel = new EmbeddedKernel(budget === undefined ? {} : { budget });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', engine === 'jit' ? 1 : 0);
  return kernel;
}

/** The same kernel, which also notes how long the steps of each PROG_LOAD took. */
function observed(kernel: Kernel, stages: Map<string, LoadStages>): Kernel {
  const progLoad = (attr: ProgLoadAttr) =>
    kernel.progLoad({ ...attr, onStages: (taken) => stages.set(attr.progName ?? '', taken) });
  return new Proxy(kernel, {
    get(target, key) {
      if (key === 'progLoad') return progLoad;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** `budget`: of each run; absent: none is counted. */
export function loadObject(name: string, engine: EngineName, budget?: number): LoadedObject {
  const bytes = readFileSync(new URL(`objects/${name}.bpf.o`, import.meta.url));
  const kernel = kernelFor(engine, budget);
  const stages = new Map<string, LoadStages>();
  const object = BpfObject.open(bytes, { name }).load(observed(kernel, stages));
  return { object, kernel, stages, program: (program) => object.findProgram(program) };
}
