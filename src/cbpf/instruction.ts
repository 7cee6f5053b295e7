/**
 * Classic BPF instructions (struct sock_filter; Documentation/networking/filter.rst): the table of all codes that Linux takes, and
 * the 8-byte form. Accumulator A, index X, 16 words of scratch memory; all arithmetic is on 32 bits without sign.
 */
import { BpfError } from '../util/errors.ts';

/** struct sock_filter: jumps count from the next instruction. */
export interface ClassicInsn {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  /** 32 bits without sign. */
  readonly k: number;
}

/** BPF_MAXINSNS */
export const CLASSIC_MAX_INSNS = 4096;
/** BPF_MEMWORDS */
export const SCRATCH_WORDS = 16;
const INSN_SIZE = 8;

export type ClassicAlu = 'add' | 'sub' | 'mul' | 'div' | 'or' | 'and' | 'lsh' | 'rsh' | 'neg' | 'mod' | 'xor';
export type ClassicJump = 'jeq' | 'jgt' | 'jge' | 'jset';
export type LoadSize = 'b' | 'h' | 'w';

/** What an instruction does. `k` and `x`: the operand is the constant, or the index register. */
export type ClassicOp =
  | { readonly kind: 'load'; readonly from: 'abs' | 'ind'; readonly size: LoadSize }
  | {
      readonly kind: 'load-constant' | 'load-length' | 'load-scratch' | 'store';
      readonly register: 'a' | 'x';
    }
  /** X = 4 * (packet[k] & 0xf): the length of an IPv4 header. */
  | { readonly kind: 'load-header-length' }
  | { readonly kind: 'alu'; readonly op: ClassicAlu; readonly operand: 'k' | 'x' }
  | { readonly kind: 'jump' }
  | { readonly kind: 'branch'; readonly op: ClassicJump; readonly operand: 'k' | 'x' }
  | { readonly kind: 'tax' | 'txa' }
  | { readonly kind: 'return'; readonly operand: 'k' | 'a' };

const ALU_CODES: Readonly<Record<ClassicAlu, number>> = {
  add: 0x00,
  sub: 0x10,
  mul: 0x20,
  div: 0x30,
  or: 0x40,
  and: 0x50,
  lsh: 0x60,
  rsh: 0x70,
  neg: 0x80,
  mod: 0x90,
  xor: 0xa0,
};
const JUMP_CODES: Readonly<Record<ClassicJump, number>> = { jeq: 0x10, jgt: 0x20, jge: 0x30, jset: 0x40 };
const SIZE_CODES: Readonly<Record<LoadSize, number>> = { w: 0x00, h: 0x08, b: 0x10 };
const ALU = 0x04;
const JMP = 0x05;
const ABS = 0x20;
const IND = 0x40;
const BY_X = 0x08;

function buildTable(): Map<number, ClassicOp> {
  const table = new Map<number, ClassicOp>([
    [0x00, { kind: 'load-constant', register: 'a' }],
    [0x01, { kind: 'load-constant', register: 'x' }],
    [0x80, { kind: 'load-length', register: 'a' }],
    [0x81, { kind: 'load-length', register: 'x' }],
    [0x60, { kind: 'load-scratch', register: 'a' }],
    [0x61, { kind: 'load-scratch', register: 'x' }],
    [0x02, { kind: 'store', register: 'a' }],
    [0x03, { kind: 'store', register: 'x' }],
    [0xb1, { kind: 'load-header-length' }],
    [0x05, { kind: 'jump' }],
    [0x06, { kind: 'return', operand: 'k' }],
    [0x16, { kind: 'return', operand: 'a' }],
    [0x07, { kind: 'tax' }],
    [0x87, { kind: 'txa' }],
  ]);
  for (const [size, code] of Object.entries(SIZE_CODES) as [LoadSize, number][]) {
    table.set(ABS | code, { kind: 'load', from: 'abs', size });
    table.set(IND | code, { kind: 'load', from: 'ind', size });
  }
  for (const [op, code] of Object.entries(ALU_CODES) as [ClassicAlu, number][]) {
    table.set(ALU | code, { kind: 'alu', op, operand: 'k' });
    if (op !== 'neg') table.set(ALU | code | BY_X, { kind: 'alu', op, operand: 'x' });
  }
  for (const [op, code] of Object.entries(JUMP_CODES) as [ClassicJump, number][]) {
    table.set(JMP | code, { kind: 'branch', op, operand: 'k' });
    table.set(JMP | code | BY_X, { kind: 'branch', op, operand: 'x' });
  }
  return table;
}

const BY_CODE = buildTable();

/** Undefined: no such instruction. */
export function classicOp(code: number): ClassicOp | undefined {
  return BY_CODE.get(code);
}

/** Every code that there is, for tests and generators. */
export function classicCodes(): number[] {
  return [...BY_CODE.keys()];
}

/** Little-endian, 8 bytes each. Throws EINVAL where the length is no multiple of 8. */
export function decodeClassic(bytes: Uint8Array): ClassicInsn[] {
  if (bytes.length % INSN_SIZE !== 0)
    throw new BpfError('EINVAL', `${bytes.length} bytes are no classic program: 8 bytes an instruction`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / INSN_SIZE }, (_, i) => {
    const at = i * INSN_SIZE;
    return {
      code: view.getUint16(at, true),
      jt: bytes[at + 2]!,
      jf: bytes[at + 3]!,
      k: view.getUint32(at + 4, true),
    };
  });
}

export function encodeClassic(insns: readonly ClassicInsn[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(insns.length * INSN_SIZE));
  insns.forEach(({ code, jt, jf, k }, i) => {
    const at = i * INSN_SIZE;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jt);
    view.setUint8(at + 3, jf);
    view.setUint32(at + 4, k, true);
  });
  return new Uint8Array(view.buffer);
}
