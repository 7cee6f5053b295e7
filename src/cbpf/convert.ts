/**
 * Classic to extended BPF: a socket filter that does the same (Linux converts likewise, net/core/filter.c: bpf_convert_filter).
 * A is R0, X is R7, the packet stands in R6 where legacy packet loads want it, scratch words lie on the stack.
 *
 * Only what can be reached is converted: classic programs may have dead code, extended ones may not.
 */
import { encodeProgram, ProgramBuilder, R0, R1, R2, R3, R6, R7, R8, R10, reg } from '../asm/index.ts';
import type { Insn } from '../contracts/insn.ts';
import { UAPI_LAYOUTS } from '../uapi/index.ts';
import { type AncillaryRow, ancillaryAt } from './ancillary.ts';
import { checkClassic } from './check.ts';
import {
  type ClassicInsn,
  type ClassicJump,
  type ClassicOp,
  classicOp,
  SCRATCH_WORDS,
} from './instruction.ts';

const A = R0;
const X = R7;
const PACKET = R6;
/** Keeps A where a packet load needs R0. */
const KEPT = R8;
/** For one instruction: a constant that would be extended with its sign, a field that is asked for. */
const SCRATCH = R2;

const scratch = (word: number): number => -4 * (SCRATCH_WORDS - word);

function fieldOffset(name: string): number {
  const field = UAPI_LAYOUTS.__sk_buff.fields.find((row) => row.name === name);
  if (field === undefined) throw new Error(`__sk_buff has no field ${name}`);
  return field.offset;
}

/** Checks and converts. Throws BpfError EINVAL as `checkClassic` does. */
export function convertClassic(insns: readonly ClassicInsn[]): Insn[] {
  checkClassic(insns);
  const out = new ProgramBuilder();
  const reachable = reachableFrom(insns);
  out.mov64(PACKET, reg(R1)).mov32(A, 0).mov32(X, 0);
  insns.forEach((insn, at) => {
    if (reachable[at] === 0) return;
    out.label(label(at));
    convertInsn(out, insn, at, classicOp(insn.code)!);
  });
  return out.build();
}

/** As bytes, for PROG_LOAD of a socket filter. */
export function convertClassicToBytes(insns: readonly ClassicInsn[]): Uint8Array {
  return encodeProgram(convertClassic(insns));
}

const label = (at: number): string => `insn ${at}`;

function reachableFrom(insns: readonly ClassicInsn[]): Uint8Array {
  const reachable = new Uint8Array(insns.length);
  reachable[0] = 1;
  insns.forEach(({ code, jt, jf, k }, at) => {
    if (reachable[at] === 0) return;
    const op = classicOp(code)!;
    if (op.kind === 'return') return;
    if (op.kind === 'jump') reachable[at + 1 + k] = 1;
    else if (op.kind === 'branch') {
      reachable[at + 1 + jt] = 1;
      reachable[at + 1 + jf] = 1;
    } else reachable[at + 1] = 1;
  });
  return reachable;
}

function convertInsn(out: ProgramBuilder, { jt, jf, k }: ClassicInsn, at: number, op: ClassicOp): void {
  const register = 'register' in op && op.register === 'x' ? X : A;
  switch (op.kind) {
    case 'load': {
      const row = op.from === 'abs' ? ancillaryAt(k) : undefined;
      if (row !== undefined) convertAncillary(out, row);
      else if (op.from === 'abs') out.ldAbs(op.size, k | 0);
      else out.ldInd(op.size, X, k | 0);
      return;
    }
    case 'load-constant':
      out.mov32(register, k | 0);
      return;
    case 'load-length':
      out.ldx('w', register, PACKET, fieldOffset('len'));
      return;
    case 'load-scratch':
      out.ldx('w', register, R10, scratch(k));
      return;
    case 'store':
      out.stx('w', R10, register, scratch(k));
      return;
    case 'load-header-length':
      out.mov64(KEPT, reg(A)).ldAbs('b', k | 0);
      out.alu32('and', A, 0xf).alu32('lsh', A, 2).mov32(X, reg(A)).mov64(A, reg(KEPT));
      return;
    case 'alu':
      convertAlu(out, op, k);
      return;
    case 'jump':
      out.goto(label(at + 1 + k));
      return;
    case 'branch':
      convertBranch(out, op, k, { at, yes: at + 1 + jt, no: at + 1 + jf });
      return;
    case 'tax':
      out.mov32(X, reg(A));
      return;
    case 'txa':
      out.mov32(A, reg(X));
      return;
    case 'return':
      if (op.operand === 'k') out.mov32(A, k | 0);
      out.exit();
      return;
  }
}

function convertAlu(out: ProgramBuilder, op: ClassicOp & { kind: 'alu' }, k: number): void {
  if (op.op === 'neg') {
    out.neg(32, A);
    return;
  }
  // Division by an index of 0 ends the program and drops the packet.
  if (op.operand === 'x' && (op.op === 'div' || op.op === 'mod')) out.jmp('jne', X, 0, 2).mov32(A, 0).exit();
  out.alu32(op.op, A, op.operand === 'x' ? reg(X) : k | 0);
}

const INVERSE: Readonly<Partial<Record<ClassicJump, 'jne' | 'jle' | 'jlt'>>> = {
  jeq: 'jne',
  jgt: 'jle',
  jge: 'jlt',
};

interface BranchTargets {
  readonly at: number;
  readonly yes: number;
  readonly no: number;
}

function convertBranch(
  out: ProgramBuilder,
  op: ClassicOp & { kind: 'branch' },
  k: number,
  { at, yes, no }: BranchTargets,
): void {
  if (yes === no) {
    if (yes !== at + 1) out.goto(label(yes));
    return;
  }
  let operand = op.operand === 'x' ? reg(X) : k | 0;
  if (typeof operand === 'number' && operand < 0) {
    out.mov32(SCRATCH, operand);
    operand = reg(SCRATCH);
  }
  const inverse = INVERSE[op.op];
  if (yes === at + 1 && inverse !== undefined) {
    out.jmp(inverse, A, operand, label(no));
    return;
  }
  out.jmp(op.op, A, operand, label(yes));
  if (no !== at + 1) out.goto(label(no));
}

function convertAncillary(out: ProgramBuilder, { source, ofDevice }: AncillaryRow): void {
  if (ofDevice) out.ldx('w', SCRATCH, PACKET, fieldOffset('ifindex')).jmp('jne', SCRATCH, 0, 1).exit();
  switch (source.kind) {
    case 'field':
      out.ldx('w', A, PACKET, fieldOffset(source.name));
      if (source.swap) out.swap('be', 16, A);
      return;
    case 'helper':
      if (source.args) out.mov64(R2, reg(A)).mov64(R3, reg(X)).mov64(R1, reg(PACKET));
      out.add({ code: 0x85, dst: 0, src: 0, off: 0, imm: source.id });
      // Helpers return 64 bits, and a negative error for what is not there.
      out.mov32(A, reg(A));
      return;
    case 'xor-x':
      out.alu32('xor', A, reg(X));
      return;
  }
}
