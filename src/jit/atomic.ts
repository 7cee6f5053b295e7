/**
 * Atomic instructions (RFC 9669 section 5.3; load-acquire and store-release of Linux 6.15). Nothing can come between two
 * instructions of a program while the memory belongs to one thread, so they are a load and a store then; with a shared
 * memory they are the real ones, which trap on an unaligned address.
 */
import { ATOMIC, accessBytes } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/errors.ts';
import type { FunctionContext } from './context.ts';
import { LOAD, STORE } from './memory.ts';
import { OP, TYPE } from './wasm/index.ts';

/** Operation without FETCH → instruction on values, and the real ones for 8 and 4 bytes. */
const MODIFY: Readonly<Record<number, { plain: number; atomic: Readonly<Record<number, number>> }>> = {
  [ATOMIC.ADD]: { plain: OP.i64Add, atomic: { 8: OP.i64AtomicAdd, 4: OP.i64AtomicAdd32 } },
  [ATOMIC.OR]: { plain: OP.i64Or, atomic: { 8: OP.i64AtomicOr, 4: OP.i64AtomicOr32 } },
  [ATOMIC.AND]: { plain: OP.i64And, atomic: { 8: OP.i64AtomicAnd, 4: OP.i64AtomicAnd32 } },
  [ATOMIC.XOR]: { plain: OP.i64Xor, atomic: { 8: OP.i64AtomicXor, 4: OP.i64AtomicXor32 } },
};
const EXCHANGE: Readonly<Record<number, number>> = { 8: OP.i64AtomicXchg, 4: OP.i64AtomicXchg32 };
const COMPARE: Readonly<Record<number, number>> = { 8: OP.i64AtomicCmpxchg, 4: OP.i64AtomicCmpxchg32 };
const ATOMIC_LOAD: Readonly<Record<number, number>> = {
  1: OP.i64AtomicLoad8U,
  2: OP.i64AtomicLoad16U,
  4: OP.i64AtomicLoad32U,
  8: OP.i64AtomicLoad,
};
const ATOMIC_STORE: Readonly<Record<number, number>> = {
  1: OP.i64AtomicStore8,
  2: OP.i64AtomicStore16,
  4: OP.i64AtomicStore32,
  8: OP.i64AtomicStore,
};

const log2 = (size: number): number => 31 - Math.clz32(size);

export function emitAtomic(f: FunctionContext, insn: Insn, at: number): void {
  const { w } = f;
  const { dst, src, off, imm } = insn;
  const size = accessBytes(insn.code);
  const { shared } = f.module;
  if (imm === ATOMIC.LOAD_ACQ) {
    const offset = f.address(src, off);
    if (shared) w.memory(ATOMIC_LOAD[size]!, offset, log2(size));
    else w.memory(LOAD[size]!, offset);
    write(f, dst);
    return;
  }
  if (imm === ATOMIC.STORE_REL) {
    const offset = f.address(dst, off);
    f.get(src);
    if (shared) w.memory(ATOMIC_STORE[size]!, offset, log2(size));
    else w.memory(STORE[size]!, offset);
    return;
  }
  const modify = MODIFY[imm & ~ATOMIC.FETCH];
  const exchanges = imm === ATOMIC.XCHG || imm === ATOMIC.CMPXCHG;
  if ((modify === undefined && !exchanges) || size < 4) {
    throw new BpfError(
      'EOPNOTSUPP',
      `jit: no translation of atomic operation 0x${imm.toString(16)} at ${at}`,
    );
  }
  if (shared) emitShared(f, insn, size);
  else if (imm === ATOMIC.CMPXCHG) emitCompare(f, insn, size);
  else emitUpdate(f, insn, size, modify?.plain);
}

function write(f: FunctionContext, register: number): void {
  f.set(register);
  f.known.forget(register);
}

function emitShared(f: FunctionContext, insn: Insn, size: number): void {
  const { w } = f;
  const { dst, src, off, imm } = insn;
  const offset = f.address(dst, off);
  if (imm === ATOMIC.CMPXCHG) {
    f.get(0);
    if (size === 4) {
      // The comparison is with the zero-extended value in memory.
      w.op(OP.i32WrapI64);
      w.op(OP.i64ExtendI32U);
    }
  }
  f.get(src);
  const op =
    imm === ATOMIC.CMPXCHG ? COMPARE : imm === ATOMIC.XCHG ? EXCHANGE : MODIFY[imm & ~ATOMIC.FETCH]!.atomic;
  w.memory(op[size]!, offset, log2(size));
  if (imm === ATOMIC.CMPXCHG) write(f, 0);
  else if ((imm & ATOMIC.FETCH) !== 0) write(f, src);
  else w.op(OP.drop);
}

/** Add, or, and, xor (`operation`), or exchange where there is none. */
function emitUpdate(f: FunctionContext, insn: Insn, size: number, operation: number | undefined): void {
  const { w } = f;
  const { dst, src, off, imm } = insn;
  const fetch = (imm & ATOMIC.FETCH) !== 0;
  const old = f.scratch('old', TYPE.i64);
  const address = f.scratch('address', TYPE.i32);
  const offset = f.address(dst, off);
  w.tee(address);
  w.get(address);
  w.memory(LOAD[size]!, offset);
  if (operation === undefined) {
    w.set(old);
    f.get(src);
  } else {
    if (fetch) w.tee(old);
    f.get(src);
    w.op(operation);
  }
  w.memory(STORE[size]!, offset);
  if (!fetch) return;
  w.get(old);
  write(f, src);
}

function emitCompare(f: FunctionContext, insn: Insn, size: number): void {
  const { w } = f;
  const old = f.scratch('old', TYPE.i64);
  const address = f.scratch('address', TYPE.i32);
  const offset = f.address(insn.dst, insn.off);
  w.tee(address);
  w.memory(LOAD[size]!, offset);
  w.tee(old);
  if (size === 4) {
    w.op(OP.i32WrapI64);
    f.getLow(0);
    w.op(OP.i32Eq);
  } else {
    f.get(0);
    w.op(OP.i64Eq);
  }
  w.block(OP.if, TYPE.empty);
  w.get(address);
  f.get(insn.src);
  w.memory(STORE[size]!, offset);
  w.op(OP.end);
  w.get(old);
  write(f, 0);
}
