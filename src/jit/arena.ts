/**
 * Accesses of the program's arena: the low half of the base register and the offset name bytes, whose page is looked up in the arena's
 * table. What the table has no page for, and accesses of two pages, go by way of a scratch place: loads find there what can be read,
 * or 0; what stores leave there is written back, or lost; atomic operations find there what leaves their registers as they are.
 */
import {
  ALU_OP,
  ATOMIC,
  accessBytes,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  MODE,
  MOV_OFF,
  SOURCE,
} from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { ARENA_PAGE } from '../memory/arena-pages.ts';
import { RUN_STATE } from '../memory/layout.ts';
import { InternalError } from '../util/errors.ts';
import type { FunctionContext } from './context.ts';
import { OP, TYPE } from './wasm/index.ts';

const PAGE_SHIFT = 12;
const SCRATCH = RUN_STATE.helperResult;

/** Emits an access: `emit` emits it as if it were any other, with its address in `f.place`. */
export function emitArenaAccess(f: FunctionContext, insn: Insn, emit: () => void): void {
  const { w } = f;
  const { arena, imports } = arenaOf(f);
  const size = accessBytes(insn.code);
  const acquires = insnMode(insn.code) === MODE.ATOMIC && insn.imm === ATOMIC.LOAD_ACQ;
  const loads = insnClass(insn.code) === CLASS.LDX || acquires;
  const modifies = insnMode(insn.code) === MODE.ATOMIC && !acquires && insn.imm !== ATOMIC.STORE_REL;
  const at = f.scratch('arena.at', TYPE.i64);
  const place = f.scratch('arena.place', TYPE.i32);
  const within = f.scratch('arena.within', TYPE.i32);
  const pass = (index: number) => {
    w.get(at);
    w.op(OP.i32WrapI64);
    w.get(at);
    w.i64(32);
    w.op(OP.i64ShrS);
    w.op(OP.i32WrapI64);
    w.i32(size);
    f.runState(SCRATCH);
    w.index(OP.call, index);
  };

  f.getLow(loads ? insn.src : insn.dst);
  w.op(OP.i64ExtendI32U);
  w.i64(insn.off);
  w.op(OP.i64Add);
  w.tee(at);
  // The page's number, as far as the arena has one.
  w.i64(PAGE_SHIFT);
  w.op(OP.i64ShrS);
  w.i64(arena.first);
  w.op(OP.i64Sub);
  w.i64(arena.pages);
  w.op(OP.i64LtU);
  w.block(OP.if, TYPE.i32);
  w.get(at);
  w.op(OP.i32WrapI64);
  w.i32(PAGE_SHIFT);
  w.op(OP.i32ShrU);
  w.i32(arena.first);
  w.op(OP.i32Sub);
  w.i32(2);
  w.op(OP.i32Shl);
  w.memory(OP.i32Load, arena.table);
  w.op(OP.else);
  w.i32(0);
  w.op(OP.end);
  w.tee(place);
  w.get(at);
  w.op(OP.i32WrapI64);
  w.i32(ARENA_PAGE - 1);
  w.op(OP.i32And);
  w.tee(within);
  w.op(OP.i32Add);
  w.i32(0);
  w.get(within);
  w.i32(ARENA_PAGE - size);
  w.op(OP.i32LeU);
  w.get(place);
  w.i32(0);
  w.op(OP.i32Ne);
  w.op(OP.i32And);
  w.op(OP.select);
  w.tee(place);
  w.op(OP.i32Eqz);
  w.block(OP.if, TYPE.empty);
  f.runState(SCRATCH);
  w.set(place);
  if (loads) pass(imports.read);
  else if (modifies) {
    w.get(place);
    f.get(insn.imm === ATOMIC.CMPXCHG ? 0 : insn.src);
    w.memory(OP.i64Store, 0);
  }
  w.op(OP.end);
  // Of a register that nothing is fetched into the upper half stays, too.
  const fetched = insn.imm === ATOMIC.CMPXCHG ? 0 : insn.src;
  const keeps = modifies && size === 4 && (insn.imm & ATOMIC.FETCH) !== 0;
  const kept = keeps ? f.scratch('arena.kept', TYPE.i64) : -1;
  if (keeps) {
    f.get(fetched);
    w.set(kept);
  }
  f.place = place;
  emit();
  f.place = -1;
  if (keeps) {
    w.get(kept);
    f.get(fetched);
    w.get(place);
    f.runState(SCRATCH);
    w.op(OP.i32Eq);
    w.op(OP.select);
    f.set(fetched);
  }
  if (loads || modifies) return;
  w.get(place);
  f.runState(SCRATCH);
  w.op(OP.i32Eq);
  w.block(OP.if, TYPE.empty);
  pass(imports.write);
  w.op(OP.end);
}

export function isCast({ code, off }: Insn): boolean {
  const moves = insnClass(code) === CLASS.ALU64 && insnOp(code) === ALU_OP.MOV && (code & SOURCE.X) !== 0;
  return moves && off === MOV_OFF.ADDR_SPACE_CAST;
}

/** addr_space_cast to user space: the low half, with the arena's upper half unless it is 0. */
export function emitCast(f: FunctionContext, insn: Insn): void {
  const { w } = f;
  f.getLow(insn.src);
  w.op(OP.i64ExtendI32U);
  w.i64Halves(0, insn.imm);
  w.i64(0);
  f.getLow(insn.src);
  w.op(OP.select);
  w.op(OP.i64Or);
  f.set(insn.dst);
  f.known.forget(insn.dst);
}

function arenaOf(f: FunctionContext) {
  const { arena } = f.module.program;
  const imports = f.module.arena;
  if (arena === undefined || imports === undefined) throw new InternalError('jit: the program has no arena');
  return { arena: arena.pages, imports };
}
