/**
 * Small functions in place of their calls: a function that calls no other, never names R10 and leaves R6..R9 alone can stand where it is
 * called as it is, since a call leaves R1..R5 unreadable and R0 as the result anyway; its exits become jumps behind the call.
 *
 * Invariants: instructions keep their order, `source` says which one of the program as given each comes from, and the program
 * grows to no more than a constant times its size.
 */
import { CLASS, insnClass, insnOp, JMP_OP, LD_IMM64 } from '../asm/opcodes.ts';
import type { CallTarget, ExecutableProgram, ExecutableSubprog } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { isJumpClass, nextInsn } from './cfg.ts';
import { readMask, writeMask } from './usage.ts';

export interface Inlined {
  readonly program: ExecutableProgram;
  /** Instruction of `program` → instruction of the program as given. */
  readonly source: (insn: number) => number;
}

/** Longest function that is put in place of a call. */
const MOST_INSNS = 24;
/** Jumps reach 32767 instructions: larger programs are left as they are. */
const MOST_TOTAL = 20_000;
const GOTO: Insn = { code: CLASS.JMP | JMP_OP.JA, dst: 0, src: 0, off: 0, imm: 0 };

const isExit = (insn: Insn): boolean => insn.code === (CLASS.JMP | JMP_OP.EXIT);
const isCall = (insn: Insn): boolean => insn.code === (CLASS.JMP | JMP_OP.CALL);

export function inlineSmall(program: ExecutableProgram): Inlined {
  const same = { program, source: (insn: number) => insn };
  const { insns, calls, subprogs } = program;
  if (subprogs.length < 2) return same;
  const small = subprogs.map((subprog, i) => i > 0 && isSmall(program, subprog));
  const inlinedAt = (i: number): ExecutableSubprog | undefined => {
    const target = isCall(insns[i]!) ? calls[i] : undefined;
    return target?.kind === 'subprog' && small[target.index] ? subprogs[target.index] : undefined;
  };
  // Where each instruction comes to stand.
  const placed = new Int32Array(insns.length + 1);
  let length = 0;
  let any = false;
  for (let i = 0; i < insns.length; i++) {
    placed[i] = length;
    const body = inlinedAt(i);
    if (body === undefined) length++;
    else {
      length += body.end - body.start;
      any = true;
    }
  }
  placed[insns.length] = length;
  if (!any || length > MOST_TOTAL) return same;

  const out: Insn[] = [];
  const source: number[] = [];
  const outCalls: (CallTarget | undefined)[] = new Array(length).fill(undefined);
  const probeLoads = new Set<number>();
  const accesses = new Set<number>();
  const put = (insn: Insn, from: number) => {
    if (calls[from] !== undefined) outCalls[out.length] = calls[from];
    if (program.probeLoads.has(from)) probeLoads.add(out.length);
    if (program.arena?.accesses.has(from)) accesses.add(out.length);
    source.push(from);
    out.push(insn);
  };
  for (let i = 0; i < insns.length; i++) {
    const body = inlinedAt(i);
    if (body !== undefined) {
      for (let k = body.start; k < body.end; k++) {
        const insn = insns[k]!;
        // The last one goes to what follows; so it does where it is the exit.
        if (isExit(insn)) put({ ...GOTO, off: body.end - k - 1 }, k);
        else put(insn, k);
      }
      continue;
    }
    const insn = insns[i]!;
    put(retargeted(insns, insn, i, placed), i);
    if (insn.code === LD_IMM64) put(insns[++i]!, i);
  }
  const moved = subprogs.map((subprog) => ({
    ...subprog,
    start: placed[subprog.start]!,
    end: placed[subprog.end]!,
  }));
  return {
    program: {
      ...program,
      insns: out,
      calls: outCalls,
      origin: Int32Array.from(source, (from) => program.origin[from] ?? from),
      probeLoads,
      subprogs: moved,
      ...(program.arena === undefined ? {} : { arena: { ...program.arena, accesses } }),
    },
    source: (insn) => source[insn] ?? insn,
  };
}

/** A jump with its distance as it is after the move. */
function retargeted(insns: readonly Insn[], insn: Insn, at: number, placed: Int32Array): Insn {
  if (!isJumpClass(insn.code) || isCall(insn) || isExit(insn)) return insn;
  const long = insn.code === (CLASS.JMP32 | JMP_OP.JA);
  const target = at + 1 + (long ? insn.imm : insn.off);
  if (target < 0 || target > insns.length) return insn;
  const distance = placed[target]! - placed[at]! - 1;
  return long ? { ...insn, imm: distance } : { ...insn, off: distance };
}

function isSmall(program: ExecutableProgram, { start, end }: ExecutableSubprog): boolean {
  const { insns, calls } = program;
  if (end - start > MOST_INSNS) return false;
  let last = start;
  for (let i = start; i < end; i = nextInsn(insns, i)) {
    const insn = insns[i]!;
    last = i;
    if (insn.dst > 5 || insn.src > 5) return false;
    if (insnClass(insn.code) === CLASS.LD && insn.code !== LD_IMM64) return false;
    if (calls[i] !== undefined && calls[i]!.kind !== 'function') return false;
    if (isJumpClass(insn.code) && insnOp(insn.code) === JMP_OP.CALL && calls[i] === undefined) return false;
    if (((writeMask(insn) | readMask(insn, calls[i], [])) & ~0x3f) !== 0) return false;
  }
  const code = insns[last]!;
  return isExit(code) || code.code === GOTO.code;
}
