/**
 * Operations that are rare enough to stand outside of the loop: atomics (RFC 9669 section 5.3), byte swaps, sign
 * extension, signed division, probe loads.
 */
import { ALU_OP, ATOMIC, CLASS, insnClass, insnOp, MODE, SOURCE } from '../asm/opcodes.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { arenaPlace, arenaRead, arenaWrite } from '../memory/arena-pages.ts';
import { PAGE, RUN_STATE } from '../memory/layout.ts';
import { place } from './access.ts';
import { byteSwap, divideSigned32, divideSigned64, truncate } from './arithmetic.ts';
import { ARENA, CHECKED, OP, PROBE, SIGNED } from './decode.ts';
import { fault } from './fault.ts';
import type { Machine } from './machine.ts';
import type { Decoded } from './program.ts';
import { sharedAtomic32, sharedAtomic64 } from './shared-atomic.ts';
import { checkWritten } from './stack-checks.ts';

const LOAD_BYTES: readonly number[] = [4, 2, 1, 8];

/** On the bytes at offset `a`. */
function atomic32(m: Machine, program: Decoded, pc: number, a: number): void {
  if (m.memory.shared) {
    sharedAtomic32(m, program, pc, a);
    return;
  }
  const s = program.src[pc]!;
  const { view } = m.memory;
  const old = view.getInt32(a, true);
  const operand = m.lo[s]!;
  const kind = program.imm[pc]!;
  let next = operand;
  if (kind === ATOMIC.CMPXCHG) {
    if (m.lo[0] === old) view.setInt32(a, operand, true);
    m.lo[0] = old;
    m.hi[0] = 0;
    m.upto[0] = 0;
    return;
  }
  switch (kind & ~ATOMIC.FETCH) {
    case ATOMIC.ADD:
      next = (old + operand) | 0;
      break;
    case ATOMIC.OR:
      next = old | operand;
      break;
    case ATOMIC.AND:
      next = old & operand;
      break;
    case ATOMIC.XOR:
      next = old ^ operand;
      break;
  }
  view.setInt32(a, next, true);
  if ((kind & ATOMIC.FETCH) !== 0) {
    m.lo[s] = old;
    m.hi[s] = 0;
    m.upto[s] = 0;
  }
}

function store64(view: DataView, a: number, low: number, high: number): void {
  view.setInt32(a, low, true);
  view.setInt32(a + 4, high, true);
}

/** A register got a value from memory that may be a pointer. */
function loaded(m: Machine, r: number, low: number, high: number, address: number): void {
  m.lo[r] = low;
  m.hi[r] = high;
  if (high === KERNEL_HI_SIGNED) m.fill(r, address);
  else m.upto[r] = 0;
}

/** On the bytes at offset `a`. */
function atomic64(m: Machine, program: Decoded, pc: number, a: number): void {
  if (m.memory.shared) {
    sharedAtomic64(m, program, pc, a);
    return;
  }
  const s = program.src[pc]!;
  const { view } = m.memory;
  const oldLow = view.getInt32(a, true);
  const oldHigh = view.getInt32(a + 4, true);
  const low = m.lo[s]!;
  const high = m.hi[s]!;
  const kind = program.imm[pc]!;
  const spills = m.upto[s] !== 0;
  if (kind === ATOMIC.CMPXCHG) {
    if (m.lo[0] === oldLow && m.hi[0] === oldHigh) {
      store64(view, a, low, high);
      if (spills) m.spill(s, a);
    }
    loaded(m, 0, oldLow, oldHigh, a);
    return;
  }
  switch (kind & ~ATOMIC.FETCH) {
    case ATOMIC.ADD: {
      const sum = (oldLow + low) | 0;
      store64(view, a, sum, oldHigh + high + (sum >>> 0 < low >>> 0 ? 1 : 0));
      break;
    }
    case ATOMIC.OR:
      store64(view, a, oldLow | low, oldHigh | high);
      break;
    case ATOMIC.AND:
      store64(view, a, oldLow & low, oldHigh & high);
      break;
    case ATOMIC.XOR:
      store64(view, a, oldLow ^ low, oldHigh ^ high);
      break;
    default:
      store64(view, a, low, high);
      if (spills) m.spill(s, a);
  }
  if ((kind & ATOMIC.FETCH) !== 0) loaded(m, s, oldLow, oldHigh, a);
}

function probeLoad(m: Machine, program: Decoded, pc: number, code: number): void {
  const d = program.dst[pc]!;
  const s = program.src[pc]!;
  const size = LOAD_BYTES[(code & 0x18) >> 3]!;
  const off = program.off[pc]!;
  const a = m.lo[s]! + off;
  const { memory } = m;
  m.upto[d] = 0;
  if (m.hi[s] !== KERNEL_HI_SIGNED || a < PAGE || a + size > memory.size) {
    m.lo[d] = 0;
    m.hi[d] = 0;
    return;
  }
  if (size === 8) {
    const { view } = memory;
    loaded(m, d, view.getInt32(a, true), view.getInt32(a + 4, true), a);
    return;
  }
  loadFrom(m, d, a, size, (code & 0xe0) === MODE.MEMSX);
}

/** addr_space_cast: an address of user space, with the upper half in `imm`; NULL stays NULL. */
function castToUser(m: Machine, program: Decoded, pc: number): void {
  const d = program.dst[pc]!;
  const low = m.lo[program.src[pc]!]!;
  m.lo[d] = low;
  m.hi[d] = low === 0 ? 0 : program.imm[pc]!;
  m.upto[d] = 0;
}

/** The low half of the base register and the offset name the bytes; pages that are not there read 0 and take nothing. */
function arenaAccess(m: Machine, program: Decoded, pc: number, op: number): void {
  const { memory } = m;
  const { pages } = program.program.arena!;
  const size = LOAD_BYTES[(op & 0x18) >> 3]!;
  const loads = (op & 7) === CLASS.LDX;
  const base = loads ? program.src[pc]! : program.dst[pc]!;
  const at = (m.lo[base]! >>> 0) + program.off[pc]!;
  let a = arenaPlace(memory, pages, at, size);
  if (op === OP.ATOMIC32) {
    if (a !== 0) atomic32(m, program, pc, a);
  } else if (op === OP.ATOMIC64) {
    if (a !== 0) atomic64(m, program, pc, a);
  } else if (loads) {
    if (a === 0) {
      a = memory.cpuDelta + RUN_STATE.helperResult;
      arenaRead(memory, pages, at, size, a);
    }
    m.upto[program.dst[pc]!] = 0;
    loadFrom(m, program.dst[pc]!, a, size, (op & 0xe0) === MODE.MEMSX);
  } else {
    const to = a === 0 ? memory.cpuDelta + RUN_STATE.helperResult : a;
    storeAt(m, program, pc, to, size, (op & 7) === CLASS.STX);
    if (a === 0) arenaWrite(memory, pages, at, size, to);
  }
}

/** A load or store where programs are strict about the stack. */
function checkedAccess(m: Machine, program: Decoded, pc: number, op: number): void {
  const size = LOAD_BYTES[(op & 0x18) >> 3]!;
  const loads = (op & 7) === CLASS.LDX;
  const atomic = op === OP.ATOMIC32 || op === OP.ATOMIC64;
  const base = loads ? program.src[pc]! : program.dst[pc]!;
  const a = place(m, program, pc, loads ? 'read' : atomic ? 'atomic access' : 'write', base, size);
  if (loads || atomic) checkWritten(m, program, pc, a, size);
  if (atomic) {
    if (size === 4) atomic32(m, program, pc, a);
    else atomic64(m, program, pc, a);
  } else if (loads) {
    const d = program.dst[pc]!;
    const { view } = m.memory;
    m.upto[d] = 0;
    if (size === 8) loaded(m, d, view.getInt32(a, true), view.getInt32(a + 4, true), a);
    else loadFrom(m, d, a, size, (op & 0xe0) === MODE.MEMSX);
  } else {
    m.stackBytes!.write(a, size);
    storeAt(m, program, pc, a, size, (op & 7) === CLASS.STX);
    const s = program.src[pc]!;
    if (op === 0x7b && m.upto[s] !== 0) m.spill(s, a);
  }
}

/** Stores the register or the immediate of the instruction at offset `a`. */
function storeAt(m: Machine, program: Decoded, pc: number, a: number, size: number, register: boolean): void {
  const low = register ? m.lo[program.src[pc]!]! : program.imm[pc]!;
  const { view } = m.memory;
  if (size === 1) view.setInt8(a, low);
  else if (size === 2) view.setInt16(a, low, true);
  else if (size === 4) view.setInt32(a, low, true);
  else store64(view, a, low, register ? m.hi[program.src[pc]!]! : low >> 31);
}

/** Loads the bytes at offset `a`, which are no address. */
function loadFrom(m: Machine, d: number, a: number, size: number, signed: boolean): void {
  const { view } = m.memory;
  let low: number;
  if (size === 1) low = signed ? view.getInt8(a) : view.getUint8(a);
  else if (size === 2) low = signed ? view.getInt16(a, true) : view.getUint16(a, true);
  else low = view.getInt32(a, true);
  m.lo[d] = low;
  if (size === 8) m.hi[d] = view.getInt32(a + 4, true);
  else m.hi[d] = signed ? low >> 31 : 0;
}

function signedDivision(m: Machine, program: Decoded, pc: number, code: number): void {
  const d = program.dst[pc]!;
  const register = (code & SOURCE.X) !== 0;
  const s = program.src[pc]!;
  const bl = register ? m.lo[s]! : program.imm[pc]!;
  const remainder = insnOp(code) === ALU_OP.MOD;
  m.upto[d] = 0;
  if (insnClass(code) === CLASS.ALU64) {
    const bh = register ? m.hi[s]! : bl >> 31;
    divideSigned64(m.lo, m.hi, d, m.lo[d]!, m.hi[d]!, bl, bh, remainder);
  } else {
    m.lo[d] = divideSigned32(m.lo[d]!, bl, remainder);
    m.hi[d] = 0;
  }
}

function signExtend(m: Machine, program: Decoded, pc: number, wide: boolean): void {
  const d = program.dst[pc]!;
  const width = program.off[pc]!;
  const low = (m.lo[program.src[pc]!]! << (32 - width)) >> (32 - width);
  m.lo[d] = low;
  m.hi[d] = wide ? low >> 31 : 0;
  m.upto[d] = 0;
}

function swap(m: Machine, program: Decoded, pc: number, code: number): void {
  const d = program.dst[pc]!;
  const width = program.imm[pc]!;
  m.upto[d] = 0;
  if (insnClass(code) === CLASS.ALU64 || (code & SOURCE.X) !== 0) byteSwap(m.lo, m.hi, d, width);
  else truncate(m.lo, m.hi, d, width);
}

function negate(m: Machine, program: Decoded, pc: number, code: number): void {
  const d = program.dst[pc]!;
  const low = -m.lo[d]! | 0;
  m.hi[d] = insnClass(code) === CLASS.ALU64 ? ~m.hi[d]! + (low === 0 ? 1 : 0) : 0;
  m.lo[d] = low;
  m.upto[d] = 0;
}

function spendBudget(m: Machine, program: Decoded, pc: number): void {
  const { i32 } = m.memory;
  const at = (RUN_STATE.budget + m.memory.cpuDelta) >>> 2;
  i32[at] = i32[at]! - 1;
  if (i32[at]! < 0)
    fault(m, program, pc, 'the run has used up its budget of loop rounds and calls', { reason: 'budget' });
}

/** Runs one operation that the loop does not know. */
export function rare(m: Machine, program: Decoded, pc: number): void {
  const op = program.op[pc]!;
  if (op === OP.BUDGET_CHECK) spendBudget(m, program, pc);
  else if ((op & CHECKED) !== 0) checkedAccess(m, program, pc, op & ~CHECKED);
  else if (op === OP.ATOMIC32)
    atomic32(m, program, pc, place(m, program, pc, 'atomic access', program.dst[pc]!, 4));
  else if (op === OP.ATOMIC64)
    atomic64(m, program, pc, place(m, program, pc, 'atomic access', program.dst[pc]!, 8));
  else if (op === OP.CAST_TO_USER) castToUser(m, program, pc);
  else if ((op & ARENA) !== 0) arenaAccess(m, program, pc, op & ~ARENA);
  else if (op === OP.MOVSX32) signExtend(m, program, pc, false);
  else if (op === OP.MOVSX64) signExtend(m, program, pc, true);
  else if ((op & PROBE) !== 0) probeLoad(m, program, pc, op & 0xff);
  else if ((op & SIGNED) !== 0) signedDivision(m, program, pc, op & 0xff);
  else if (insnOp(op) === ALU_OP.NEG && (op & 7) >= CLASS.ALU && (op & 7) !== CLASS.JMP)
    negate(m, program, pc, op);
  else if (insnOp(op) === ALU_OP.END && (op & 7) >= CLASS.ALU) swap(m, program, pc, op);
  else fault(m, program, pc, `control reached 0x${op.toString(16)}, which is no instruction`);
}
