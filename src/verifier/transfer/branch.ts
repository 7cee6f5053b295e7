/**
 * Conditional jumps: decided ones are followed one way, others both ways with what the comparison teaches about both
 * operands, about registers linked to them, about NULL, and about the end of the packet. Kernel 6.18: check_cond_jmp_op.
 */
import { CLASS, insnClass, insnOp, JMP_OP, SOURCE } from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import { markPrecise } from '../backtrack.ts';
import { MAY_GOTO_CODE } from '../cfg.ts';
import {
  checkInvariants,
  constantFromNumber,
  flipJump,
  followLink,
  isBranchTaken,
  isConstWidth,
  refineBranch,
  refineBranchSame,
  type Scalar,
} from '../domain/index.ts';
import type { Env } from '../env.ts';
import type { Explored } from '../explored.ts';
import { widenImprecise } from '../prune.ts';
import { dropReference } from '../references.ts';
import {
  baseId,
  CONST_PTR_TO_MAP,
  isAllocated,
  isNotNull,
  isPacketPointerOrEnd,
  linkedScalar,
  linkOf,
  mayPointToSpinLock,
  PTR_TO_BTF_ID,
  PTR_TO_STACK,
  type Reg,
  SCALAR,
  scalarReg,
  ZERO_REG,
} from '../registers.ts';
import { pushSpeculativeBranch } from '../sanitize.ts';
import { HIST_DST_STACK, HIST_SRC_STACK, isSpilled, type LinkedReg, Slot, type VState } from '../state.ts';
import { notNull } from './not-null.ts';
import { learnPacketRange, packetBranchTaken } from './packet.ts';

/** More registers than these are not refined together. */
const MAX_LINKED = 6;

/** All copies of the pointer in register `n` of the innermost frame were compared with NULL. */
function settleNull(state: VState, n: number, isNullBranch: boolean): void {
  const { id, refObjId } = state.frame.regs[n]!;
  if (refObjId !== 0 && refObjId === id && isNullBranch) dropReference(state, id);
  state.mapRegs((reg) => {
    if (!reg.maybeNull || reg.id !== id) return reg;
    if ((reg.v.sminLo | reg.v.sminHi | reg.v.smaxLo | reg.v.smaxHi) !== 0) return reg;
    // Nodes of lists and trees come with the offset that they have in their object.
    if (reg.off !== 0 && !isAllocated(reg.type)) return reg;
    if (isNullBranch) return ZERO_REG;
    const valid = notNull(reg);
    return mayPointToSpinLock(valid) ? valid : valid.with({ id: 0 });
  });
}

/** Before, pointers to maps counted as ones that might be NULL. */
function knownFromRelease(env: Env, dst: Reg, src: Reg): boolean {
  if (dst.type !== CONST_PTR_TO_MAP && src.type !== CONST_PTR_TO_MAP) return true;
  return env.release.has('known_pointer_comparison');
}

/** 1, 0, or -1 where the jump is not decided. */
function decide(dst: Reg, src: Reg, op: number, is32: boolean): 1 | 0 | -1 {
  if (!is32 && isPacketPointerOrEnd(dst.type) && isPacketPointerOrEnd(src.type)) {
    return packetBranchTaken(dst, src, op);
  }
  if (dst.type === SCALAR && src.type === SCALAR) return isBranchTaken(dst.v, src.v, op, is32);
  let pointer = dst;
  let number = src;
  let oriented = op;
  if (!(number.type === SCALAR && isConstWidth(number.v, is32))) {
    oriented = flipJump(op);
    pointer = src;
    number = dst;
  }
  if (!(number.type === SCALAR && isConstWidth(number.v, is32)) || !isNotNull(pointer)) return -1;
  const { valueHi, valueLo } = number.v.tnum;
  if ((is32 ? valueLo : valueLo | valueHi) !== 0) return -1;
  if (oriented === JMP_OP.JEQ) return 0;
  return oriented === JMP_OP.JNE ? 1 : -1;
}

/** Registers and slots linked to `id`; those beyond the limit lose their link. */
function collectLinked(env: Env, id: number, linked: LinkedReg[]): void {
  const { cur } = env;
  const wanted = baseId(id);
  const take = (reg: Reg, entry: LinkedReg): boolean => {
    if (reg.type !== SCALAR || reg.id === 0 || baseId(reg.id) !== wanted) return true;
    if (linked.length >= MAX_LINKED) return false;
    linked.push(entry);
    return true;
  };
  for (let i = cur.curframe; i >= 0; i--) {
    const live = env.liveRegs[cur.insnOfFrame(i)]!;
    const frame = cur.frames[i]!;
    for (let n = 0; n < 10; n++) {
      if ((live & (1 << n)) === 0) continue;
      const reg = frame.regs[n]!;
      if (!take(reg, { frameno: i, isReg: true, index: n }))
        cur.own(i).regs[n] = scalarReg(reg.v, 0, reg.off);
    }
    const { stack } = cur.frames[i]!;
    for (let spi = 0; spi < stack.length; spi++) {
      const slot = stack[spi]!;
      if (!isSpilled(slot)) continue;
      if (!take(slot.reg, { frameno: i, isReg: false, index: spi })) {
        cur.setSlot(i, spi, new Slot(slot.types, scalarReg(slot.reg.v, 0, slot.reg.off)));
      }
    }
  }
}

/** Hands what is known of `known` to the registers linked to it. */
function syncLinked(state: VState, known: Reg, linked: readonly LinkedReg[]): void {
  const knownLink = linkOf(known);
  for (const { frameno, isReg, index } of linked) {
    const frame = state.frames[frameno]!;
    const reg = isReg ? frame.regs[index]! : frame.stack[index]!.reg;
    if (reg === known || reg.type !== SCALAR || baseId(reg.id) !== knownLink.id) continue;
    const followed = followLink(known.v, knownLink, linkOf(reg));
    if (followed === null) continue;
    const changed = linkedScalar(followed.scalar, followed.link);
    if (isReg) state.own(frameno).regs[index] = changed;
    else state.setSlot(frameno, index, new Slot(frame.stack[index]!.types, changed));
  }
}

function refined(env: Env, reg: Reg, v: Scalar, context: string): Reg {
  const sane = checkInvariants(v, context, (line) => {
    if (env.testRegInvariants) env.fail('EFAULT', line, { kind: 'bounds_violated' });
    env.verbose(`${line}\n`);
  });
  return sane === reg.v ? reg : scalarReg(sane, reg.id, reg.off);
}

/** What the comparison of two scalars teaches, in both states. */
function refineScalars(env: Env, insn: Insn, dst: Reg, src: Reg, taken: VState): void {
  const op = insnOp(insn.code);
  const is32 = insnClass(insn.code) === CLASS.JMP32;
  const register = (insn.code & SOURCE.X) !== 0;
  if (register && insn.dst === insn.src) {
    const same = refineBranchSame(dst.v, op, is32);
    taken.setReg(insn.dst, refined(env, dst, same.whenTrue, 'true_reg1'));
    env.setReg(insn.dst, refined(env, dst, same.whenFalse, 'false_reg1'));
    return;
  }
  const r = refineBranch(dst.v, src.v, op, is32);
  taken.setReg(insn.dst, refined(env, dst, r.trueLeft, 'true_reg1'));
  const right = refined(env, src, r.trueRight, 'true_reg2');
  if (register) taken.setReg(insn.src, right);
  env.setReg(insn.dst, refined(env, dst, r.falseLeft, 'false_reg1'));
  const falseRight = refined(env, src, r.falseRight, 'false_reg2');
  if (register) env.setReg(insn.src, falseRight);
}

/** Two pointers are equal and one is not NULL: then the other is not either. */
function learnNotNull(env: Env, insn: Insn, dst: Reg, src: Reg, taken: VState): void {
  if (dst.type === SCALAR || src.type === SCALAR || dst.maybeNull === src.maybeNull) return;
  if (dst.base === PTR_TO_BTF_ID || src.base === PTR_TO_BTF_ID) return;
  const op = insnOp(insn.code);
  const equal = op === JMP_OP.JEQ ? taken : op === JMP_OP.JNE ? env.cur : null;
  if (equal === null) return;
  const n = src.maybeNull ? insn.src : insn.dst;
  equal.setReg(n, notNull(equal.frame.regs[n]!));
}

function mayGoto(env: Env, explored: Explored, insn: Insn): void {
  if (insn.code !== MAY_GOTO_CODE || insn.src !== 0 || insn.dst !== 0 || insn.imm !== 0) {
    env.fail('EINVAL', `invalid may_goto imm ${insn.imm}`, { kind: 'encoding' });
  }
  const previous = env.cur.parent === null ? null : explored.previousEntry(env.cur.parent, env.insn);
  const fallen = env.pushPath(env.insn + 1, env.insn, false, 'ENOMEM');
  fallen.mayGotoDepth++;
  if (previous !== null) widenImprecise(env, previous, fallen);
  env.insn += insn.off;
}

/** Reads and checks the operands. */
function operands(env: Env, insn: Insn): { dst: Reg; src: Reg } {
  const dst = env.readReg(insn.dst);
  if ((insn.code & SOURCE.X) === 0) {
    if (insn.src !== 0) env.fail('EINVAL', 'BPF_JMP/JMP32 uses reserved fields', { kind: 'encoding' });
    return { dst, src: scalarReg(constantFromNumber(insn.imm)) };
  }
  if (insn.imm !== 0) env.fail('EINVAL', 'BPF_JMP/JMP32 uses reserved fields', { kind: 'encoding' });
  const src = env.readReg(insn.src);
  const packets = isPacketPointerOrEnd(dst.type) && isPacketPointerOrEnd(src.type);
  if (!(packets && env.release.has('packet_comparison')) && env.isLeak(src)) {
    env.fail('EACCES', `R${insn.src} pointer comparison prohibited`, {
      kind: 'pointer_comparison',
      register: insn.src,
    });
  }
  return { dst, src };
}

/** Follows a decided jump one way. */
function follow(env: Env, insn: Insn, taken: boolean): void {
  pushSpeculativeBranch(env, insn, taken ? env.insn + 1 : env.insn + insn.off + 1);
  if (env.logsInsns) env.printInsnState(env.cur, env.cur.curframe);
  if (taken) env.insn += insn.off;
}

/** A conditional jump; leaves `env.insn` at the instruction before the one to go on with. */
export function checkCondJump(env: Env, explored: Explored, insn: Insn): void {
  const op = insnOp(insn.code);
  if (op === JMP_OP.JA || op > JMP_OP.JCOND) {
    env.fail('EINVAL', `invalid BPF_JMP/JMP32 opcode ${op.toString(16)}`, { kind: 'encoding' });
  }
  if (op === JMP_OP.JCOND) {
    mayGoto(env, explored, insn);
    return;
  }
  const { dst, src } = operands(env, insn);
  const register = (insn.code & SOURCE.X) !== 0;
  const is32 = insnClass(insn.code) === CLASS.JMP32;
  const flags =
    (src.type === PTR_TO_STACK ? HIST_SRC_STACK : 0) | (dst.type === PTR_TO_STACK ? HIST_DST_STACK : 0);
  if (flags !== 0) env.pushHistory(flags);

  const decided = knownFromRelease(env, dst, src) ? decide(dst, src, op, is32) : -1;
  if (decided >= 0) {
    if (dst.type === SCALAR) markPrecise(env, insn.dst);
    if (register && src.type === SCALAR) markPrecise(env, insn.src);
    follow(env, insn, decided === 1);
    return;
  }

  const linked: LinkedReg[] = [];
  if (register && src.type === SCALAR && src.id !== 0) collectLinked(env, src.id, linked);
  if (dst.type === SCALAR && dst.id !== 0) collectLinked(env, dst.id, linked);
  if (linked.length > 1) env.pushHistory(flags, linked);

  const taken = env.pushPath(env.insn + insn.off + 1, env.insn, false);
  if (dst.type === SCALAR && src.type === SCALAR) {
    // The link may just have been dropped: read the operands again.
    refineScalars(env, insn, env.reg(insn.dst), register ? env.reg(insn.src) : src, taken);
  }
  if (register && src.type === SCALAR && env.reg(insn.src).id !== 0) {
    syncLinked(env.cur, env.reg(insn.src), linked);
    syncLinked(taken, taken.frame.regs[insn.src]!, linked);
  }
  if (dst.type === SCALAR && env.reg(insn.dst).id !== 0) {
    syncLinked(env.cur, env.reg(insn.dst), linked);
    syncLinked(taken, taken.frame.regs[insn.dst]!, linked);
  }
  if (register && !is32) learnNotNull(env, insn, dst, src, taken);

  const current = env.reg(insn.dst);
  if (!is32 && !register && insn.imm === 0 && (op === JMP_OP.JEQ || op === JMP_OP.JNE) && current.maybeNull) {
    settleNull(env.cur, insn.dst, op === JMP_OP.JNE);
    settleNull(taken, insn.dst, op === JMP_OP.JEQ);
  } else if (
    !learnPacketRange(insn, current, register ? env.reg(insn.src) : null, env.cur, taken) &&
    env.isLeak(current)
  ) {
    env.fail('EACCES', `R${insn.dst} pointer comparison prohibited`, {
      kind: 'pointer_comparison',
      register: insn.dst,
    });
  }
  if (env.logsInsns) env.printInsnState(env.cur, env.cur.curframe);
}
