/**
 * Constant blinding (net.core.bpf_jit_harden; kernel: bpf_jit_blind_constants): no constant that a program chose stands in it as
 * such. Each is made from two numbers in the auxiliary register, of which one is random. Shifts keep their constants.
 *
 * Invariant: the blinded program does what the program did, for a machine that has the auxiliary register; jumps to an
 * instruction go to the first one that stands for it.
 */
import {
  ALU_OP,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  insnSource,
  JMP_OP,
  LD_IMM64,
  MODE,
  SOURCE,
} from '../asm/opcodes.ts';
import type { ExecutableProgram } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/errors.ts';

/** BPF_REG_AX */
export const AUXILIARY = 11;

export interface Blinded {
  readonly insns: readonly Insn[];
  /** Index of each instruction in the program as loaded. */
  readonly origin: Int32Array;
  /** Where each instruction of the program before begins; its length behind the last one. */
  readonly places: Int32Array;
}

const ALU_BLINDED: ReadonlySet<number> = new Set([
  ALU_OP.ADD,
  ALU_OP.SUB,
  ALU_OP.AND,
  ALU_OP.OR,
  ALU_OP.XOR,
  ALU_OP.MUL,
  ALU_OP.MOV,
  ALU_OP.DIV,
  ALU_OP.MOD,
]);
const JUMPS_PLAIN: ReadonlySet<number> = new Set([JMP_OP.JA, JMP_OP.CALL, JMP_OP.EXIT, JMP_OP.JCOND]);

const aluImm = (cls: number, op: number, dst: number, imm: number): Insn => ({
  code: cls | op,
  dst,
  src: 0,
  off: 0,
  imm: imm | 0,
});
const aluReg = (cls: number, op: number, dst: number, src: number): Insn => ({
  code: cls | op | SOURCE.X,
  dst,
  src,
  off: 0,
  imm: 0,
});

/** The auxiliary register = `imm`, from two numbers. */
const load = (cls: number, imm: number, random: number): Insn[] => [
  aluImm(cls, ALU_OP.MOV, AUXILIARY, imm ^ random),
  aluImm(cls, ALU_OP.XOR, AUXILIARY, random),
];

/** What stands for the instruction; undefined: itself. `first`: the first slot of a wide immediate, where this is its second. */
function blinded(insn: Insn, first: Insn | undefined, upper: number, random: number): Insn[] | undefined {
  if (first !== undefined) {
    return [...load(CLASS.ALU, first.imm, random), aluReg(CLASS.ALU64, ALU_OP.OR, first.dst, AUXILIARY)];
  }
  if (insn.code === LD_IMM64) {
    return [
      ...load(CLASS.ALU64, upper, random),
      aluImm(CLASS.ALU64, ALU_OP.LSH, AUXILIARY, 32),
      aluReg(CLASS.ALU64, ALU_OP.MOV, insn.dst, AUXILIARY),
    ];
  }
  const cls = insnClass(insn.code);
  const op = insnOp(insn.code);
  const constant = insnSource(insn.code) === SOURCE.K;
  switch (cls) {
    case CLASS.ALU:
    case CLASS.ALU64:
      if (!constant || !ALU_BLINDED.has(op)) return undefined;
      if (op === ALU_OP.MOV && insn.imm === 0) return [aluReg(CLASS.ALU64, ALU_OP.XOR, insn.dst, insn.dst)];
      return [...load(cls, insn.imm, random), { ...aluReg(cls, op, insn.dst, AUXILIARY), off: insn.off }];
    case CLASS.JMP:
    case CLASS.JMP32: {
      if (!constant || JUMPS_PLAIN.has(op)) return undefined;
      const width = cls === CLASS.JMP ? CLASS.ALU64 : CLASS.ALU;
      return [
        ...load(width, insn.imm, random),
        { code: insn.code | SOURCE.X, dst: insn.dst, src: AUXILIARY, off: insn.off, imm: 0 },
      ];
    }
    case CLASS.ST: {
      if (insnMode(insn.code) !== MODE.MEM) return undefined;
      const code = (insn.code & ~0x07) | CLASS.STX;
      return [
        ...load(CLASS.ALU64, insn.imm, random),
        { code, dst: insn.dst, src: AUXILIARY, off: insn.off, imm: 0 },
      ];
    }
    default:
      return undefined;
  }
}

/** `random`: 32 bits each time. Throws BpfError ERANGE where a jump grows too long. */
export function blind(program: ExecutableProgram, random: () => number): Blinded {
  const { insns, calls } = program;
  const out: Insn[] = [];
  const origin: number[] = [];
  const places = new Int32Array(insns.length + 1);
  const jumps: { readonly at: number; readonly from: number }[] = [];
  const add = (insn: Insn, from: number) => {
    origin.push(program.origin[from] ?? from);
    return out.push(insn) - 1;
  };
  for (let i = 0; i < insns.length; i++) {
    const insn = insns[i]!;
    places[i] = out.length;
    const previous = insns[i - 1];
    const second = previous?.code === LD_IMM64 && insn.code === 0;
    // The address of a function is no constant of the program.
    const parts =
      calls[second ? i - 1 : i] === undefined
        ? blinded(insn, second ? previous : undefined, insns[i + 1]?.imm ?? 0, random())
        : undefined;
    let last = -1;
    for (const part of parts ?? [{ ...insn }]) last = add(part, i);
    const cls = insnClass(insn.code);
    if (!second && (cls === CLASS.JMP || cls === CLASS.JMP32)) jumps.push({ at: last, from: i });
  }
  places[insns.length] = out.length;
  for (const { at, from } of jumps) relocate(program, out, places, at, from);
  return { insns: out, origin: Int32Array.from(origin), places };
}

function relocate(
  program: ExecutableProgram,
  out: readonly Insn[],
  places: Int32Array,
  at: number,
  from: number,
): void {
  const insn = out[at]!;
  const op = insnOp(insn.code);
  const narrow = insnClass(insn.code) === CLASS.JMP32;
  if (op === JMP_OP.EXIT && !narrow) return;
  const target = program.calls[from];
  if (op === JMP_OP.CALL) {
    if (target?.kind === 'subprog') insn.imm = places[program.subprogs[target.index]!.start]! - at - 1;
    return;
  }
  const long = narrow && op === JMP_OP.JA;
  const distance = places[from + 1 + (long ? insn.imm : insn.off)]! - at - 1;
  if (long) insn.imm = distance;
  else if (distance === (distance << 16) >> 16) insn.off = distance;
  else
    throw new BpfError(
      'ERANGE',
      `blinding makes the jump of instruction ${from} span ${distance} instructions`,
    );
}
