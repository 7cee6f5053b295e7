/** Loads and stores (RFC 9669 section 5): plain, sign-extending, immediate, and probe loads that read 0 where they fault. */
import { accessBytes, CLASS, insnClass, insnMode, MODE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { PAGE } from '../memory/layout.ts';
import { BpfError } from '../util/errors.ts';
import type { FunctionContext } from './context.ts';
import { OP, TYPE } from './wasm/index.ts';
import { slotOf } from './webs.ts';

/** Access size in bytes → instruction. */
export const LOAD: Readonly<Record<number, number>> = {
  1: OP.i64Load8U,
  2: OP.i64Load16U,
  4: OP.i64Load32U,
  8: OP.i64Load,
};
const LOAD_SIGNED: Readonly<Record<number, number>> = { 1: OP.i64Load8S, 2: OP.i64Load16S, 4: OP.i64Load32S };
/** The low half of what is loaded, as an i32. */
const LOAD_LOW: Readonly<Record<number, number>> = {
  1: OP.i32Load8U,
  2: OP.i32Load16U,
  4: OP.i32Load,
  8: OP.i32Load,
};
const LOAD_LOW_SIGNED: Readonly<Record<number, number>> = {
  1: OP.i32Load8S,
  2: OP.i32Load16S,
  4: OP.i32Load,
};
const STORE_LOW: Readonly<Record<number, number>> = { 1: OP.i32Store8, 2: OP.i32Store16, 4: OP.i32Store };
export const STORE: Readonly<Record<number, number>> = {
  1: OP.i64Store8,
  2: OP.i64Store16,
  4: OP.i64Store32,
  8: OP.i64Store,
};

export function emitLoad(f: FunctionContext, insn: Insn, probe: boolean, at: number): void {
  const size = accessBytes(insn.code);
  const load = (insnMode(insn.code) === MODE.MEMSX ? LOAD_SIGNED : LOAD)[size];
  if (load === undefined || (insnMode(insn.code) !== MODE.MEM && insnMode(insn.code) !== MODE.MEMSX)) {
    throw new BpfError('EOPNOTSUPP', `jit: no translation of load 0x${insn.code.toString(16)} at ${at}`);
  }
  const slot = slotOf(f.webs.slots, insn);
  const signed = insnMode(insn.code) === MODE.MEMSX;
  if (slot >= 0) readSlot(f, insn.dst, slot, size, signed);
  else if (probe) {
    emitProbe(f, insn, load, size);
    f.set(insn.dst);
  } else if (f.definesNarrow()) {
    f.w.memory((signed ? LOAD_LOW_SIGNED : LOAD_LOW)[size]!, f.address(insn.src, insn.off));
    f.setLow(insn.dst);
  } else {
    f.w.memory(load, f.address(insn.src, insn.off));
    f.set(insn.dst);
  }
  f.known.forget(insn.dst);
}

/** R`dst` = the promoted slot; what was stored there has been cut to its size. */
function readSlot(f: FunctionContext, dst: number, slot: number, size: number, signed: boolean): void {
  const { w } = f;
  if (size === 8 && !f.definesNarrow()) {
    f.get(slot);
    f.set(dst);
    return;
  }
  f.getLow(slot);
  if (!signed) {
    f.setLow(dst);
    return;
  }
  if (size < 4) w.op(size === 1 ? OP.i32Extend8S : OP.i32Extend16S);
  w.op(OP.i64ExtendI32S);
  f.set(dst);
}

/** The promoted slot = what the instruction stores. */
function writeSlot(f: FunctionContext, insn: Insn, slot: number, size: number): void {
  const { w } = f;
  const immediate = insnClass(insn.code) === CLASS.ST;
  const mask = size === 1 ? 0xff : 0xffff;
  if (size === 8 && !f.definesNarrow()) {
    if (immediate) w.i64(insn.imm);
    else f.get(insn.src);
    f.set(slot);
    return;
  }
  if (immediate) w.i32(size < 4 ? insn.imm & mask : insn.imm);
  else {
    f.getLow(insn.src);
    if (size < 4) {
      w.i32(mask);
      w.op(OP.i32And);
    }
  }
  f.setLow(slot);
}

/** Reads 0 unless the whole access lies in kernel memory behind the NULL page. Pushes the value. */
function emitProbe(f: FunctionContext, insn: Insn, load: number, size: number): void {
  const { w } = f;
  const t = f.scratch('probe', TYPE.i64);
  // Distance from the first readable address: one unsigned comparison checks upper half and both ends.
  f.get(insn.src);
  w.i64(insn.off);
  w.op(OP.i64Add);
  w.i64Halves(PAGE, KERNEL_HI_SIGNED);
  w.op(OP.i64Sub);
  w.tee(t);
  w.op(OP.memorySize);
  w.byte(0);
  w.op(OP.i64ExtendI32U);
  w.i64(16);
  w.op(OP.i64Shl);
  w.i64(PAGE + size - 1);
  w.op(OP.i64Sub);
  w.op(OP.i64LtU);
  w.block(OP.if, TYPE.i64);
  w.get(t);
  w.op(OP.i32WrapI64);
  w.memory(load, PAGE);
  w.op(OP.else);
  w.i64(0);
  w.op(OP.end);
}

/** ST and STX in mode MEM. */
export function emitStore(f: FunctionContext, insn: Insn): void {
  const size = accessBytes(insn.code);
  const slot = slotOf(f.webs.slots, insn);
  if (slot >= 0) {
    writeSlot(f, insn, slot, size);
    return;
  }
  const offset = f.address(insn.dst, insn.off);
  const immediate = insnClass(insn.code) === CLASS.ST;
  if (size === 8) {
    if (immediate) f.w.i64(insn.imm);
    else f.get(insn.src);
    f.w.memory(OP.i64Store, offset);
    return;
  }
  if (immediate) f.w.i32(insn.imm);
  else f.getLow(insn.src);
  f.w.memory(STORE_LOW[size]!, offset);
}
