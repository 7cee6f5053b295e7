/**
 * Atomic operations on a memory that other CPUs use at the same time: those of the host. The verifier has proven that addresses are
 * aligned.
 */
import { ATOMIC } from '../asm/opcodes.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { joinHalves } from '../util/u64.ts';
import type { Machine } from './machine.ts';
import type { Decoded } from './program.ts';

type Modify<T extends Int32Array | BigUint64Array, V> = (array: T, index: number, value: V) => V;

const MODIFY32: Readonly<Record<number, Modify<Int32Array, number>>> = {
  [ATOMIC.ADD]: (array, index, value) => Atomics.add(array, index, value),
  [ATOMIC.OR]: (array, index, value) => Atomics.or(array, index, value),
  [ATOMIC.AND]: (array, index, value) => Atomics.and(array, index, value),
  [ATOMIC.XOR]: (array, index, value) => Atomics.xor(array, index, value),
};
const MODIFY64: Readonly<Record<number, Modify<BigUint64Array, bigint>>> = {
  [ATOMIC.ADD]: (array, index, value) => Atomics.add(array, index, value),
  [ATOMIC.OR]: (array, index, value) => Atomics.or(array, index, value),
  [ATOMIC.AND]: (array, index, value) => Atomics.and(array, index, value),
  [ATOMIC.XOR]: (array, index, value) => Atomics.xor(array, index, value),
};

/** On the bytes at offset `a`. */
export function sharedAtomic32(m: Machine, program: Decoded, pc: number, a: number): void {
  const s = program.src[pc]!;
  const { i32 } = m.memory;
  const kind = program.imm[pc]!;
  const operand = m.lo[s]!;
  const set = (r: number, old: number): void => {
    m.lo[r] = old;
    m.hi[r] = 0;
    m.upto[r] = 0;
  };
  if (kind === ATOMIC.CMPXCHG) {
    set(0, Atomics.compareExchange(i32, a >>> 2, m.lo[0]!, operand));
    return;
  }
  const modify = MODIFY32[kind & ~ATOMIC.FETCH];
  const old = modify === undefined ? Atomics.exchange(i32, a >>> 2, operand) : modify(i32, a >>> 2, operand);
  if ((kind & ATOMIC.FETCH) !== 0) set(s, old);
}

/** On the bytes at offset `a`. */
export function sharedAtomic64(m: Machine, program: Decoded, pc: number, a: number): void {
  const s = program.src[pc]!;
  const { u64 } = m.memory;
  const kind = program.imm[pc]!;
  const operand = joinHalves(m.lo[s]! >>> 0, m.hi[s]! >>> 0);
  const spills = m.upto[s] !== 0;
  const set = (r: number, old: bigint): void => {
    m.lo[r] = Number(BigInt.asIntN(32, old));
    m.hi[r] = Number(BigInt.asIntN(32, old >> 32n));
    if (m.hi[r] === KERNEL_HI_SIGNED) m.fill(r, a);
    else m.upto[r] = 0;
  };
  if (kind === ATOMIC.CMPXCHG) {
    const expected = joinHalves(m.lo[0]! >>> 0, m.hi[0]! >>> 0);
    const old = Atomics.compareExchange(u64, a >>> 3, expected, operand);
    if (old === expected && spills) m.spill(s, a);
    set(0, old);
    return;
  }
  const modify = MODIFY64[kind & ~ATOMIC.FETCH];
  if (modify === undefined && spills) m.spill(s, a);
  const old = modify === undefined ? Atomics.exchange(u64, a >>> 3, operand) : modify(u64, a >>> 3, operand);
  if ((kind & ATOMIC.FETCH) !== 0) set(s, old);
}
