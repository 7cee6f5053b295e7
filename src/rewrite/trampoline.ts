/**
 * Functions of programs that others replace or look at (kernel: bpf_trampoline). All of it is plain eBPF around what stands there already,
 * so that both engines run it: a wrapper writes the arguments down as the context of tracing programs (struct bpf_tramp_run_ctx:
 * number of arguments, arguments, result), calls the kernel before and after, and calls the function, or lets the kernel call
 * what stands in its place.
 *
 * Invariant: whatever called or named a wrapped function calls or names its wrapper; nothing else of the program changes.
 */
import * as c from '../asm/construct.ts';
import { CALL, CLASS, insnClass, insnOp, JMP_OP } from '../asm/opcodes.ts';
import type {
  CallableFunction,
  CallTarget,
  ExecutableProgram,
  ExecutableSubprog,
  ValueRegion,
} from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';

/** Bytes below the context: the number of arguments is the u64 before the first one. */
const ARGS = -48;
const COUNT = ARGS - 8;
const STACK = 56;

/** What happens around a function of `args` arguments (at most 5). Functions get the context's offset in the linear memory. */
export interface Trampoline {
  readonly args: number;
  readonly enter?: (ctx: number) => void;
  /** In place of the function: leaves the result behind the arguments. */
  readonly replace?: (ctx: number) => void;
  readonly leave?: (ctx: number) => void;
}

interface Piece {
  readonly insns: readonly Insn[];
  readonly calls: readonly (CallTarget | undefined)[];
  readonly stackDepth: number;
  readonly name: string;
}

class PieceBuilder {
  readonly insns: Insn[] = [];
  readonly calls: (CallTarget | undefined)[] = [];

  add(insn: Insn, call?: CallTarget): void {
    this.insns.push(insn);
    this.calls.push(call);
  }
}

const callee = (name: string, fn: (ctx: number) => void): CallTarget => {
  const callable: CallableFunction = { name, params: ['u32'], result: 'void', fn };
  return { kind: 'function', callee: callable };
};

const CALL_INSN: Insn = { code: CLASS.JMP | JMP_OP.CALL, dst: 0, src: 0, off: 0, imm: 0 };

/** `target`: number of the wrapped function in the new program. */
function wrapper({ args, enter, replace, leave }: Trampoline, target: number, name: string): Piece {
  const piece = new PieceBuilder();
  const ask = (what: string, fn: ((ctx: number) => void) | undefined): void => {
    if (fn === undefined) return;
    piece.add(c.mov64Reg(c.R1, c.R10));
    piece.add(c.alu64Imm('add', c.R1, ARGS));
    piece.add(CALL_INSN, callee(`${what} ${name}`, fn));
  };
  for (let i = 0; i < args; i++) piece.add(c.stx('dw', c.R10, (i + 1) as c.Reg, ARGS + 8 * i));
  piece.add(c.st('dw', c.R10, COUNT, args));
  piece.add(c.st('dw', c.R10, ARGS + 8 * args, 0));
  ask('enter', enter);
  ask('replace', replace);
  if (replace === undefined) {
    for (let i = 0; i < args; i++) piece.add(c.ldx('dw', (i + 1) as c.Reg, c.R10, ARGS + 8 * i));
    piece.add({ ...CALL_INSN, src: CALL.LOCAL }, { kind: 'subprog', index: target });
    piece.add(c.stx('dw', c.R10, c.R0, ARGS + 8 * args));
  }
  ask('leave', leave);
  piece.add(c.ldx('dw', c.R0, c.R10, ARGS + 8 * args));
  piece.add(c.exit());
  return { ...piece, stackDepth: STACK, name: `trampoline ${name}` };
}

function shim(args: number): Piece {
  const piece = new PieceBuilder();
  piece.add(c.mov64Reg(c.R6, c.R1));
  for (let i = 0; i < args; i++) piece.add(c.ldx('dw', (i + 1) as c.Reg, c.R6, 8 * i));
  piece.add({ ...CALL_INSN, src: CALL.LOCAL }, { kind: 'subprog', index: 1 });
  piece.add(c.exit());
  return { ...piece, stackDepth: 0, name: 'entry' };
}

function pieceOf(program: ExecutableProgram, { start, end, stackDepth, name }: ExecutableSubprog): Piece {
  return { insns: program.insns.slice(start, end), calls: program.calls.slice(start, end), stackDepth, name };
}

/** Lines up functions: those before, the program's own, those behind. `named` gives the new number of one that is called or named. */
function assemble(
  program: ExecutableProgram,
  before: readonly Piece[],
  behind: readonly Piece[],
  named: (index: number) => number,
): ExecutableProgram {
  const own = program.subprogs.map((subprog) => pieceOf(program, subprog));
  const insns: Insn[] = [];
  const calls: (CallTarget | undefined)[] = [];
  const origin: number[] = [];
  const probeLoads = new Set<number>();
  const accesses = new Set<number>();
  const values = new Map<number, ValueRegion>();
  const subprogs: ExecutableSubprog[] = [];
  [...before, ...own, ...behind].forEach((piece, i) => {
    const start = insns.length;
    const subprog = program.subprogs[i - before.length];
    piece.insns.forEach((insn, k) => {
      const at = subprog === undefined ? -1 : subprog.start + k;
      if (program.probeLoads.has(at)) probeLoads.add(insns.length);
      const value = program.values?.get(at);
      if (value !== undefined) values.set(insns.length, value);
      if (program.arena?.accesses.has(at)) accesses.add(insns.length);
      insns.push({ ...insn });
      const call = piece.calls[k];
      const renumber = subprog !== undefined && (call?.kind === 'subprog' || call?.kind === 'callback');
      calls.push(renumber ? { ...call, index: named(call.index) } : call);
      origin.push(at < 0 ? 0 : program.origin[at]!);
    });
    subprogs.push({ start, end: insns.length, stackDepth: piece.stackDepth, name: piece.name });
  });
  insns.forEach((insn, at) => {
    const call = calls[at];
    const local = insnClass(insn.code) === CLASS.JMP && insnOp(insn.code) === JMP_OP.CALL;
    if (local && call?.kind === 'subprog') insn.imm = subprogs[call.index]!.start - at - 1;
  });
  const arena = program.arena === undefined ? {} : { arena: { ...program.arena, accesses } };
  return {
    ...program,
    insns,
    calls,
    origin: Int32Array.from(origin),
    probeLoads,
    values,
    subprogs,
    ...arena,
  };
}

/** A program whose function 0 takes `args` arguments, to be run with the address of an array of them. */
export function withArguments(program: ExecutableProgram, args: number): ExecutableProgram {
  return assemble(program, [shim(args)], [], (index) => index + 1);
}

/** The program with trampolines around some of its functions, by their numbers. */
export function withTrampolines(
  program: ExecutableProgram,
  trampolines: ReadonlyMap<number, Trampoline>,
): ExecutableProgram {
  if (trampolines.size === 0) return program;
  // The program is entered at its first function.
  const shift = trampolines.has(0) ? 1 : 0;
  const places = new Map<number, number>();
  let next = shift + program.subprogs.length;
  for (const index of trampolines.keys()) places.set(index, index === 0 ? 0 : next++);
  const make = (index: number): Piece =>
    wrapper(trampolines.get(index)!, index + shift, program.subprogs[index]!.name);
  return assemble(
    program,
    shift === 0 ? [] : [make(0)],
    [...trampolines.keys()].filter((index) => index !== 0).map(make),
    (index) => places.get(index) ?? index + shift,
  );
}
