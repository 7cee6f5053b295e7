/** Operations on constants, as the machine does them (RFC 9669 section 4.1). */
import { type BinaryOp, bitsOf, type IrType, type Predicate } from '../ir/index.ts';
import { bitLength } from './masks.ts';

export function foldBinary(op: BinaryOp, type: IrType, a: bigint, b: bigint): bigint | undefined {
  const bits = bitsOf(type);
  const s = (v: bigint): bigint => BigInt.asIntN(bits, v);
  switch (op) {
    case 'add':
      return a + b;
    case 'sub':
      return a - b;
    case 'mul':
      return a * b;
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'udiv':
      // As the machine does it: RFC 9669 section 4.1.
      return b === 0n ? 0n : a / b;
    case 'urem':
      return b === 0n ? a : a % b;
    case 'sdiv':
      return b === 0n ? 0n : s(a) / s(b);
    case 'srem':
      return b === 0n ? a : s(a) % s(b);
    case 'shl':
      return a << (b & BigInt(bits - 1));
    case 'lshr':
      return a >> (b & BigInt(bits - 1));
    case 'ashr':
      return s(a) >> (b & BigInt(bits - 1));
  }
}

export function foldCompare(pred: Predicate, type: IrType, a: bigint, b: bigint): boolean {
  const bits = bitsOf(type);
  const x = BigInt.asIntN(bits, a);
  const y = BigInt.asIntN(bits, b);
  switch (pred) {
    case 'eq':
      return a === b;
    case 'ne':
      return a !== b;
    case 'ult':
      return a < b;
    case 'ule':
      return a <= b;
    case 'ugt':
      return a > b;
    case 'uge':
      return a >= b;
    case 'slt':
      return x < y;
    case 'sle':
      return x <= y;
    case 'sgt':
      return x > y;
    case 'sge':
      return x >= y;
  }
}

export function swapBytes(value: bigint, bits: number): bigint {
  let result = 0n;
  for (let at = 0; at < bits; at += 8) result = (result << 8n) | ((value >> BigInt(at)) & 0xffn);
  return result;
}

export const isPowerOf2 = (n: bigint): boolean => n > 0n && (n & (n - 1n)) === 0n;
export const log2 = (n: bigint): bigint => BigInt(bitLength(n) - 1);
