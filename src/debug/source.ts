/**
 * What a program's debug information says of its instructions: function, file, line. Built once a program, from the records that it
 * was loaded with (`.BTF.ext`); without them functions are those of the verifier, and there are no lines.
 */
import { CLASS, insnClass, insnOp, JMP_OP, LD_IMM64 } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { ObservedProgram } from '../contracts/observe.ts';
import type { LineInfo } from '../contracts/verify.ts';

export interface SourceFunction {
  readonly name: string;
  /** Instructions of the program as loaded; `end` is the first behind it. */
  readonly start: number;
  readonly end: number;
  /** BTF id of the `func`; 0 where the program came without types. */
  readonly typeId: number;
}

/** Ends a run of instructions that follow one another, whichever way it goes. */
export function isJump(insn: Insn): boolean {
  const cls = insnClass(insn.code);
  if (cls !== CLASS.JMP && cls !== CLASS.JMP32) return false;
  const op = insnOp(insn.code);
  return !(cls === CLASS.JMP && (op === JMP_OP.CALL || op === JMP_OP.EXIT));
}

/** A jump that may be made or not, with somewhere else to go. */
export function isConditional(insn: Insn): boolean {
  return isJump(insn) && insnOp(insn.code) !== JMP_OP.JA && insn.off !== 0;
}

export class ProgramSource {
  readonly program: ObservedProgram;
  readonly functions: readonly SourceFunction[];
  /** Number in `lines` of each instruction's record, -1: none. Records without a line number count as none. */
  readonly lineOf: Int32Array;
  readonly lines: readonly LineInfo[];
  /** 1: a record begins at the instruction. */
  readonly lineStarts: Uint8Array;
  readonly #functionOf: Int32Array;

  constructor(program: ObservedProgram) {
    this.program = program;
    const { insns, btf } = program;
    const starts =
      program.funcs.length > 0 && btf !== undefined
        ? program.funcs.map(({ insn, typeId }) => ({ start: insn, name: btf.name(typeId), typeId }))
        : program.executable.subprogs.map(({ start, name }) => ({
            start: program.executable.origin[start] ?? 0,
            name,
            typeId: 0,
          }));
    this.functions = starts
      .sort((a, b) => a.start - b.start)
      .map((one, i, all) => ({ ...one, end: all[i + 1]?.start ?? insns.length }));
    this.#functionOf = new Int32Array(insns.length).fill(-1);
    this.functions.forEach(({ start, end }, i) => {
      this.#functionOf.fill(i, start, end);
    });
    this.lines = program.lines;
    this.lineOf = new Int32Array(insns.length).fill(-1);
    this.lineStarts = new Uint8Array(insns.length);
    for (const { insn } of program.lines) this.lineStarts[insn] = 1;
    const order = program.lines.map((_, i) => i).sort((a, b) => this.lines[a]!.insn - this.lines[b]!.insn);
    order.forEach((record, i) => {
      const from = this.lines[record]!.insn;
      const upto = Math.min(this.lines[order[i + 1] ?? -1]?.insn ?? insns.length, insns.length);
      if (this.lines[record]!.line > 0) this.lineOf.fill(record, from, upto);
    });
    // A record does not reach beyond its function.
    for (const { start } of this.functions)
      if (!order.some((record) => this.lines[record]!.insn === start))
        for (let i = start; i < insns.length && this.lineOf[i] === this.lineOf[start - 1]; i++)
          if (start > 0) this.lineOf[i] = -1;
  }

  functionAt(insn: number): SourceFunction | undefined {
    return this.functions[this.#functionOf[insn] ?? -1];
  }

  /** Number of the function around an instruction, -1: none. */
  functionIndex(insn: number): number {
    return this.#functionOf[insn] ?? -1;
  }

  lineAt(insn: number): LineInfo | undefined {
    return this.lines[this.lineOf[insn] ?? -1];
  }

  /** Whether an entry of `insns` is an instruction, not the upper half of a 64-bit load. */
  isInsn(index: number): boolean {
    return !(index > 0 && this.program.insns[index - 1]?.code === LD_IMM64);
  }
}
