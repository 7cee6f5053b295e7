/**
 * A runnable program from plain instructions, without verification and without rewriting: for the tests of engines and
 * for measuring them. Nothing that comes from outside goes this way.
 */
import { CALL, CLASS, insnClass, insnOp, JMP_OP, LD_IMM64 } from '../asm/opcodes.ts';
import type { CallTarget, ExecutableProgram, ExecutableSubprog } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';

export interface ExecutableOptions {
  readonly name?: string;
  /** What calls and callback loads mean, by instruction; bpf-to-bpf calls are found without it. */
  readonly calls?: ReadonlyMap<number, CallTarget>;
  /** First instructions of subprograms that no call names (callbacks). */
  readonly subprogStarts?: readonly number[];
  /** Stack of every frame, bytes (default 512). */
  readonly stackDepth?: number;
  readonly probeLoads?: Iterable<number>;
  readonly values?: ExecutableProgram['values'];
}

export function executable(insns: readonly Insn[], options: ExecutableOptions = {}): ExecutableProgram {
  const calls: (CallTarget | undefined)[] = new Array(insns.length).fill(undefined);
  const starts = new Set<number>([0, ...(options.subprogStarts ?? [])]);
  const local: { at: number; start: number }[] = [];
  insns.forEach((insn, at) => {
    if (insn.code === LD_IMM64) return;
    const isCall = insnClass(insn.code) === CLASS.JMP && insnOp(insn.code) === JMP_OP.CALL;
    if (isCall && insn.src === CALL.LOCAL) {
      const start = at + 1 + insn.imm;
      starts.add(start);
      local.push({ at, start });
    }
  });
  const sorted = [...starts].sort((a, b) => a - b);
  const stackDepth = options.stackDepth ?? 512;
  const subprogs = sorted.map(
    (start, i): ExecutableSubprog => ({
      start,
      end: sorted[i + 1] ?? insns.length,
      stackDepth,
      name: i === 0 ? (options.name ?? 'main') : `sub${i}`,
    }),
  );
  for (const { at, start } of local) calls[at] = { kind: 'subprog', index: sorted.indexOf(start) };
  for (const [at, target] of options.calls ?? []) calls[at] = target;
  return {
    name: options.name ?? 'main',
    insns,
    calls,
    origin: Int32Array.from(insns, (_, i) => i),
    probeLoads: new Set(options.probeLoads ?? []),
    ...(options.values === undefined ? {} : { values: options.values }),
    subprogs,
  };
}
