/**
 * Decoding once, before the first run: instructions become parallel arrays with small operation numbers.
 *
 * Operation numbers are opcode bytes (RFC 9669 section 3); what an opcode byte alone does not tell apart gets a number
 * from 0x100 on (`OP`). Jump targets are absolute. Load-acquire and store-release are plain loads and stores here: one
 * thread runs at a time.
 */
import {
  ALU_OP,
  ATOMIC,
  accessBytes,
  BUDGET_CHECK_IMM,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  insnSize,
  JMP_OP,
  LD_IMM64,
  MODE,
  MOV_OFF,
  SOURCE,
} from '../asm/opcodes.ts';
import type { ExecutableProgram } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { BpfError } from '../util/errors.ts';
import { planCall } from './call-plan.ts';
import type { CallPlan, Decoded } from './program.ts';
import { expanded, usage } from './strict.ts';

/** Signed division and remainder: 0x100 + opcode. */
export const SIGNED = 0x100;
/** Loads that read 0 where they would fault: 0x400 + opcode. */
export const PROBE = 0x400;
/** Accesses of the arena: 0x800 + operation. */
export const ARENA = 0x800;
/** Loads and stores that are to look at what was written to the stack: 0x1000 + operation. */
export const CHECKED = 0x1000;
/** Numbers of operations that share an opcode byte with another one. */
export const OP = {
  LD_IMM64_POINTER: 0x118,
  LD_IMM64_VALUE: 0x218,
  MOVSX32: 0x2bc,
  MOVSX64: 0x2bf,
  ATOMIC32: 0xc3,
  ATOMIC64: 0xdb,
  BUDGET_CHECK: 0xc2,
  CAST_TO_USER: 0x1bf,
} as const;

function refuse(program: ExecutableProgram, i: number, what: string): never {
  throw new BpfError('EINVAL', `program ${program.name}: instruction ${i}: ${what}`, {
    hint: 'only verified and rewritten programs can be run',
  });
}

const EXIT = CLASS.JMP | JMP_OP.EXIT;
const SIGNED_OPS: ReadonlySet<number> = new Set([ALU_OP.DIV, ALU_OP.MOD]);
const ATOMIC_OPS: ReadonlySet<number> = new Set([
  ...[ATOMIC.ADD, ATOMIC.OR, ATOMIC.AND, ATOMIC.XOR].flatMap((op) => [op, op | ATOMIC.FETCH]),
  ATOMIC.XCHG,
  ATOMIC.CMPXCHG,
]);

function aluOp(program: ExecutableProgram, i: number, insn: Insn): number {
  const { code, off } = insn;
  const op = insnOp(code);
  if (op > ALU_OP.END) refuse(program, i, `unknown operation 0x${code.toString(16)}`);
  if (op === ALU_OP.END) {
    if (insn.imm !== 16 && insn.imm !== 32 && insn.imm !== 64)
      refuse(program, i, `byte swap of ${insn.imm} bits`);
    return code;
  }
  if (off === 0) return code;
  if (SIGNED_OPS.has(op) && off === 1) return code | SIGNED;
  if (op === ALU_OP.MOV && (code & SOURCE.X) !== 0) {
    const wide = insnClass(code) === CLASS.ALU64;
    if (off === 8 || off === 16 || (wide && off === 32)) return wide ? OP.MOVSX64 : OP.MOVSX32;
    if (wide && off === MOV_OFF.ADDR_SPACE_CAST && program.arena !== undefined) return OP.CAST_TO_USER;
  }
  return refuse(program, i, `operation 0x${code.toString(16)} with offset ${off}`);
}

function memoryOp(program: ExecutableProgram, i: number, insn: Insn): number {
  const { code } = insn;
  const mode = insnMode(code);
  const cls = insnClass(code);
  if (mode === MODE.MEM) return code;
  // The mode is that of atomic operations as well, which are stores of registers.
  if (mode === MODE.NOSPEC && cls === CLASS.ST && insn.imm === BUDGET_CHECK_IMM && program.budgeted)
    return OP.BUDGET_CHECK;
  if (mode === MODE.MEMSX && cls === CLASS.LDX && accessBytes(code) < 8) return code;
  if (mode === MODE.ATOMIC && cls === CLASS.STX) {
    if (insn.imm === ATOMIC.LOAD_ACQ) return CLASS.LDX | MODE.MEM | insnSize(code);
    if (insn.imm === ATOMIC.STORE_REL) return CLASS.STX | MODE.MEM | insnSize(code);
    if (accessBytes(code) >= 4 && ATOMIC_OPS.has(insn.imm)) return code;
    refuse(program, i, `unknown atomic operation 0x${(insn.imm >>> 0).toString(16)}`);
  }
  return refuse(program, i, `unknown memory access 0x${code.toString(16)}`);
}

/** Gives the token of a callback of the program that is being decoded. */
export type CallbackMaker = (program: Decoded, index: number, params: readonly ('u32' | 'ptr')[]) => number;

/** Throws BpfError EINVAL at the first instruction that a verified and rewritten program cannot hold. */
/** What a strict program is strict about. */
export type Strictness = 'nothing' | 'registers' | 'stack';

export function decode(
  program: ExecutableProgram,
  strictness: Strictness,
  makeCallback: CallbackMaker,
): Decoded {
  const strict = strictness !== 'nothing';
  const { insns } = program;
  const count = insns.length;
  const op = new Uint16Array(count);
  const dst = new Uint8Array(count);
  const src = new Uint8Array(count);
  const off = new Int32Array(count);
  const imm = new Int32Array(count);
  const reads = new Uint16Array(count);
  const writes = new Uint16Array(count);
  const calls: (CallPlan | undefined)[] = new Array(count).fill(undefined);
  const tokens: number[] = [];
  const decoded: Decoded = {
    program,
    op,
    dst,
    src,
    off,
    imm,
    reads,
    writes,
    calls,
    subprogs: program.subprogs,
    tokens,
  };
  const registerCallback = (index: number, params: readonly ('u32' | 'ptr')[]): number => {
    const token = makeCallback(decoded, index, params);
    tokens.push(token);
    return token;
  };

  const target = (i: number, distance: number): number => {
    const to = i + 1 + distance;
    if (to < 0 || to >= count) refuse(program, i, `jump to ${to}, outside of the program`);
    return to;
  };

  const main = program.subprogs[0];
  for (let i = 0; i < count; i++) {
    const insn = insns[i]!;
    const { code } = insn;
    if (insn.dst > 10 || insn.src > 10) refuse(program, i, 'there are registers R0 to R10 only');
    dst[i] = insn.dst;
    src[i] = insn.src;
    off[i] = insn.off;
    imm[i] = insn.imm;
    if (strict) {
      const used = usage(insn);
      const leavesFunction = insn.code === EXIT && main !== undefined && (i < main.start || i >= main.end);
      reads[i] = expanded(program, i) || leavesFunction ? 0 : used.reads;
      writes[i] = used.writes;
    }
    const call = program.calls[i];
    switch (insnClass(code)) {
      case CLASS.ALU:
      case CLASS.ALU64:
        op[i] = aluOp(program, i, insn);
        break;
      case CLASS.JMP:
      case CLASS.JMP32: {
        const jump = insnOp(code);
        const wide = insnClass(code) === CLASS.JMP;
        if (wide && jump === JMP_OP.CALL) {
          if (call === undefined) refuse(program, i, `call of ${insn.imm} without a target`);
          calls[i] = planCall(call, registerCallback);
        } else if (jump === JMP_OP.JA) {
          off[i] = target(i, wide ? insn.off : insn.imm);
        } else if (jump < JMP_OP.CALL || (jump > JMP_OP.EXIT && jump < JMP_OP.JCOND)) {
          off[i] = target(i, insn.off);
        } else if (!(wide && jump === JMP_OP.EXIT)) {
          refuse(program, i, `unknown jump 0x${code.toString(16)}`);
        }
        op[i] = jump === JMP_OP.JA ? CLASS.JMP : code;
        break;
      }
      case CLASS.LD: {
        if (code !== LD_IMM64) refuse(program, i, 'legacy packet loads are rewritten before they run');
        const upper = insns[i + 1];
        if (upper === undefined || upper.code !== 0) refuse(program, i, 'half of a 64-bit immediate load');
        if (call !== undefined) {
          calls[i] = planCall(call, registerCallback);
          op[i] = code;
          imm[i] = calls[i]!.token;
          off[i] = 0;
        } else {
          if (insn.src !== 0) refuse(program, i, 'pseudo loads are rewritten before they run');
          op[i] = upper.imm === KERNEL_HI_SIGNED ? OP.LD_IMM64_POINTER : code;
          off[i] = upper.imm;
          const region = program.values?.get(i);
          if (region !== undefined) {
            op[i] = OP.LD_IMM64_VALUE;
            calls[i] = { kind: 'value', region, token: 0 };
          }
        }
        // The second slot is never reached: it decodes to something that faults.
        op[++i] = 0;
        break;
      }
      default:
        op[i] = memoryOp(program, i, insn);
        if (program.probeLoads.has(i) && (op[i]! & 7) === CLASS.LDX) op[i]! |= PROBE;
        if (program.arena?.accesses.has(i)) op[i]! |= ARENA;
        else if (strictness === 'stack' && op[i]! < PROBE && op[i] !== OP.BUDGET_CHECK) op[i]! |= CHECKED;
    }
  }
  return decoded;
}
