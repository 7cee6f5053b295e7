/**
 * Pruning at the marked instructions: a state that an explored one covers is not followed; others are remembered now and
 * then. Also where endless loops are noticed. Kernel 6.18: is_state_visited, clean_live_states, widen_imprecise_scalars.
 */
import { propagatePrecision } from './backtrack.ts';
import { isMayGoto } from './cfg.ts';
import { CALLS_CALLBACK, type Env, FORCE_CHECKPOINT, ITER_NEXT, JUMP_POINT } from './env.ts';
import { type Explored, sameCallsites } from './explored.ts';
import { COMPLEXITY_LIMIT_STATES } from './limits.ts';
import { Refusal } from './refusal.ts';
import { NOT_INIT, NOT_INIT_REG, type Reg, SCALAR, UNKNOWN_REG } from './registers.ts';
import { ITER_ACTIVE, iterDepthsDiffer, iterState } from './slot-objects.ts';
import { EMPTY_SLOT, isSpilled, Slot, slotIndex, type VState } from './state.ts';
import {
  EXACT,
  maybeLooping,
  NOT_EXACT,
  RANGE_WITHIN,
  regsExactShared,
  resetIds,
  statesEqual,
} from './states-equal.ts';

/** Longer histories make backtracking slow: a state is stored then. */
const MAX_HISTORY = 40;

/** Forgets registers and slots of a finished state that nothing behind it reads, so that more states match it. */
function cleanState(env: Env, state: VState): void {
  env.liveStack.startQuery(state);
  state.cleaned = true;
  state.differentFrame = -1;
  for (let i = 0; i < state.frames.length; i++) {
    const live = env.liveRegs[state.insnOfFrame(i)]!;
    const frame = state.frames[i]!;
    for (let n = 0; n < 10; n++) {
      if ((live & (1 << n)) === 0 && frame.regs[n]!.type !== NOT_INIT) state.own(i).regs[n] = NOT_INIT_REG;
    }
    const { stack } = state.frames[i]!;
    for (let spi = 0; spi < stack.length; spi++) {
      if (stack[spi] !== EMPTY_SLOT && !env.liveStack.isAlive(frame.frameno, spi)) {
        state.setSlot(i, spi, EMPTY_SLOT);
      }
    }
  }
}

function cleanLiveStates(env: Env, explored: Explored, bucket: number, insn: number): void {
  for (let st = explored.head(bucket); st !== null; st = st.next) {
    if (st.branches > 0 || st.insn !== insn || st.cleaned || !sameCallsites(st, env.cur)) continue;
    if (!explored.hasBackEdges(st)) cleanState(env, st);
  }
}

/** Whoever looks on may have the path ended instead. */
function refuseEndlessLoop(env: Env, old: VState, insn: number): Match {
  const { cur } = env;
  const refusal = new Refusal('EINVAL', { kind: 'endless_loop', insn });
  if (env.watcher?.refused?.(refusal, insn) === true) return 'hit-in-loop';
  env.verboseLine(insn, '; ');
  env.verbose(`infinite loop detected at insn ${insn}\ncur state:`);
  env.printState(cur, cur.curframe, true);
  env.verbose('old state:');
  env.printState(old, cur.curframe, true);
  throw refusal;
}

type Match = 'hit' | 'miss' | 'miss-in-loop' | 'hit-in-loop';

/** Whether the iterator that R1 points to may have more elements; the state is known to be valid. */
function advancesActive(state: VState): boolean {
  const r1 = state.frame.regs[1]!;
  const spi = slotIndex(r1.off + Number(BigInt.asIntN(64, r1.v.tnum.value)));
  return iterState(state.frames[r1.frameno]!.stack[spi]!.reg) === ITER_ACTIVE;
}

/** Compares with a state on the current path: its paths are not finished, so it proves nothing by itself. */
function matchOpen(env: Env, old: VState, insn: number): Match {
  const { cur } = env;
  const inner = old.frame;
  if (inner.inAsyncCallback && inner.asyncEntryCount !== cur.frame.asyncEntryCount) return 'miss-in-loop';
  if ((env.marks[insn]! & ITER_NEXT) !== 0) {
    const converged = statesEqual(env, old, cur, RANGE_WITHIN) && advancesActive(cur);
    return converged ? 'hit-in-loop' : 'miss-in-loop';
  }
  if (
    isMayGoto(env.insns[insn]!) &&
    old.mayGotoDepth !== cur.mayGotoDepth &&
    statesEqual(env, old, cur, RANGE_WITHIN)
  ) {
    return 'hit-in-loop';
  }
  if ((env.marks[insn]! & CALLS_CALLBACK) !== 0) {
    return statesEqual(env, old, cur, RANGE_WITHIN) ? 'hit' : 'miss-in-loop';
  }
  if (
    maybeLooping(old, cur) &&
    statesEqual(env, old, cur, EXACT) &&
    !iterDepthsDiffer(old, cur) &&
    old.mayGotoDepth === cur.mayGotoDepth &&
    old.callbackUnrollDepth === cur.callbackUnrollDepth
  ) {
    return refuseEndlessLoop(env, old, insn);
  }
  return 'miss-in-loop';
}

function takeHit(env: Env, explored: Explored, old: VState, insn: number, inLoop: boolean): void {
  const { cur } = env;
  old.hitCount++;
  if ((env.marks[insn]! & JUMP_POINT) !== 0) env.pushHistory(0);
  propagatePrecision(env, old, cur);
  if (!inLoop) return;
  // The marks of `old` are not final: they are handed over once its loop is explored.
  const edge = cur.copy();
  edge.equalState = old;
  edge.insn = insn;
  explored.addBackEdge(old, edge);
}

/** True where the current state is covered by an explored one and need not be followed. */
export function isStateVisited(env: Env, explored: Explored): boolean {
  const { cur, insn } = env;
  const bucket = explored.bucket(insn);
  const forced = (env.marks[insn]! & FORCE_CHECKPOINT) !== 0;
  const forceNew = env.testStateFreq || forced || (cur.history !== null && cur.history.length > MAX_HISTORY);
  let addNew = forceNew;
  const jumps = env.jumpsProcessed - env.prevJumpsProcessed;
  const insns = env.insnsProcessed - env.prevInsnsProcessed;
  // Few instructions since the last one: not worth another state.
  if (jumps >= 2 && insns >= 8) addNew = true;

  cleanLiveStates(env, explored, bucket, insn);

  let states = 0;
  let previous: VState | null = null;
  for (let st = explored.head(bucket); st !== null; ) {
    const next: VState | null = st.next;
    states++;
    if (st.insn !== insn) {
      previous = st;
      st = next;
      continue;
    }
    if (st.branches > 0) {
      const match = matchOpen(env, st, insn);
      if (match === 'hit' || match === 'hit-in-loop') {
        takeHit(env, explored, st, insn, match === 'hit-in-loop');
        return true;
      }
      // Iterations of a loop are different states that help little: keep few of them.
      if (!forceNew && jumps < 20 && insns < 100) addNew = false;
    } else {
      const inLoop = explored.hasBackEdges(st);
      if (statesEqual(env, st, cur, inLoop ? RANGE_WITHIN : NOT_EXACT)) {
        takeHit(env, explored, st, insn, inLoop);
        return true;
      }
    }
    if (addNew) st.missCount++;
    const patience = forced && st.branches > 0 ? 64 : 3;
    if (st.missCount > st.hitCount * patience + patience) explored.remove(bucket, previous, st);
    else previous = st;
    st = next;
  }

  if (states > env.maxStatesPerInsn) env.maxStatesPerInsn = states;
  if (!env.bpfCapable && states > COMPLEXITY_LIMIT_STATES) return false;
  if (addNew) remember(env, explored, bucket);
  return false;
}

function remember(env: Env, explored: Explored, bucket: number): void {
  const { cur, insn } = env;
  env.totalStates++;
  env.exploredStates++;
  env.updatePeak();
  env.prevJumpsProcessed = env.jumpsProcessed;
  env.prevInsnsProcessed = env.insnsProcessed;
  const stored = cur.copy();
  stored.insn = insn;
  explored.enterLoop(stored);
  cur.parent = stored;
  cur.firstInsn = insn;
  cur.dfsDepth = stored.dfsDepth + 1;
  cur.history = null;
  explored.add(bucket, stored);
}

function widen(precise: boolean, old: Reg, cur: Reg): Reg {
  if (old.type !== SCALAR || cur.type !== SCALAR || precise || regsExactShared(old, cur)) return cur;
  return UNKNOWN_REG;
}

/** Between two rounds of a loop, scalars that changed and are not needed precisely become unknown: so that it converges. */
export function widenImprecise(env: Env, old: VState, cur: VState): void {
  resetIds(env);
  for (let i = old.frames.length - 1; i >= 0; i--) {
    const a = old.frames[i]!;
    for (let n = 0; n < 11; n++) {
      const reg = cur.frames[i]!.regs[n]!;
      const wide = widen(old.isRegPrecise(i, n), a.regs[n]!, reg);
      if (wide !== reg) cur.own(i).regs[n] = wide;
    }
    const slots = Math.min(a.stack.length, cur.frames[i]!.stack.length);
    for (let spi = 0; spi < slots; spi++) {
      const slot = cur.frames[i]!.stack[spi]!;
      if (!isSpilled(a.stack[spi]!) || !isSpilled(slot)) continue;
      const wide = widen(old.isSlotPrecise(i, spi), a.stack[spi]!.reg, slot.reg);
      if (wide !== slot.reg) cur.setSlot(i, spi, new Slot(slot.types, wide));
    }
  }
}
