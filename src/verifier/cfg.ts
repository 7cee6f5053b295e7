/**
 * The control flow graph: every instruction reachable, no back edge in unprivileged programs, the points where states are
 * compared (kernel: check_cfg), postorder and strongly connected components (compute_postorder, compute_scc).
 *
 * The walk is iterative and visits edges in the kernel's order, because marks and messages depend on it.
 */
import { CLASS, insnClass, insnOp, JMP_OP, LD_IMM64, SOURCE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { isHelperCall, isKfuncCall, isPseudoCall, isPseudoFunc, jumpDistance } from './check-structure.ts';
import { CALLS_CALLBACK, type Env, FORCE_CHECKPOINT, ITER_NEXT, JUMP_POINT, PRUNE_POINT } from './env.ts';
import { helperPrototype, helperRow } from './helper-table.ts';
import { kfuncOf } from './kfunc/resolve.ts';

const DISCOVERED = 0x10;
const EXPLORED = 0x20;
const FALLTHROUGH = 1;
const BRANCH = 2;

export const MAY_GOTO_CODE = CLASS.JMP | JMP_OP.JCOND;

export function isMayGoto(insn: Insn): boolean {
  return insn.code === MAY_GOTO_CODE && insn.src === 0;
}

/** Writes the possible next instructions (fall-through first) to `out` and returns their number. */
export function successors(insns: readonly Insn[], index: number, out: number[]): number {
  const insn = insns[index]!;
  const cls = insnClass(insn.code);
  let n = 0;
  if (cls === CLASS.JMP || cls === CLASS.JMP32) {
    const op = insnOp(insn.code);
    if (op === JMP_OP.EXIT) return 0;
    if (op === JMP_OP.CALL) {
      out[n++] = index + 1;
      return n;
    }
    if (op !== JMP_OP.JA) out[n++] = index + 1;
    out[n++] = index + jumpDistance(insn) + 1;
    return n;
  }
  out[n++] = index + (insn.code === LD_IMM64 ? 2 : 1);
  return n;
}

class Walk {
  readonly env: Env;
  readonly state: Uint8Array;
  readonly stack: number[] = [0];

  constructor(env: Env) {
    this.env = env;
    this.state = new Uint8Array(env.count);
    this.state[0] = DISCOVERED;
  }

  mark(index: number, bits: number): void {
    if (index >= 0 && index < this.env.count) this.env.marks[index]! |= bits;
  }

  /** Follows the edge t → w; true where w is to be explored first. */
  push(t: number, w: number, edge: number): boolean {
    const { env, state } = this;
    if (state[t]! >= (DISCOVERED | edge)) return false;
    if (w < 0 || w >= env.count) {
      env.verboseLine(t, `${t}: `);
      env.fail('EINVAL', `jump out of range from insn ${t} to ${w}`, {
        kind: 'jump_out_of_range',
        at: t,
        insn: w,
      });
    }
    if (edge === BRANCH) this.mark(w, PRUNE_POINT | JUMP_POINT);
    if (state[w] === 0) {
      state[t] = DISCOVERED | edge;
      state[w] = DISCOVERED;
      if (this.stack.length >= env.count) env.refuse('E2BIG', { kind: 'internal' });
      this.stack.push(w);
      return true;
    }
    if ((state[w]! & 0xf0) === DISCOVERED) {
      if (env.bpfCapable && this.mayLoop(t)) return false;
      env.verboseLine(t, `${t}: `);
      env.verboseLine(w, `${w}: `);
      env.fail('EINVAL', `back-edge from insn ${t} to ${w}`, { kind: 'back_edge', at: t, insn: w });
    }
    state[t] = DISCOVERED | edge;
    return false;
  }

  /** Whether the edge from `t` may close a loop in privileged programs. */
  mayLoop(t: number): boolean {
    const { env } = this;
    if (env.release.has('loops_entered_by_falling_through')) return true;
    const { code } = env.insns[t]!;
    const cls = insnClass(code);
    if (cls !== CLASS.JMP && cls !== CLASS.JMP32) return false;
    return insnOp(code) !== JMP_OP.CALL;
  }

  visitCall(t: number, intoCallee: boolean): boolean {
    const { env } = this;
    const insn = env.insns[t]!;
    const next = t + (insn.code === LD_IMM64 ? 2 : 1);
    if (this.push(t, next, FALLTHROUGH)) return true;
    this.mark(next, PRUNE_POINT | JUMP_POINT);
    if (!intoCallee) return false;
    const callee = t + insn.imm + 1;
    this.mark(t, PRUNE_POINT);
    const to = env.subprogs[env.subprogAt(t)]!;
    const from = env.subprogs[env.subprogAt(callee)]!;
    to.changesPacket ||= from.changesPacket;
    to.mightSleep ||= from.mightSleep;
    return this.push(t, callee, BRANCH);
  }

  visitHelperCall(t: number, id: number): void {
    const { env } = this;
    const row = helperRow(env, id);
    if (row === undefined) return;
    if (row.callback === 'async') this.mark(t, PRUNE_POINT);
    if (row.callback === 'sync') this.mark(t, CALLS_CALLBACK | FORCE_CHECKPOINT | PRUNE_POINT | JUMP_POINT);
    const subprog = env.subprogs[env.subprogAt(t)]!;
    // Whose prototypes count for a program that replaces a function is not known yet.
    if (helperPrototype(env, id)?.mightSleep) subprog.mightSleep = true;
    if (row.changesPacket) subprog.changesPacket = true;
  }

  visitKfuncCall(t: number): void {
    const { env } = this;
    const row = kfuncOf(env, env.insns[t]!)?.row;
    if (row === null || row === undefined) return;
    if (row.callback === 'async') this.mark(t, PRUNE_POINT);
    if (row.callback === 'sync') this.mark(t, CALLS_CALLBACK | FORCE_CHECKPOINT | PRUNE_POINT | JUMP_POINT);
    if (row.flags.has('iter_next')) this.mark(t, ITER_NEXT | FORCE_CHECKPOINT | PRUNE_POINT);
    const subprog = env.subprogs[env.subprogAt(t)]!;
    if (row.flags.has('sleepable')) subprog.mightSleep = true;
    if (row.changesPacket) subprog.changesPacket = true;
  }

  /** True where another instruction has to be explored first. */
  visit(t: number): boolean {
    const { env } = this;
    const insn = env.insns[t]!;
    if (isPseudoFunc(insn)) return this.visitCall(t, true);
    const cls = insnClass(insn.code);
    if (cls !== CLASS.JMP && cls !== CLASS.JMP32) {
      return this.push(t, t + (insn.code === LD_IMM64 ? 2 : 1), FALLTHROUGH);
    }
    switch (insnOp(insn.code)) {
      case JMP_OP.EXIT:
        return false;
      case JMP_OP.CALL:
        if (isHelperCall(insn)) this.visitHelperCall(t, insn.imm);
        else if (isKfuncCall(insn)) this.visitKfuncCall(t);
        return this.visitCall(t, isPseudoCall(insn));
      case JMP_OP.JA: {
        if ((insn.code & SOURCE.X) !== 0) env.refuse('EINVAL', { kind: 'encoding', at: t });
        const target = t + (cls === CLASS.JMP ? insn.off : insn.imm) + 1;
        if (this.push(t, target, FALLTHROUGH)) return true;
        this.mark(target, PRUNE_POINT | JUMP_POINT);
        return false;
      }
      default:
        this.mark(t, PRUNE_POINT);
        if (isMayGoto(insn)) this.mark(t, FORCE_CHECKPOINT);
        if (this.push(t, t + 1, FALLTHROUGH)) return true;
        return this.push(t, t + insn.off + 1, BRANCH);
    }
  }
}

/** Walks the graph depth first, marks prune and jump points, and refuses what cannot be reached. */
export function checkCfg(env: Env): void {
  const walk = new Walk(env);
  const { stack, state } = walk;
  const explore = (): void => {
    while (stack.length > 0) {
      const t = stack[stack.length - 1]!;
      if (walk.visit(t)) continue;
      state[t] = EXPLORED;
      stack.pop();
    }
  };
  explore();
  // Nothing calls the function that handles exceptions.
  const handler = env.exceptionCallback === 0 ? 0 : env.subprogs[env.exceptionCallback]!.start;
  if (handler !== 0 && state[handler] !== EXPLORED) {
    state[handler] = DISCOVERED;
    stack.push(handler);
    explore();
  }
  for (let i = 0; i < env.count; i++) {
    if (state[i] !== EXPLORED)
      env.fail('EINVAL', `unreachable insn ${i}`, { kind: 'unreachable_code', at: i });
    if (env.insns[i]!.code === LD_IMM64) {
      if (state[i + 1] !== 0)
        env.fail('EINVAL', `jump into the middle of ldimm64 insn ${i}`, {
          kind: 'jump_into_constant',
          at: i,
        });
      i++;
    }
  }
}

/** Instructions of each subprogram in postorder. */
export function computePostorder(env: Env): void {
  const order: number[] = [];
  const state = new Uint8Array(env.count);
  const next: number[] = [0, 0];
  for (const subprog of env.subprogs) {
    subprog.postorderStart = order.length;
    const stack = [subprog.start];
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      state[top]! |= DISCOVERED;
      if ((state[top]! & EXPLORED) !== 0) {
        order.push(top);
        stack.pop();
        continue;
      }
      const n = successors(env.insns, top, next);
      for (let s = 0; s < n; s++) {
        const w = next[s]!;
        if (state[w] === 0) {
          stack.push(w);
          state[w] = DISCOVERED;
        }
      }
      state[top]! |= EXPLORED;
    }
    subprog.postorderEnd = order.length;
  }
  env.postorder = Int32Array.from(order);
}

/** Numbers the strongly connected components that are loops; 0 for instructions outside of any (Tarjan, iterative). */
export function computeScc(env: Env): void {
  const { count, scc } = env;
  const OFF_STACK = 0xffff_ffff;
  const pre = new Uint32Array(count);
  const low = new Uint32Array(count);
  const stack: number[] = [];
  const next: number[] = [0, 0];
  let preorder = 1;
  let component = 1;
  for (let root = 0; root < count; root++) {
    if (pre[root] !== 0) continue;
    const dfs = [root];
    while (dfs.length > 0) {
      const w = dfs[dfs.length - 1]!;
      if (pre[w] === 0) {
        low[w] = preorder;
        pre[w] = preorder++;
        stack.push(w);
      }
      const n = successors(env.insns, w, next);
      let deeper = false;
      for (let j = 0; j < n; j++) {
        const s = next[j]!;
        if (s >= count) continue;
        if (pre[s] !== 0) {
          if (low[s]! < low[w]!) low[w] = low[s]!;
        } else {
          dfs.push(s);
          deeper = true;
          break;
        }
      }
      if (deeper) continue;
      dfs.pop();
      if (low[w]! < pre[w]!) continue;
      let isLoop = stack[stack.length - 1] !== w;
      for (let j = 0; j < n; j++) if (next[j] === w) isLoop = true;
      for (;;) {
        const t = stack.pop()!;
        low[t] = OFF_STACK;
        if (isLoop) scc[t] = component;
        if (t === w) break;
      }
      if (isLoop) component++;
    }
  }
}
