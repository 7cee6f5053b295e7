/**
 * Rotations, for which BPF has no instruction: x << k | x >> (width - k), in any order, with `|`, `^` or `+`. Found block by block:
 * values are numbered, and where both shifts are of the same one, it is kept in a local in front of the second shift, whose
 * register still holds it, and rotated where the two come together. The shifts are left to the host's compiler to drop.
 */
import { ALU_OP, CLASS, insnClass, insnOp, insnSource, LD_IMM64, SOURCE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { type Block, nextInsn } from './cfg.ts';
import { writeMask } from './usage.ts';

export interface Rotation {
  /** Which of the block's kept values it rotates, and by how much to the left. */
  readonly kept: number;
  readonly by: number;
  readonly wide: boolean;
}

export interface Rotations {
  /** Shift → number of the value that is kept in front of it, and whether all 64 bits of it. */
  readonly keep: ReadonlyMap<number, { readonly kept: number; readonly wide: boolean }>;
  /** Instruction that puts the two halves together → the rotation that it is. */
  readonly at: ReadonlyMap<number, Rotation>;
}

export const NO_ROTATIONS: Rotations = { keep: new Map(), at: new Map() };

/** More in one block are left as they are: each needs a local. */
const MOST = 64;

/** A register's value as the result of a shift. */
interface Shift {
  readonly at: number;
  readonly left: boolean;
  readonly by: number;
  /** Number of the shifted value. */
  readonly of: number;
  readonly wide: boolean;
}

const COMBINES: ReadonlySet<number> = new Set([ALU_OP.OR, ALU_OP.XOR, ALU_OP.ADD]);

/** Whether there is a shift to the left and one to the right: most blocks need no closer look. */
function hasShifts(insns: readonly Insn[], block: Block): boolean {
  let left = false;
  let right = false;
  for (let i = block.start; i < block.end; i++) {
    const code = insns[i]!.code | 3;
    if (code === (CLASS.ALU64 | ALU_OP.LSH)) left = true;
    else if (code === (CLASS.ALU64 | ALU_OP.RSH)) right = true;
  }
  return left && right;
}

export function findRotations(insns: readonly Insn[], block: Block): Rotations {
  if (!hasShifts(insns, block)) return NO_ROTATIONS;
  let numbers = 0;
  // Numbers of whole values and of low halves, by register.
  const whole = Array.from({ length: 11 }, () => numbers++);
  const low = Array.from({ length: 11 }, () => numbers++);
  const shift: (Shift | undefined)[] = new Array(11).fill(undefined);
  const keep = new Map<number, { kept: number; wide: boolean }>();
  const at = new Map<number, Rotation>();
  for (let i = block.start; i < block.end; i = nextInsn(insns, i)) {
    const insn = insns[i]!;
    const { dst, src } = insn;
    const cls = insnClass(insn.code);
    const isAlu = (cls === CLASS.ALU || cls === CLASS.ALU64) && insn.code !== LD_IMM64;
    if (!isAlu) {
      for (let mask = writeMask(insn) & 0x3ff; mask !== 0; mask &= mask - 1) {
        const register = 31 - Math.clz32(mask & -mask);
        whole[register] = numbers++;
        low[register] = numbers++;
        shift[register] = undefined;
      }
      continue;
    }
    const wide = cls === CLASS.ALU64;
    const op = insnOp(insn.code);
    const immediate = insnSource(insn.code) === SOURCE.K;
    if (dst > 9 || src > 10) return NO_ROTATIONS;
    if (op === ALU_OP.MOV && !immediate && insn.off === 0) {
      // A 32-bit move clears the upper half, and keeps what is known of the lower.
      whole[dst] = wide ? whole[src]! : numbers++;
      low[dst] = low[src]!;
      shift[dst] = wide || shift[src]?.wide === false ? shift[src] : undefined;
      continue;
    }
    const width = wide ? 64 : 32;
    let next: Shift | undefined;
    if (immediate && (op === ALU_OP.LSH || op === ALU_OP.RSH) && insn.imm > 0 && insn.imm < width)
      next = { at: i, left: op === ALU_OP.LSH, by: insn.imm, of: (wide ? whole : low)[dst]!, wide };
    else if (!immediate && COMBINES.has(op) && src < 10 && at.size < MOST) {
      const a = shift[dst];
      const b = shift[src];
      if (a !== undefined && b !== undefined && a.left !== b.left && a.of === b.of && a.by + b.by === width) {
        if (a.wide === wide && b.wide === wide) {
          const later = Math.max(a.at, b.at);
          const kept = keep.get(later)?.kept ?? keep.size;
          keep.set(later, { kept, wide });
          at.set(i, { kept, by: a.left ? a.by : b.by, wide });
        }
      }
    }
    whole[dst] = numbers++;
    low[dst] = numbers++;
    shift[dst] = next;
  }
  return at.size === 0 ? NO_ROTATIONS : { keep, at };
}
