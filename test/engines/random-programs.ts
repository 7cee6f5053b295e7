/** Random programs, seeded, and what they compute according to the bigint reference. */
import * as asm from '../../src/asm/index.ts';
import { INSN_ROWS, type InsnRow, rowOf } from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { aluResult, atomicResult, jumpTaken } from './reference.ts';
import { IMM_EDGES, U64_EDGES } from './support.ts';

/** mulberry32: 32 bits a call. */
export function randomSource(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

const ALU = INSN_ROWS.filter(
  (r) => (r.group === 'alu32' || r.group === 'alu64') && !r.internal && r.op !== 'addr_space_cast',
);
const JUMPS = INSN_ROWS.filter((r) => (r.group === 'jmp' || r.group === 'jmp32') && r.source !== 'none');
const ATOMICS = INSN_ROWS.filter((r) => r.group === 'atomic' && r.op.startsWith('atomic_'));
const LOADS = INSN_ROWS.filter((r) => r.group === 'load');
const STORES = INSN_ROWS.filter((r) => r.group === 'store' && !r.internal);

/** Bytes of stack that programs use; all of it is written first. */
const STACK = 64;
/** Registers that random instructions use; R6 keeps the context, R10 the stack. */
const REGS: readonly asm.Reg[] = [0, 1, 2, 3, 4, 5, 7, 8, 9];

/** Straight code with forward jumps and bounded loops. Registers and the stack go to the context at the end. */
export function randomProgram(seed: number, length = 60): Insn[] {
  const next = randomSource(seed);
  const pick = <T>(from: readonly T[]): T => from[next() % from.length]!;
  const value = (): bigint => (next() % 3 === 0 ? (BigInt(next()) << 32n) | BigInt(next()) : pick(U64_EDGES));
  const imm = (): number => (next() % 3 === 0 ? next() | 0 : pick(IMM_EDGES));
  const insns: Insn[] = [asm.mov64Reg(6, 1)];
  for (let at = 8; at <= STACK; at += 8) insns.push(...asm.ldImm64(0, value()), asm.stx('dw', 10, 0, -at));
  for (const r of REGS) insns.push(...asm.ldImm64(r, value()));

  const operand = (row: InsnRow, extra: { off?: number } = {}): Insn =>
    asm.insn(row.name, {
      dst: pick(REGS),
      ...(row.fields.includes('src') ? { src: pick(REGS) } : {}),
      ...(row.fields.includes('imm') ? { imm: imm() } : {}),
      ...extra,
    });
  const slot = (row: InsnRow): number => {
    const size = (row.width as number) / 8;
    return -size * (1 + (next() % (STACK / size)));
  };
  const body: Insn[] = [];
  while (body.length < length) {
    const kind = next() % 10;
    if (kind < 6) body.push(operand(pick(ALU)));
    else if (kind === 6) {
      const row = pick(LOADS);
      body.push({ ...operand(row, { off: slot(row) }), src: 10 });
    } else if (kind === 7) {
      const row = pick(STORES);
      body.push({ ...operand(row, { off: slot(row) }), dst: 10 });
    } else if (kind === 8) {
      const row = pick(ATOMICS);
      body.push({ ...operand(row, { off: slot(row) }), dst: 10 });
    } else body.push(operand(pick(JUMPS), { off: next() % 6 }));
  }
  // No jump may leave the body.
  body.forEach((insn, i) => {
    if (rowOf(insn)?.fields.includes('off') && JUMPS.some((r) => r.code === insn.code))
      insn.off = Math.min(insn.off, length - 1 - i);
  });
  insns.push(...body);
  REGS.forEach((r, i) => {
    insns.push(asm.stx('dw', 6, r, 8 * i));
  });
  for (let at = 8; at <= STACK; at += 8)
    insns.push(asm.ldx('dw', 1, 10, -at), asm.stx('dw', 6, 1, 8 * REGS.length + at));
  insns.push(asm.exit());
  return insns;
}

export interface ReferenceResult {
  readonly r0: bigint;
  /** First 256 bytes of the context. */
  readonly memory: Uint8Array;
}

/** Runs a program of `randomProgram` on the reference. */
export function runReference(insns: readonly Insn[]): ReferenceResult {
  const STACK_TOP = 1n << 20n;
  const CTX = 1n << 16n;
  const stack = new Uint8Array(512);
  const ctx = new Uint8Array(256);
  // R0..R10, and the register that blinding uses.
  const regs: bigint[] = new Array(12).fill(0n);
  regs[1] = CTX;
  regs[10] = STACK_TOP;
  const place = (address: bigint): { bytes: Uint8Array; at: number } =>
    address >= STACK_TOP - 512n
      ? { bytes: stack, at: Number(address - STACK_TOP + 512n) }
      : { bytes: ctx, at: Number(address - CTX) };
  const load = (address: bigint, size: number): bigint => {
    const { bytes, at } = place(address);
    let v = 0n;
    for (let i = size - 1; i >= 0; i--) v = (v << 8n) | BigInt(bytes[at + i]!);
    return v;
  };
  const store = (address: bigint, size: number, v: bigint): void => {
    const { bytes, at } = place(address);
    for (let i = 0; i < size; i++) bytes[at + i] = Number((v >> BigInt(8 * i)) & 0xffn);
  };
  for (let pc = 0; ; pc++) {
    const insn = insns[pc]!;
    const row = rowOf(insn)!;
    const size = (row.width as number) / 8;
    const immediate = BigInt.asUintN(64, BigInt(insn.imm));
    const second = row.source === 'reg' ? regs[insn.src]! : immediate;
    switch (row.group) {
      case 'alu32':
      case 'alu64':
        regs[insn.dst] = aluResult(row, regs[insn.dst]!, second);
        break;
      case 'jmp':
      case 'jmp32':
        if (jumpTaken(row, regs[insn.dst]!, second)) pc += insn.off;
        break;
      case 'imm64':
        regs[insn.dst] = (BigInt(insns[pc + 1]!.imm >>> 0) << 32n) | BigInt(insn.imm >>> 0);
        pc++;
        break;
      case 'load': {
        const v = load(regs[insn.src]! + BigInt(insn.off), size);
        regs[insn.dst] = row.op === 'ldxs' ? BigInt.asUintN(64, BigInt.asIntN(row.width, v)) : v;
        break;
      }
      case 'store':
        store(regs[insn.dst]! + BigInt(insn.off), size, second);
        break;
      case 'atomic': {
        const address = regs[insn.dst]! + BigInt(insn.off);
        const result = atomicResult(row, load(address, size), regs[insn.src]!, regs[0]!);
        store(address, size, result.memory);
        if (row.op === 'atomic_cmpxchg') regs[0] = result.r0;
        else regs[insn.src] = result.source;
        break;
      }
      case 'exit':
        return { r0: regs[0]!, memory: ctx };
      default:
        throw new Error(`the reference has no ${row.name}`);
    }
  }
}
