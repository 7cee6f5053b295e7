/**
 * The tree of explored states: lists by instruction and call site, the count of unexplored branches, and the visits of
 * loops whose back edges still have to hand their precision marks back (kernel 6.18: explored_states, scc_visit).
 */
import { markAllPrecise, propagatePrecision } from './backtrack.ts';
import type { Env } from './env.ts';
import type { LoopVisit, VState } from './state.ts';

const MAX_BACKEDGE_ROUNDS = 64;

export class Explored {
  private readonly env: Env;
  private readonly heads: (VState | null)[];
  private readonly visits = new Map<string | number, LoopVisit>();

  constructor(env: Env) {
    this.env = env;
    this.heads = new Array(env.count).fill(null);
  }

  /** States of the bucket of `insn` seen from the current state, newest first. */
  bucket(insn: number): number {
    return ((insn ^ this.env.cur.frame.callsite) >>> 0) % this.env.count;
  }

  head(bucket: number): VState | null {
    return this.heads[bucket]!;
  }

  add(bucket: number, state: VState): void {
    state.next = this.heads[bucket]!;
    this.heads[bucket] = state;
  }

  /** Takes `state` out of its list; `previous` stands before it there. */
  remove(bucket: number, previous: VState | null, state: VState): void {
    if (previous === null) this.heads[bucket] = state.next;
    else previous.next = state.next;
    const { env } = this;
    state.inFreeList = true;
    env.freeListSize++;
    env.exploredStates--;
    this.maybeFree(state);
  }

  private maybeFree(state: VState): void {
    if (!state.inFreeList || state.branches !== 0 || this.hasBackEdges(state)) return;
    this.env.freeListSize--;
    state.inFreeList = false;
  }

  /** Chain of calls into the innermost loop that a frame stands in; null outside of loops. */
  private chainOf(state: VState): string | number | null {
    const { scc } = this.env;
    const outer = scc[state.insnOfFrame(0)]!;
    if (outer !== 0) return outer;
    let chain = '';
    for (let i = 0; i < state.frames.length; i++) {
      const insn = state.insnOfFrame(i);
      const component = scc[insn]!;
      if (component !== 0) return `${chain}${component}`;
      chain += `${insn},`;
    }
    return null;
  }

  private logChain(what: string, chain: string | number | null): void {
    if (!this.env.logsAll || chain === null) return;
    // The kernel's text leaves out the calls from the first one at instruction 0 on.
    const parts = String(chain).split(',');
    const zero = parts.indexOf('0');
    if (zero >= 0) parts.splice(zero, parts.length - 1 - zero);
    this.env.verbose(`SCC ${what} (${parts.join(',')})\n`);
  }

  /** The marks of the (stored) state are not complete: a back edge into its loop is still open. */
  hasBackEdges(state: VState): boolean {
    return state.visit !== null && state.visit.backEdges.length > 0;
  }

  /** A state is about to be stored. */
  enterLoop(state: VState): void {
    const chain = this.chainOf(state);
    if (chain === null) return;
    let visit = this.visits.get(chain);
    if (visit === undefined) {
      visit = { entry: null, backEdges: [] };
      this.visits.set(chain, visit);
    }
    state.visit = visit;
    if (visit.entry !== null) return;
    visit.entry = state;
    this.logChain('enter', chain);
  }

  addBackEdge(of: VState, edge: VState): void {
    const { visit } = of;
    if (visit === null) return;
    if (this.env.logsAll) this.logChain('backedge', this.chainOf(of));
    visit.backEdges.unshift(edge);
    this.env.backEdges++;
    this.env.updatePeak();
  }

  private exitLoop(state: VState): void {
    const { visit } = state;
    if (visit === null || visit.entry !== state) return;
    if (this.env.logsAll) this.logChain('exit', this.chainOf(state));
    visit.entry = null;
    this.env.backEdges -= visit.backEdges.length;
    this.env.updatePeak();
    this.propagate(visit);
  }

  /** Hands marks over the back edges until none is new. */
  private propagate(visit: LoopVisit): void {
    const { env } = this;
    for (let round = 1, changed = true; changed; round++) {
      if (round > MAX_BACKEDGE_ROUNDS) {
        for (const edge of visit.backEdges) markAllPrecise(env, edge);
        break;
      }
      changed = false;
      for (const edge of visit.backEdges) {
        if (propagatePrecision(env, edge.equalState!, edge)) changed = true;
      }
    }
    visit.backEdges = [];
  }

  /** The path that ended at `state` is explored: its ancestors have one branch less. */
  finishPath(state: VState): void {
    let st: VState | null = state;
    let listed = false;
    while (st !== null) {
      if (--st.branches > 0) break;
      this.exitLoop(st);
      if (listed) this.maybeFree(st);
      st = st.parent;
      listed = true;
    }
  }

  /** The newest state at `insn` on the current path, below `cur` in the tree. */
  previousEntry(cur: VState, insn: number): VState | null {
    for (let st = this.head(this.bucket(insn)); st !== null; st = st.next) {
      if (st.insn === insn && st.branches > 0 && sameCallsites(st, cur) && st.dfsDepth < cur.dfsDepth)
        return st;
    }
    return null;
  }

  clear(): void {
    this.heads.fill(null);
    this.visits.clear();
  }
}

export function sameCallsites(a: VState, b: VState): boolean {
  if (a.frames.length !== b.frames.length) return false;
  for (let i = a.frames.length - 1; i >= 0; i--) {
    if (a.frames[i]!.callsite !== b.frames[i]!.callsite) return false;
  }
  return true;
}
