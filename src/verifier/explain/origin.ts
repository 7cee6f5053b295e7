/** Where the value of a register was made: the path is followed back through copies, spills and calls. */
import {
  ALU_OP,
  CALL,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  JMP_OP,
  LD_IMM64,
  MODE,
  SOURCE,
} from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import { calleeName } from './words.ts';

export interface Origin {
  /** The instruction that made the value. */
  readonly insn: number;
  /** `the result of bpf_map_lookup_elem` */
  readonly what: string;
  /** Of the result of a function: its name. */
  readonly called?: string;
}

export type FunctionName = (insn: Insn, index: number) => string;

const isAlu = (cls: number): boolean => cls === CLASS.ALU || cls === CLASS.ALU64;

/**
 * Follows register `n` back from the end of `path` (which is the instruction that uses it). Undefined: it is older than the path,
 * or made where the path does not say.
 */
export function originOf(
  insns: readonly Insn[],
  path: readonly number[],
  n: number,
  nameOf: FunctionName = calleeName,
): Origin | undefined {
  let reg = n;
  /** Stack offset that is looked for in place of a register. */
  let slot: number | null = null;
  /** Frames below the one that is looked at. */
  let depth = 0;
  for (let i = path.length - 2; i >= 0; i--) {
    const index = path[i]!;
    const insn = insns[index];
    if (insn === undefined) return undefined;
    const cls = insnClass(insn.code);
    if (cls === CLASS.JMP && insnOp(insn.code) === JMP_OP.EXIT) {
      if (depth === 0 && slot === null && reg === 0)
        return { insn: index, what: 'the result of a function of the program' };
      depth++;
      continue;
    }
    if (cls === CLASS.JMP && insnOp(insn.code) === JMP_OP.CALL) {
      if (insn.src === CALL.LOCAL) {
        if (depth > 0) {
          depth--;
          if (depth === 0 && slot === null && reg >= 1 && reg <= 5)
            return {
              insn: index,
              what: `destroyed by the call of ${nameOf(insn, index)}`,
              called: nameOf(insn, index),
            };
        } else if (slot !== null || reg === 0 || reg > 5) return undefined;
        continue;
      }
      if (depth > 0 || slot !== null || reg > 5) continue;
      const called = nameOf(insn, index);
      return {
        insn: index,
        what: reg === 0 ? `the result of ${called}` : `destroyed by the call of ${called}`,
        called,
      };
    }
    if (depth > 0) continue;
    if (slot !== null) {
      const store = cls === CLASS.STX || cls === CLASS.ST;
      if (!store || insn.dst !== 10 || insn.off !== slot || insnMode(insn.code) !== MODE.MEM) continue;
      if (cls === CLASS.ST) return { insn: index, what: `the constant ${insn.imm}` };
      reg = insn.src;
      slot = null;
      continue;
    }
    if (insn.dst !== reg) continue;
    if (isAlu(cls)) {
      const op = insnOp(insn.code);
      const register = (insn.code & SOURCE.X) !== 0;
      if (op === ALU_OP.MOV) {
        if (!register) return { insn: index, what: `the constant ${insn.imm}` };
        if (insn.src === 10) return { insn: index, what: 'the address of a variable on the stack' };
        reg = insn.src;
      } else if (op !== ALU_OP.ADD && op !== ALU_OP.SUB) {
        return { insn: index, what: 'computed' };
      }
    } else if (cls === CLASS.LDX) {
      if (insn.src !== 10 || insnMode(insn.code) !== MODE.MEM)
        return { insn: index, what: 'read from memory' };
      slot = insn.off;
    } else if (insn.code === LD_IMM64) {
      return { insn: index, what: insn.src === 0 ? 'a constant' : 'an address' };
    }
  }
  return undefined;
}
