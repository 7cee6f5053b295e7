/**
 * Where values are while instructions are selected: registers, constants and addresses that the instructions of a block share, folded
 * addresses. The block's instructions are collected last one first.
 */
import { ALU_OP, CLASS, SOURCE } from '../../asm/index.ts';
import { type Block, type Func, type Inst, isConst, signedValue, type Value } from '../ir/index.ts';
import { possibleBits } from '../passes/known-bits.ts';
import type { Location } from '../source/index.ts';
import { looksAt32 } from './isel-tables.ts';
import {
  FIRST_VIRTUAL,
  FRAME_POINTER,
  LD_IMM64_CODE,
  type MBlock,
  type MFunc,
  MInst,
  PSEUDO_FRAME,
  type Register,
  type Slot,
} from './mir.ts';

const fitsS16 = (value: bigint): boolean => value >= -0x8000n && value <= 0x7fffn;
export const fitsS32 = (value: bigint): boolean => value >= -0x8000_0000n && value <= 0x7fff_ffffn;

export interface Target {
  /** 1 to 4 */
  readonly cpu: number;
}

export type Complain = (code: string, message: string, location: Location | undefined) => void;

export interface Address {
  readonly base: Register;
  readonly offset: number;
  readonly slot: Slot | undefined;
  readonly core: Inst | undefined;
}

export class SelectorBase {
  readonly fn: MFunc;
  readonly cpu: number;
  readonly complain: Complain;
  readonly values = new Map<Value, Register>();
  private readonly slots = new Map<Inst, Slot>();
  protected readonly blocks = new Map<Block, MBlock>();
  protected chunk: MInst[] = [];
  /** The block's instructions so far, last one first. */
  protected reversed: MInst[] = [];
  /** Constants and addresses that later instructions of the block use, until a call. */
  protected shared = new Map<
    string,
    { readonly register: Register; readonly make: (register: Register) => void; depth: number }
  >();
  protected readonly phiCopies = new Map<Inst, Register>();

  constructor(func: Func, target: Target, complain: Complain) {
    this.fn = { func, blocks: [], registers: FIRST_VIRTUAL, slots: [], temporary: new Set() };
    this.cpu = target.cpu;
    this.complain = complain;
  }

  get alu32(): boolean {
    return this.cpu >= 3;
  }

  newRegister(): Register {
    return this.fn.registers++;
  }

  slotOf(alloca: Inst): Slot {
    let slot = this.slots.get(alloca);
    if (slot === undefined) {
      slot = { size: alloca.size, align: alloca.align, offset: 0, alloca };
      this.slots.set(alloca, slot);
      this.fn.slots.push(slot);
    }
    return slot;
  }

  emit(code: number, dst: Register, src: Register, off = 0, imm = 0): MInst {
    const mi = new MInst(code, dst, src, off, imm);
    this.chunk.push(mi);
    return mi;
  }

  move(dst: Register, src: Register): void {
    if (dst !== src) this.emit(CLASS.ALU64 | ALU_OP.MOV | SOURCE.X, dst, src);
  }

  /** `dst = value` in the shortest form; `value` zero-extended to 64 bits. */
  loadConstant(dst: Register, value: bigint): void {
    const signed = BigInt.asIntN(64, value);
    if (fitsS32(signed)) this.emit(CLASS.ALU64 | ALU_OP.MOV, dst, -1, 0, Number(signed));
    else if (this.alu32 && signed >= 0n && signed <= 0xffff_ffffn)
      this.emit(CLASS.ALU | ALU_OP.MOV, dst, -1, 0, Number(BigInt.asIntN(32, value)));
    else this.emit(LD_IMM64_CODE, dst, -1).wide = BigInt.asUintN(64, value);
  }

  /**
   * Behind conversions that change no bit of a register: both names are one register, so nothing is copied and the verifier knows
   * what it learns of one for the other too.
   */
  protected plain(value: Value): Value {
    let at = value;
    while (at.kind === 'inst') {
      const arg: Value | undefined = at.args[0];
      if (arg === undefined || arg.type === 'i1') break;
      if (at.op === 'trunc') {
        // Where the upper half is 0 already, or nobody looks at it.
        const isClean =
          at.type !== 'i32' || !this.alu32 || looksAt32(at) || possibleBits(arg) <= 0xffff_ffffn;
        if (!isClean) break;
      } else if (at.op !== 'zext' && at.op !== 'ptrtoint' && at.op !== 'inttoptr') break;
      at = arg;
    }
    return at;
  }

  /** Puts a value into a register that is given. */
  into(dst: Register, wanted: Value): void {
    const value = this.plain(wanted);
    switch (value.kind) {
      case 'const':
        this.loadConstant(dst, value.value);
        return;
      case 'undef':
        this.loadConstant(dst, 0n);
        return;
      case 'global':
      case 'function':
        this.emit(LD_IMM64_CODE, dst, -1).symbol = { target: value, addend: 0 };
        return;
      case 'inst':
        if (value.op === 'alloca') {
          this.emit(PSEUDO_FRAME, dst, -1).slot = this.slotOf(value);
          return;
        }
        if (value.op === 'ptradd') {
          const { base, offset } = this.stripConstant(value);
          if (base.kind === 'inst' && base.op === 'alloca') {
            const mi = this.emit(PSEUDO_FRAME, dst, -1, 0, offset);
            mi.slot = this.slotOf(base);
            return;
          }
          if (base.kind === 'global') {
            this.emit(LD_IMM64_CODE, dst, -1).symbol = { target: base, addend: offset };
            return;
          }
        }
        this.move(dst, this.register(value));
        return;
      case 'param':
        this.move(dst, this.register(value));
    }
  }

  /** The register that holds a value; constants and addresses are made anew or shared within the block. */
  register(wanted: Value): Register {
    const value = this.plain(wanted);
    if (value.kind === 'const' || value.kind === 'undef') {
      const number = value.kind === 'const' ? value.value : 0n;
      return this.share(`c${number}`, (register) => this.loadConstant(register, number));
    }
    if (value.kind === 'global' || value.kind === 'function')
      return this.share(`g${value.name}`, (register) => this.into(register, value));
    if (value.kind === 'inst') {
      if (value.op === 'alloca') {
        const fresh = this.newRegister();
        this.into(fresh, value);
        return fresh;
      }
      if (value.op === 'ptradd') {
        const { base, offset } = this.stripConstant(value);
        if (base.kind === 'inst' && base.op === 'alloca') {
          const fresh = this.newRegister();
          this.into(fresh, value);
          return fresh;
        }
        if (base.kind === 'global')
          return this.share(`g${base.name}+${offset}`, (register) => this.into(register, value));
      }
    }
    let register = this.values.get(value);
    if (register === undefined) {
      register = this.newRegister();
      this.values.set(value, register);
    }
    return register;
  }

  /** One register for all uses of the same thing between two calls; its definition goes before the first of them. */
  private share(key: string, make: (register: Register) => void): Register {
    const known = this.shared.get(key);
    if (known !== undefined) {
      known.depth = this.reversed.length;
      return known.register;
    }
    const register = this.newRegister();
    this.shared.set(key, { register, make, depth: this.reversed.length });
    return register;
  }

  /** Writes the definitions of what is shared: here, before everything that was selected so far. */
  protected flushShared(): void {
    if (this.shared.size === 0) return;
    const entries = [...this.shared.values()].sort((a, b) => a.depth - b.depth);
    this.shared = new Map();
    const saved = this.chunk;
    // Each goes behind the instructions that were selected when it was last asked for (reversed: before them).
    const old = this.reversed;
    const result: MInst[] = [];
    let from = 0;
    let ends = 0;
    for (const { register, make, depth } of entries) {
      while (ends < this.chunkEnds.length && this.chunkEnds[ends]! <= depth) ends++;
      const until = this.chunkEnds[ends] ?? old.length;
      for (; from < until; from++) result.push(old[from]!);
      this.chunk = [];
      make(register);
      const loc = old[until - 1]?.loc;
      for (const mi of this.chunk) mi.loc = loc;
      for (const mi of this.chunk.reverse()) result.push(mi);
    }
    for (; from < old.length; from++) result.push(old[from]!);
    this.reversed = result;
    this.chunkEnds = [result.length];
    this.chunk = saved;
  }

  /** Lengths of `reversed` after each chunk: definitions must not fall into the middle of one. */
  protected chunkEnds: number[] = [];

  protected endChunk(loc: Location | undefined): void {
    if (this.chunk.length === 0) return;
    for (const mi of this.chunk) mi.loc ??= loc;
    for (let i = this.chunk.length - 1; i >= 0; i--) this.reversed.push(this.chunk[i]!);
    this.chunk = [];
    this.chunkEnds.push(this.reversed.length);
  }

  protected stripConstant(value: Value): { base: Value; offset: number } {
    let base = value;
    let offset = 0n;
    while (base.kind === 'inst' && base.op === 'ptradd') {
      const by = base.args[1]!;
      if (!isConst(by) || !fitsS16(offset + signedValue(by))) break;
      offset += signedValue(by);
      base = base.args[0]!;
    }
    return { base, offset: Number(offset) };
  }

  address(pointer: Value): Address {
    const { base, offset } = this.stripConstant(pointer);
    if (base.kind === 'inst' && base.op === 'alloca')
      return { base: FRAME_POINTER, offset, slot: this.slotOf(base), core: undefined };
    if (base.kind === 'inst' && base.op === 'ptradd' && offset === 0) {
      const by = base.args[1]!;
      if (by.kind === 'inst' && by.op === 'core' && by.core!.relo === 0 && fitsS16(by.core!.local))
        return {
          base: this.register(base.args[0]!),
          offset: Number(by.core!.local),
          slot: undefined,
          core: by,
        };
    }
    return { base: this.register(base), offset, slot: undefined, core: undefined };
  }
}
