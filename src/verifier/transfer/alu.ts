/**
 * Arithmetic: scalars by the domain, pointers plus or minus scalars with their offsets kept sane, everything else on
 * pointers refused. Kernel 6.18: check_alu_op, adjust_ptr_min_max_vals, adjust_scalar_min_max_vals.
 */
import { ALU_OP, CLASS, insnClass, insnOp, MOV_OFF, SOURCE } from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import { markPrecise } from '../backtrack.ts';
import {
  constantFromNumber,
  constantUnsigned32,
  constNumber,
  constSigned,
  forkScalar,
  formatVarOff,
  isConst,
  isCrossed,
  isPinned,
  linkAfterAlu,
  movSignExtend,
  pointerOffsetAlu,
  type Scalar,
  scalarAlu,
  scalarEndian,
  sminNumber,
  umaxNumber,
  zext32,
} from '../domain/index.ts';
import type { Env } from '../env.ts';
import { MAX_VAR_OFF } from '../limits.ts';
import {
  CONST_PTR_TO_DYNPTR,
  CONST_PTR_TO_MAP,
  isPacketPointer,
  linkedScalar,
  linkOf,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_CTX,
  PTR_TO_FLOW_KEYS,
  PTR_TO_FUNC,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_STACK,
  PTR_TO_TP_BUFFER,
  PTR_UNTRUSTED,
  pointerReg,
  type Reg,
  SCALAR,
  scalarReg,
  typeName,
  UNKNOWN_REG,
} from '../registers.ts';
import { closeAluWindow, openAluWindow, sanitizeScalarAlu } from '../sanitize.ts';
import { STACK_LIMIT } from '../state.ts';
import { sanityCheck } from './load-store.ts';
import { checkMapValue } from './map-value.ts';
import { fitsBytes, linkBeforeCopy } from './stack.ts';

const SIGNS = [
  '+=',
  '-=',
  '*=',
  '/=',
  '|=',
  '&=',
  '<<=',
  '>>=',
  'neg',
  '%=',
  '^=',
  '=',
  's>>=',
  'endian',
] as const;

const ARITHMETIC_KINDS = new Set([
  PTR_TO_CTX,
  PTR_TO_MAP_VALUE,
  PTR_TO_MAP_KEY,
  PTR_TO_STACK,
  PTR_TO_PACKET_META,
  PTR_TO_PACKET,
  PTR_TO_TP_BUFFER,
  PTR_TO_BTF_ID,
  PTR_TO_MEM,
  PTR_TO_BUF,
  PTR_TO_FUNC,
  CONST_PTR_TO_DYNPTR,
]);

const MAX_OFF = BigInt(MAX_VAR_OFF);

function isNear(off: number): boolean {
  return off < MAX_VAR_OFF && off > -MAX_VAR_OFF;
}

/** Offsets so large that sums could overflow are refused. */
function checkSane(env: Env, v: Scalar, off: number, type: number): void {
  if (!isNear(off) || !isNear(sminNumber(v)) || (isConst(v) && !isNear(constNumber(v)))) {
    refuseFar(env, v, off, typeName(type));
  }
}

function refuseFar(env: Env, v: Scalar, off: number, name: string): void {
  if (isConst(v)) {
    const value = constSigned(v);
    if (value >= MAX_OFF || value <= -MAX_OFF) {
      env.fail('EINVAL', `math between ${name} pointer and ${value} is not allowed`, {
        kind: 'pointer_offset',
        given: name,
        detail: 'huge',
      });
    }
  }
  if (off >= MAX_VAR_OFF || off <= -MAX_VAR_OFF) {
    env.fail('EINVAL', `${name} pointer offset ${off} is not allowed`, {
      kind: 'pointer_offset',
      given: name,
      detail: 'huge',
    });
  }
  if (v.smin === -0x8000_0000_0000_0000n) {
    env.fail('EINVAL', `math between ${name} pointer and register with unbounded min value is not allowed`, {
      kind: 'pointer_offset',
      given: name,
      detail: 'unbounded',
    });
  }
  if (v.smin >= MAX_OFF || v.smin <= -MAX_OFF) {
    env.fail('EINVAL', `value ${v.smin} makes ${name} pointer be out of bounds`, {
      kind: 'pointer_offset',
      given: name,
      detail: 'huge',
    });
  }
}

/** Unprivileged programs may not even compute a pointer out of bounds. */
function checkResultInBounds(env: Env, insn: Insn, result: Reg): void {
  if (env.bypassSpecV1) return;
  const { dst } = insn;
  if (result.type === PTR_TO_STACK) {
    const off = result.off + constNumber(result.v);
    if (!isConst(result.v)) {
      env.fail(
        'EACCES',
        `R${dst} variable stack access prohibited for !root, var_off=${formatVarOff(result.v.tnum)} off=${off}`,
        { kind: 'stack_variable', register: dst, detail: 'unprivileged' },
      );
    }
    if (off >= 0 || off < -STACK_LIMIT) {
      env.fail(
        'EACCES',
        `R${dst} stack pointer arithmetic goes out of range, prohibited for !root; off=${off}`,
        { kind: 'stack_bounds', register: dst, offset: off, detail: 'unprivileged' },
      );
    }
  } else if (result.type === PTR_TO_MAP_VALUE) {
    try {
      checkMapValue(env, dst, result.off, 1, false, false);
    } catch (refusal) {
      env.verbose(`R${dst} pointer arithmetic of map value goes out of range, prohibited for !root\n`);
      throw refusal;
    }
  }
}

/** Refuses kinds of pointers that may not be moved. */
function checkMovable(env: Env, insn: Insn, ptr: Reg, off: Reg): void {
  const { base } = ptr;
  if (ARITHMETIC_KINDS.has(base)) return;
  const known = isConst(off.v);
  if (base === PTR_TO_FLOW_KEYS && known) return;
  if (
    (base === PTR_TO_FLOW_KEYS || base === CONST_PTR_TO_MAP) &&
    known &&
    sminNumber(off.v) === 0 &&
    insnOp(insn.code) === ALU_OP.ADD
  ) {
    return;
  }
  env.fail('EACCES', `R${insn.dst} pointer arithmetic on ${typeName(ptr.type)} prohibited`, {
    kind: 'pointer_arithmetic',
    register: insn.dst,
    given: typeName(ptr.type),
  });
}

function fitsS32(n: number): boolean {
  return n >= -0x8000_0000 && n <= 0x7fff_ffff;
}

function added(env: Env, ptr: Reg, off: Reg): Reg {
  const fixed = ptr.off + sminNumber(off.v);
  if (isConst(off.v) && fitsS32(fixed)) return ptr.with({ off: fixed });
  const v = pointerOffsetAlu(ALU_OP.ADD, ptr.v, off.v);
  // The proven range does not hold behind a variable offset.
  return isPacketPointer(ptr.type) ? ptr.with({ v, id: env.nextId(), raw: 0 }) : ptr.with({ v });
}

function subtracted(env: Env, insn: Insn, ptr: Reg, off: Reg, offIsDst: boolean): Reg {
  if (offIsDst)
    env.fail('EACCES', `R${insn.dst} tried to subtract pointer from scalar`, {
      kind: 'pointer_subtraction',
      register: insn.dst,
      detail: 'from a number',
    });
  if (ptr.type === PTR_TO_STACK) {
    env.fail('EACCES', `R${insn.dst} subtraction from stack pointer prohibited`, {
      kind: 'pointer_subtraction',
      register: insn.dst,
      detail: 'from a stack pointer',
    });
  }
  const fixed = ptr.off - sminNumber(off.v);
  if (isConst(off.v) && fitsS32(fixed)) return ptr.with({ off: fixed });
  const v = pointerOffsetAlu(ALU_OP.SUB, ptr.v, off.v);
  if (!isPacketPointer(ptr.type)) return ptr.with({ v });
  const id = env.nextId();
  return off.v.sminHi < 0 ? ptr.with({ v, id, raw: 0 }) : ptr.with({ v, id });
}

/** `pointer op scalar`; `offIsDst`: the scalar is the destination. */
function pointerAlu(env: Env, insn: Insn, ptr: Reg, off: Reg, offIsDst: boolean): void {
  const { dst } = insn;
  const op = insnOp(insn.code);
  const { v } = off;
  if ((isConst(v) && !isPinned(v)) || isCrossed(v)) {
    env.setUnknown(dst);
    return;
  }
  if (insnClass(insn.code) !== CLASS.ALU64) {
    if (op === ALU_OP.SUB && env.allowPtrLeaks) {
      env.setUnknown(dst);
      return;
    }
    env.fail('EACCES', `R${dst} 32-bit pointer arithmetic prohibited`, {
      kind: 'pointer_32bit',
      register: dst,
    });
  }
  if (ptr.maybeNull) {
    env.fail(
      'EACCES',
      `R${dst} pointer arithmetic on ${typeName(ptr.type)} prohibited, null-check it first`,
      { kind: 'pointer_null_arithmetic', register: dst, given: typeName(ptr.type) },
    );
  }
  // Accesses through it are probed: its offset does not matter.
  if (ptr.base === PTR_TO_MEM && (ptr.type & PTR_UNTRUSTED) !== 0) return;
  checkMovable(env, insn, ptr, off);
  checkSane(env, off.v, 0, ptr.type);
  checkSane(env, ptr.v, ptr.off, ptr.type);
  const sanitized = op === ALU_OP.ADD || op === ALU_OP.SUB;
  const window = sanitized ? openAluWindow(env, insn, ptr, off, offIsDst) : null;
  if (op === ALU_OP.AND || op === ALU_OP.OR || op === ALU_OP.XOR) {
    env.fail('EACCES', `R${dst} bitwise operator ${SIGNS[op >> 4]} on pointer prohibited`, {
      kind: 'pointer_operator',
      register: dst,
      detail: SIGNS[op >> 4] ?? '',
    });
  }
  if (!sanitized)
    env.fail('EACCES', `R${dst} pointer arithmetic with ${SIGNS[op >> 4]} operator prohibited`, {
      kind: 'pointer_operator',
      register: dst,
      detail: SIGNS[op >> 4] ?? '',
    });
  const result = op === ALU_OP.ADD ? added(env, ptr, off) : subtracted(env, insn, ptr, off, offIsDst);
  checkSane(env, result.v, result.off, ptr.type);
  env.setReg(dst, result);
  checkResultInBounds(env, insn, result);
  closeAluWindow(env, insn, window, result, offIsDst);
}

function scalarResult(env: Env, insn: Insn, dst: Reg, src: Scalar): void {
  const op = insnOp(insn.code);
  const is64 = insnClass(insn.code) === CLASS.ALU64;
  if (op === ALU_OP.ADD || op === ALU_OP.SUB) sanitizeScalarAlu(env, insn);
  let { v } = dst;
  const fork = forkScalar(op, v, src);
  if (fork !== null) {
    const path = env.pushPath(env.insn, env.insn, false);
    path.setReg(insn.dst, scalarReg(fork.pushed));
    v = fork.now;
  }
  const result = scalarAlu(op, v, src, is64);
  const links = is64 ? env.linksSums : env.linksSumsOfHalves;
  const link =
    env.bpfCapable && links
      ? linkAfterAlu(linkOf(dst), op, dst.v, src, is64)
      : { id: 0, width: 0 as const, delta: 0 };
  env.setReg(insn.dst, linkedScalar(result, link));
}

function binary(env: Env, insn: Insn): void {
  const op = insnOp(insn.code);
  const dst = env.reg(insn.dst);
  if (dst.type === PTR_TO_ARENA) return;
  if ((insn.code & SOURCE.X) === 0) {
    const imm = constantFromNumber(insn.imm);
    if (dst.type === SCALAR) scalarResult(env, insn, dst, imm);
    else pointerAlu(env, insn, dst, scalarReg(imm), false);
    return;
  }
  const src = env.reg(insn.src);
  if (src.type !== SCALAR) {
    if (dst.type !== SCALAR) {
      // Two pointers: only their distance is a number.
      if (op === ALU_OP.SUB && env.allowPtrLeaks) {
        env.setUnknown(insn.dst);
        return;
      }
      env.fail('EACCES', `R${insn.dst} pointer ${SIGNS[op >> 4]} pointer prohibited`, {
        kind: 'pointer_operator',
        register: insn.dst,
        detail: SIGNS[op >> 4] ?? '',
        given: 'two pointers',
      });
    }
    markPrecise(env, insn.dst);
    pointerAlu(env, insn, src, dst, true);
  } else if (dst.type !== SCALAR) {
    markPrecise(env, insn.src);
    pointerAlu(env, insn, dst, src, false);
  } else {
    scalarResult(env, insn, dst, src.v);
  }
}

function checkUnary(env: Env, insn: Insn): void {
  const op = insnOp(insn.code);
  const is64 = insnClass(insn.code) === CLASS.ALU64;
  const register = (insn.code & SOURCE.X) !== 0;
  if (op === ALU_OP.NEG) {
    if (register || insn.src !== 0 || insn.off !== 0 || insn.imm !== 0) {
      env.fail('EINVAL', 'BPF_NEG uses reserved fields', { kind: 'encoding' });
    }
  } else if (
    insn.src !== 0 ||
    insn.off !== 0 ||
    (insn.imm !== 16 && insn.imm !== 32 && insn.imm !== 64) ||
    (is64 && register)
  ) {
    env.fail('EINVAL', 'BPF_END uses reserved fields', { kind: 'encoding' });
  }
  const reg = env.readReg(insn.dst);
  if (env.isLeak(reg))
    env.fail('EACCES', `R${insn.dst} pointer arithmetic prohibited`, {
      kind: 'pointer_operator',
      register: insn.dst,
    });
  env.checkWritable(insn.dst);
  if (reg.type !== SCALAR) {
    env.setUnknown(insn.dst);
  } else if (!env.release.has('unary_ranges')) {
    env.setReg(insn.dst, UNKNOWN_REG);
  } else if (op === ALU_OP.NEG) {
    env.setReg(insn.dst, scalarReg(scalarAlu(op, reg.v, reg.v, is64)));
  } else {
    // Little-endian machine: `be` and `bswap` swap, `le` only truncates.
    const swap = is64 || register;
    const keeps = !swap && insn.imm === 64;
    env.setReg(insn.dst, keeps ? reg : scalarReg(scalarEndian(reg.v, insn.imm, swap)));
  }
}

function checkMovFields(env: Env, insn: Insn, is64: boolean): void {
  if ((insn.code & SOURCE.X) === 0) {
    if (insn.src !== 0 || insn.off !== 0)
      env.fail('EINVAL', 'BPF_MOV uses reserved fields', { kind: 'encoding' });
    return;
  }
  if (is64 && insn.off === MOV_OFF.ADDR_SPACE_CAST) {
    if (insn.imm !== 1 && insn.imm !== 1 << 16) {
      env.fail('EINVAL', 'addr_space_cast insn can only convert between address space 1 and 0', {
        kind: 'encoding',
      });
    }
    if (env.arena === null) {
      env.fail('EINVAL', 'addr_space_cast insn can only be used in a program that has an associated arena', {
        kind: 'map_not_for_program',
        detail: 'no arena',
      });
    }
    return;
  }
  const widths = is64 ? [0, 8, 16, 32] : [0, 8, 16];
  if (!widths.includes(insn.off) || insn.imm !== 0)
    env.fail('EINVAL', 'BPF_MOV uses reserved fields', { kind: 'encoding' });
}

/** `dst = (sN)src`: a copy of the number only where the sign cannot be set. */
function moveSignExtended(env: Env, insn: Insn, src: Reg, is64: boolean): void {
  const unchanged = umaxNumber(src.v) < 2 ** (insn.off - 1);
  const from = unchanged ? linkBeforeCopy(env, insn.src) : src;
  const v = movSignExtend(from.v, insn.off, is64);
  env.setReg(insn.dst, unchanged ? scalarReg(v, from.id, from.off) : scalarReg(v));
}

function moveRegister(env: Env, insn: Insn, is64: boolean): void {
  const src = env.reg(insn.src);
  if (is64) {
    if (insn.imm !== 0) {
      env.setReg(insn.dst, insn.imm === 1 ? pointerReg(PTR_TO_ARENA) : UNKNOWN_REG);
    } else if (insn.off === 0) {
      env.setReg(insn.dst, linkBeforeCopy(env, insn.src));
    } else if (env.isLeak(src)) {
      env.fail('EACCES', `R${insn.src} sign-extension part of pointer`, {
        kind: 'pointer_leak',
        register: insn.src,
        detail: 'part of it',
      });
    } else if (src.type === SCALAR) {
      moveSignExtended(env, insn, src, true);
    } else {
      env.setUnknown(insn.dst);
    }
    return;
  }
  if (env.isLeak(src))
    env.fail('EACCES', `R${insn.src} partial copy of pointer`, {
      kind: 'pointer_leak',
      register: insn.src,
      detail: 'part of it',
    });
  if (src.type !== SCALAR) {
    env.setReg(insn.dst, scalarReg(zext32(UNKNOWN_REG.v)));
  } else if (insn.off === 0) {
    const whole = env.linksHalves && fitsBytes(src, 4);
    const from = whole ? linkBeforeCopy(env, insn.src) : src;
    env.setReg(insn.dst, whole ? scalarReg(zext32(from.v), from.id, from.off) : scalarReg(zext32(from.v)));
  } else {
    moveSignExtended(env, insn, src, false);
  }
}

function checkMov(env: Env, insn: Insn): void {
  const is64 = insnClass(insn.code) === CLASS.ALU64;
  checkMovFields(env, insn, is64);
  const register = (insn.code & SOURCE.X) !== 0;
  if (register) env.readReg(insn.src);
  env.checkWritable(insn.dst);
  if (register) {
    moveRegister(env, insn, is64);
  } else {
    env.setReg(insn.dst, scalarReg(is64 ? constantFromNumber(insn.imm) : constantUnsigned32(insn.imm)));
  }
}

function checkBinary(env: Env, insn: Insn): void {
  const op = insnOp(insn.code);
  const register = (insn.code & SOURCE.X) !== 0;
  const division = op === ALU_OP.DIV || op === ALU_OP.MOD;
  const badOff = insn.off !== 0 && !(insn.off === 1 && division);
  if (badOff || (register ? insn.imm !== 0 : insn.src !== 0)) {
    env.fail('EINVAL', 'BPF_ALU uses reserved fields', { kind: 'encoding' });
  }
  if (register) env.readReg(insn.src);
  env.readReg(insn.dst);
  if (division && !register && insn.imm === 0)
    env.fail('EINVAL', 'div by zero', { kind: 'division_by_zero', register: insn.dst });
  const shift = op === ALU_OP.LSH || op === ALU_OP.RSH || op === ALU_OP.ARSH;
  if (shift && !register) {
    const bits = insnClass(insn.code) === CLASS.ALU64 ? 64 : 32;
    if (insn.imm < 0 || insn.imm >= bits)
      env.fail('EINVAL', `invalid shift ${insn.imm}`, {
        kind: 'shift_too_wide',
        register: insn.dst,
        limit: bits - 1,
        actual: insn.imm,
      });
  }
  env.checkWritable(insn.dst);
  binary(env, insn);
}

export function checkAlu(env: Env, insn: Insn): void {
  const op = insnOp(insn.code);
  if (op === ALU_OP.END || op === ALU_OP.NEG) checkUnary(env, insn);
  else if (op === ALU_OP.MOV) checkMov(env, insn);
  else if (op > ALU_OP.END)
    env.fail('EINVAL', `invalid BPF_ALU opcode ${op.toString(16)}`, { kind: 'encoding' });
  else checkBinary(env, insn);
  sanityCheck(env, insn.dst, 'alu');
}
