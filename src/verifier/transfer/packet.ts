/**
 * Packet pointers: accesses inside the range that a comparison with the end has proven, who may access packets, and what
 * such a comparison proves. Kernel 6.18: check_packet_access, find_good_pkt_pointers, may_access_direct_pkt_data.
 */

import { CLASS, insnClass, insnOp, JMP_OP, SOURCE } from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { HelperRow } from '../../spec/types.ts';
import { isZero, umaxNumber } from '../domain/index.ts';
import type { Env } from '../env.ts';
import { MAX_PACKET_OFF } from '../limits.ts';
import { invalidated } from '../references.ts';
import {
  AT_PKT_END,
  BEYOND_PKT_END,
  DYNPTR_PACKET,
  isPacketPointer,
  isPacketPointerOrEnd,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_END,
  PTR_TO_PACKET_META,
  type Reg,
} from '../registers.ts';
import type { VState } from '../state.ts';
import { failNegativeIndex, inRegion } from './pointer-checks.ts';

/** Whether packet pointers may be written through. */
export function mayWritePacket(env: Env): boolean {
  return env.request.progType.packet?.write === true;
}

/** Whether packet pointers may be passed to the helper as memory. */
export function mayPassPacket(env: Env, helper: HelperRow): boolean {
  const { packet } = env.request.progType;
  if (packet === undefined || packet.helpers === 'never') return false;
  return packet.helpers === 'always' || helper.pktAccess === true;
}

/** An access to `[off, off + size)`; the proven range counts from the pointer with its variable part. */
export function checkPacket(env: Env, n: number, off: number, size: number, zeroSize: boolean): void {
  const reg = env.reg(n);
  if (reg.v.sminHi < 0) failNegativeIndex(env, n);
  if (reg.raw < 0)
    env.fail('EINVAL', `R${n} offset is outside of the packet`, {
      kind: 'packet_bounds',
      register: n,
      region: 'packet',
      offset: off,
      size,
      limit: Math.max(0, reg.raw),
    });
  if (!inRegion(env, n, off, size, reg.raw, zeroSize)) {
    env.fail('EACCES', `R${n} offset is outside of the packet`, {
      kind: 'packet_bounds',
      register: n,
      region: 'packet',
      offset: off,
      size,
      limit: Math.max(0, reg.raw),
    });
  }
}

/** The packet may have moved: pointers into it are gone. */
export function clearPacketPointers(env: Env): void {
  const gone = invalidated(env);
  env.cur.mapRegs((reg) =>
    isPacketPointerOrEnd(reg.type) || (reg.base === PTR_TO_MEM && (reg.type & DYNPTR_PACKET) !== 0)
      ? gone
      : reg,
  );
}

/** `pointer` is not behind the end (or, with `open`, before it): all copies of it gain that range. */
function proveRange(state: VState, pointer: Reg, open: boolean): void {
  if (pointer.off < 0 || (pointer.off === 0 && open)) return;
  const umax = umaxNumber(pointer.v);
  if (umax > MAX_PACKET_OFF || umax + pointer.off > MAX_PACKET_OFF) return;
  const range = open ? pointer.off + 1 : pointer.off;
  const { type, id } = pointer;
  state.mapRegs((reg) =>
    reg.type === type && reg.id === id && reg.raw < range ? reg.with({ raw: range }) : reg,
  );
}

function markBehindEnd(state: VState, n: number, beyond: boolean): void {
  const reg = state.frame.regs[n]!;
  if (reg.type !== PTR_TO_PACKET) return;
  state.setReg(n, reg.with({ raw: beyond ? BEYOND_PKT_END : AT_PKT_END }));
}

function isPacketStart(reg: Reg): boolean {
  return reg.type === PTR_TO_PACKET && reg.id === 0 && reg.off === 0 && isZero(reg.v);
}

/** Whether `pointer` is compared with the end of what it points into. */
function isBoundedBy(pointer: Reg, end: Reg): boolean {
  return (
    (pointer.type === PTR_TO_PACKET && end.type === PTR_TO_PACKET_END) ||
    (pointer.type === PTR_TO_PACKET_META && isPacketStart(end))
  );
}

/**
 * Learns from a comparison of a packet pointer with its end; false where it is none. `taken` is the state behind the jump,
 * `fallen` the one behind the instruction.
 */
export function learnPacketRange(
  insn: Insn,
  dst: Reg,
  src: Reg | null,
  fallen: VState,
  taken: VState,
): boolean {
  if (src === null || (insn.code & SOURCE.X) === 0 || insnClass(insn.code) === CLASS.JMP32) return false;
  const op = insnOp(insn.code);
  const left = isBoundedBy(dst, src);
  if (!left && !isBoundedBy(src, dst)) return false;
  const pointer = left ? dst : src;
  const n = left ? insn.dst : insn.src;
  // Where `pointer <op> end` (or its mirror image) puts the pointer: inside in one state, behind the end in the other.
  const greater = left ? JMP_OP.JGT : JMP_OP.JLT;
  const less = left ? JMP_OP.JLT : JMP_OP.JGT;
  const notLess = left ? JMP_OP.JGE : JMP_OP.JLE;
  const notGreater = left ? JMP_OP.JLE : JMP_OP.JGE;
  switch (op) {
    case greater:
      proveRange(fallen, pointer, false);
      markBehindEnd(taken, n, true);
      return true;
    case less:
      proveRange(taken, pointer, true);
      markBehindEnd(fallen, n, false);
      return true;
    case notLess:
      proveRange(fallen, pointer, true);
      markBehindEnd(taken, n, false);
      return true;
    case notGreater:
      proveRange(taken, pointer, false);
      markBehindEnd(fallen, n, true);
      return true;
    default:
      return false;
  }
}

/** Whether a comparison of two packet pointers is decided by an earlier one; -1 where not. */
export function packetBranchTaken(dst: Reg, src: Reg, op: number): 1 | 0 | -1 {
  let pointer: Reg;
  let oriented = op;
  if (src.type === PTR_TO_PACKET_END) {
    pointer = dst;
  } else if (dst.type === PTR_TO_PACKET_END) {
    pointer = src;
    oriented = MIRROR[op] ?? op;
  } else {
    return -1;
  }
  if (pointer.raw >= 0 || !isPacketPointer(pointer.type)) return -1;
  const beyond = pointer.raw === BEYOND_PKT_END;
  switch (oriented) {
    case JMP_OP.JLE:
    case JMP_OP.JGT:
      return beyond ? (oriented === JMP_OP.JGT ? 1 : 0) : -1;
    case JMP_OP.JLT:
    case JMP_OP.JGE:
      return oriented === JMP_OP.JGE ? 1 : 0;
    default:
      return -1;
  }
}

const MIRROR: Readonly<Record<number, number>> = {
  [JMP_OP.JGE]: JMP_OP.JLE,
  [JMP_OP.JGT]: JMP_OP.JLT,
  [JMP_OP.JLE]: JMP_OP.JGE,
  [JMP_OP.JLT]: JMP_OP.JGT,
};
