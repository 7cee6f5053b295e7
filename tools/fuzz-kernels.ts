/**
 * The kernels that random programs are run on, side by side: one that interprets, one that compiles, and Linux where it is asked.
 *
 * A program is verified once for both embedded kernels: they get the same commands in the same order, so that their maps have the same
 * descriptors, ids and shapes.
 */
import type { Btf } from '../src/btf/index.ts';
import { sharedBtf } from '../src/btf/index.ts';
import type { Kernel } from '../src/contracts/kernel.ts';
import type { VerifyRequest, VerifyResult } from '../src/contracts/verify.ts';
import type { Insn } from '../src/contracts.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { verify } from '../src/verifier/index.ts';
import type { Outcomes } from '../test/generator/compare.ts';
import type { GeneratedProgram } from '../test/generator/generate.ts';
import { runProgram } from '../test/generator/run.ts';

const JIT_SYSCTL = 'net.core.bpf_jit_enable';
/** Of these programs one is verified by each kernel. */
const EACH = 16;
const LD_IMM64 = 0x18;

export interface Pair {
  readonly interpreter: EmbeddedKernel;
  readonly jit: EmbeddedKernel;
  readonly verified: Verified;
}

/** What the first kernel has verified of the present program. */
class Verified {
  #results: { readonly request: VerifyRequest; readonly result: VerifyResult }[] = [];
  #programs = 0;

  begin(): void {
    this.#results = [];
    this.#programs++;
  }

  readonly verify: typeof verify = (request, watcher) => {
    const result = verify(request, watcher);
    this.#results.push({ request, result });
    return result;
  };

  readonly again: typeof verify = (request, watcher) => {
    if (this.#programs % EACH === 0) return verify(request, watcher);
    const found = this.#results.find((known) => alike(known.request, request));
    return found?.result ?? verify(request, watcher);
  };
}

function alike(a: VerifyRequest, b: VerifyRequest): boolean {
  if (a.progType !== b.progType || a.logLevel !== b.logLevel || a.insns.length !== b.insns.length)
    return false;
  return a.insns.every(
    (insn, i) => sameInsn(insn, b.insns[i]!) && (insn.code !== LD_IMM64 || sameMap(insn, a, b)),
  );
}

const sameInsn = (a: Insn, b: Insn): boolean =>
  a.code === b.code && a.imm === b.imm && a.off === b.off && a.dst === b.dst && a.src === b.src;

function sameMap({ imm }: Insn, a: VerifyRequest, b: VerifyRequest): boolean {
  const [one, other] = [a.mapByFd(imm), b.mapByFd(imm)];
  return typeof one === 'number' || typeof other === 'number' ? one === other : one.id === other.id;
}

/**
 * With as many CPUs as Linux has, whose numbers' range the verifier knows, and with Linux's types: programs call functions by id.
 * `budget`: loop rounds and calls that a run may make.
 */
export function openPair(linux?: Kernel, budget?: number): Pair {
  const possibleCpus = linux?.features().possibleCpus ?? 1;
  const types = linux?.kernelBtf() ?? null;
  const verified = new Verified();
  const make = (jit: 0 | 1, btf?: Btf): EmbeddedKernel => {
    const kernel = new EmbeddedKernel({
      randomSeed: 1,
      possibleCpus,
      onOops: () => undefined,
      verify: jit === 0 ? verified.verify : verified.again,
      ...(btf === undefined ? {} : { kernelBtf: btf }),
      ...(budget === undefined ? {} : { budget }),
    });
    kernel.simulator.setSysctl(JIT_SYSCTL, jit);
    kernel.simulator.setTime(1_000_000_000n, 1_700_000_000_000_000_000n);
    return kernel;
  };
  const btf = types === null ? undefined : sharedBtf(types);
  return { interpreter: make(0, btf), jit: make(1, btf), verified };
}

export function closePair({ interpreter, jit }: Pair): void {
  interpreter.shutdown();
  jit.shutdown();
}

export function outcomesOf(pair: Pair, linux: Kernel | undefined, program: GeneratedProgram): Outcomes {
  pair.verified.begin();
  return {
    interpreter: runProgram(pair.interpreter, program),
    jit: runProgram(pair.jit, program),
    ...(linux === undefined ? {} : { linux: runProgram(linux, program) }),
  };
}
