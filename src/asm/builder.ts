/**
 * A program builder with labels: methods append instructions, `build` resolves the labels.
 *
 *     new ProgramBuilder().mov64(R0, 0).ldx('dw', R1, R2, 8).jmp('jeq', R1, 5, 'out').call('bpf_get_prandom_u32')
 *       .label('out').exit().build()
 *
 * Where an operand may be a register or a constant, a constant is a number and a register is written `reg(R2)`.
 */
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/index.ts';
import * as c from './construct.ts';

/** A register where a constant could stand as well. */
export interface RegisterOperand {
  readonly register: c.Reg;
}

export const reg = (register: c.Reg): RegisterOperand => ({ register });

/** A constant, or `reg(R1)`. */
export type Source = number | RegisterOperand;
/** A label, or a distance in slots from the next instruction. */
export type Target = string | number;

interface OpenTarget {
  readonly slot: number;
  readonly label: string;
  readonly field: 'off' | 'imm';
}

export class ProgramBuilder {
  readonly #insns: Insn[] = [];
  readonly #labels = new Map<string, number>();
  readonly #open: OpenTarget[] = [];

  /** Slots so far: the index of the next instruction. */
  get length(): number {
    return this.#insns.length;
  }

  /** Appends instructions as they are. */
  add(...insns: readonly Insn[]): this {
    for (const insn of insns) this.#insns.push({ ...insn });
    return this;
  }

  /** Names the next instruction. Throws BpfError EINVAL where the name is taken. */
  label(name: string): this {
    if (this.#labels.has(name)) throw new BpfError('EINVAL', `the label "${name}" is defined twice`);
    this.#labels.set(name, this.#insns.length);
    return this;
  }

  #distance(target: Target, field: 'off' | 'imm'): number {
    if (typeof target === 'number') return target;
    this.#open.push({ slot: this.#insns.length, label: target, field });
    return 0;
  }

  #alu(width: c.Width, op: c.AluOp, dst: c.Reg, source: Source): this {
    return this.add(
      typeof source === 'number'
        ? c.aluImm(width, op, dst, source)
        : c.aluReg(width, op, dst, source.register),
    );
  }

  alu64(op: c.AluOp, dst: c.Reg, source: Source): this {
    return this.#alu(64, op, dst, source);
  }

  alu32(op: c.AluOp, dst: c.Reg, source: Source): this {
    return this.#alu(32, op, dst, source);
  }

  mov64(dst: c.Reg, source: Source): this {
    return this.#alu(64, 'mov', dst, source);
  }

  mov32(dst: c.Reg, source: Source): this {
    return this.#alu(32, 'mov', dst, source);
  }

  neg(width: c.Width, dst: c.Reg): this {
    return this.add(c.neg(width, dst));
  }

  movsx(width: c.Width, from: 8 | 16 | 32, dst: c.Reg, src: c.Reg): this {
    return this.add(c.movsx(width, from, dst, src));
  }

  swap(kind: 'le' | 'be' | 'bswap', bits: 16 | 32 | 64, dst: c.Reg): this {
    return this.add(c.swap(kind, bits, dst));
  }

  ldx(size: c.MemSize, dst: c.Reg, src: c.Reg, off = 0): this {
    return this.add(c.ldx(size, dst, src, off));
  }

  ldxs(size: 'b' | 'h' | 'w', dst: c.Reg, src: c.Reg, off = 0): this {
    return this.add(c.ldxs(size, dst, src, off));
  }

  stx(size: c.MemSize, dst: c.Reg, src: c.Reg, off = 0): this {
    return this.add(c.stx(size, dst, src, off));
  }

  st(size: c.MemSize, dst: c.Reg, off: number, imm: number): this {
    return this.add(c.st(size, dst, off, imm));
  }

  atomic(op: c.AtomicOp, size: 'w' | 'dw', dst: c.Reg, src: c.Reg, off = 0): this {
    return this.add(c.atomic(op, size, dst, src, off));
  }

  loadAcquire(size: c.MemSize, dst: c.Reg, src: c.Reg, off = 0): this {
    return this.add(c.loadAcquire(size, dst, src, off));
  }

  storeRelease(size: c.MemSize, dst: c.Reg, src: c.Reg, off = 0): this {
    return this.add(c.storeRelease(size, dst, src, off));
  }

  ldAbs(size: 'b' | 'h' | 'w', offset: number): this {
    return this.add(c.ldAbs(size, offset));
  }

  ldInd(size: 'b' | 'h' | 'w', src: c.Reg, offset: number): this {
    return this.add(c.ldInd(size, src, offset));
  }

  ldImm64(dst: c.Reg, value: bigint): this {
    return this.add(...c.ldImm64(dst, value));
  }

  ldMapFd(dst: c.Reg, fd: number): this {
    return this.add(...c.ldMapFd(dst, fd));
  }

  ldMapValue(dst: c.Reg, fd: number, off = 0): this {
    return this.add(...c.ldMapValue(dst, fd, off));
  }

  /** The address of a function of this program. */
  ldFunc(dst: c.Reg, target: Target): this {
    const distance = this.#distance(target, 'imm');
    return this.add(...c.ldFunc(dst, distance));
  }

  #jump(width: c.Width, op: c.JumpOp, dst: c.Reg, source: Source, target: Target): this {
    const off = this.#distance(target, 'off');
    return this.add(
      typeof source === 'number'
        ? c.jumpImm(width, op, dst, source, off)
        : c.jumpReg(width, op, dst, source.register, off),
    );
  }

  jmp(op: c.JumpOp, dst: c.Reg, source: Source, target: Target): this {
    return this.#jump(64, op, dst, source, target);
  }

  jmp32(op: c.JumpOp, dst: c.Reg, source: Source, target: Target): this {
    return this.#jump(32, op, dst, source, target);
  }

  goto(target: Target): this {
    return this.add(c.ja(this.#distance(target, 'off')));
  }

  gotol(target: Target): this {
    return this.add(c.gotol(this.#distance(target, 'imm')));
  }

  mayGoto(target: Target): this {
    return this.add(c.mayGoto(this.#distance(target, 'off')));
  }

  /** A helper by name or number. */
  callHelper(helper: number | string): this {
    return this.add(c.callHelper(helper));
  }

  /** A function of this program. */
  callLocal(target: Target): this {
    return this.add(c.callLocal(this.#distance(target, 'imm')));
  }

  callKfunc(btfId: number, fdIndex = 0): this {
    return this.add(c.callKfunc(btfId, fdIndex));
  }

  exit(): this {
    return this.add(c.exit());
  }

  /** The program, labels resolved. Throws BpfError EINVAL for a label that is missing or out of reach. */
  build(): Insn[] {
    const insns = this.#insns.map((insn) => ({ ...insn }));
    for (const { slot, label, field } of this.#open) {
      const at = this.#labels.get(label);
      if (at === undefined) {
        throw new BpfError(
          'EINVAL',
          `instruction ${slot} goes to the label "${label}", which is not defined`,
        );
      }
      const distance = at - slot - 1;
      if (field === 'off' && (distance < -0x8000 || distance > 0x7fff)) {
        throw new BpfError('EINVAL', `instruction ${slot}: "${label}" is ${distance} slots away`, {
          hint: 'a jump reaches 32767 slots; gotol reaches further',
        });
      }
      insns[slot]![field] = distance;
    }
    return insns;
  }
}
