/**
 * Collects the rewritten program. Invariant: every instruction knows the one it came from, and jumps are written down
 * with the original index of their target; distances are filled in once all instructions have their places.
 */
import { INSN_SIZE } from '../asm/decode.ts';
import { encodeProgram } from '../asm/encode.ts';
import { CLASS, insnClass, insnOp, JMP_OP, PSEUDO } from '../asm/opcodes.ts';
import type { CallTarget, ValueRegion } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { BpfError, InternalError } from '../util/errors.ts';

/** What `prog dump xlated` shows in place of a 64-bit immediate that the kernel has filled in. */
export interface Shown {
  /** PSEUDO.* */
  readonly pseudo: number;
  readonly low: number;
  readonly high: number;
}

interface Fixup {
  readonly at: number;
  /** Original index of the target, or, for calls, number of the subprogram. */
  readonly target: number;
  readonly kind: 'jump' | 'call';
}

export class Emitter {
  readonly insns: Insn[] = [];
  readonly calls: (CallTarget | undefined)[] = [];
  readonly origin: number[] = [];
  readonly probeLoads = new Set<number>();
  readonly arenaAccesses = new Set<number>();
  readonly values = new Map<number, ValueRegion>();
  /** Original index → index of the first instruction that stands for it. */
  readonly places: Int32Array;
  /** Number of the subprogram → its first instruction, prologue included. */
  readonly entries: number[] = [];
  readonly #fixups: Fixup[] = [];
  readonly #shown: { at: number; shown: Shown }[] = [];

  constructor(slots: number) {
    this.places = new Int32Array(slots + 1).fill(-1);
  }

  get length(): number {
    return this.insns.length;
  }

  /** From here on, instructions stand for the original one at `index`. */
  place(index: number): void {
    this.places[index] = this.insns.length;
  }

  /** The instruction is kept as it is, not copied: nobody may change it. */
  emit(origin: number, insn: Insn, call?: CallTarget): number {
    this.insns.push(insn);
    this.calls.push(call);
    this.origin.push(origin);
    return this.insns.length - 1;
  }

  /** A jump (conditional or not) to the original instruction `target`. */
  jump(origin: number, insn: Insn, target: number): void {
    this.#fixups.push({ at: this.emit(origin, { ...insn }), target, kind: 'jump' });
  }

  callSubprog(origin: number, insn: Insn, index: number): void {
    const at = this.emit(origin, { ...insn }, { kind: 'subprog', index });
    this.#fixups.push({ at, target: index, kind: 'call' });
  }

  /** A 64-bit immediate load with its final value; `shown` is what a dump says instead. */
  immediate(origin: number, dst: number, low: number, high: number, shown?: Shown, call?: CallTarget): void {
    const at = this.emit(origin, { code: 0x18, dst, src: 0, off: 0, imm: low | 0 }, call);
    this.emit(origin, { code: 0, dst: 0, src: 0, off: 0, imm: high | 0 });
    if (shown !== undefined) this.#shown.push({ at, shown });
  }

  /** Fills in all distances. Throws BpfError ERANGE where one no longer fits its field, as Linux does. */
  link(): void {
    for (const { at, target, kind } of this.#fixups) {
      const to = kind === 'call' ? this.entries[target] : this.places[target];
      if (to === undefined || to < 0)
        throw new InternalError(`instruction ${this.origin[at]} goes to ${target}, which was removed`);
      const distance = to - at - 1;
      const insn = this.insns[at]!;
      const inImmediate =
        kind === 'call' || (insnClass(insn.code) === CLASS.JMP32 && insnOp(insn.code) === JMP_OP.JA);
      if (inImmediate) insn.imm = distance;
      else if (distance === (distance << 16) >> 16) insn.off = distance;
      else {
        throw new BpfError(
          'ERANGE',
          `the jump of instruction ${this.origin[at]} spans ${distance} instructions after rewriting`,
          {
            hint: 'jumps reach 32767 instructions; build with -mcpu=v4, whose gotol reaches further',
          },
        );
      }
    }
  }

  /** The program as a dump shows it: ids of maps in place of their addresses. */
  dump(): Uint8Array {
    const bytes = encodeProgram(this.insns);
    const view = new DataView(bytes.buffer);
    for (const { at, shown } of this.#shown) {
      const insn = at * INSN_SIZE;
      bytes[insn + 1] = (shown.pseudo << 4) | this.insns[at]!.dst;
      view.setInt32(insn + 4, shown.low, true);
      view.setInt32(insn + INSN_SIZE + 4, shown.high, true);
    }
    return bytes;
  }
}

export const SHOWN_FUNCTION: Shown = { pseudo: PSEUDO.FUNC, low: 0, high: 0 };
