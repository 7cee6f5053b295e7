/**
 * Stack of all frames that can be active together: at most 512 bytes, at most 8 frames, and at most 256 below a function
 * that makes tail calls. Tracing programs keep large frames apart. Kernel 6.18: check_max_stack_depth.
 */
import { isMayGoto } from './cfg.ts';
import { isPseudoCall, isPseudoFunc } from './check-structure.ts';
import type { Env } from './env.ts';
import { attachTypeName } from './helper-table.ts';
import { kfuncOf } from './kfunc/resolve.ts';
import { MAX_FRAMES, STACK_LIMIT } from './state.ts';

/** Frames from this size on get a stack of their own where the program type may have one. */
const PRIVATE_STACK_MIN = 64;
const TAIL_CALL_LIMIT = 256;

const UNKNOWN = 0;
const NONE = 1;
const PRIVATE = 2;
type StackMode = typeof UNKNOWN | typeof NONE | typeof PRIVATE;

function rounded(depth: number): number {
  return Math.ceil(depth / 16) * 16;
}

function walk(env: Env, entry: number, modes: StackMode[], privateAllowed: boolean): void {
  const { subprogs, insns } = env;
  const returns: { insn: number; subprog: number }[] = [];
  let index = entry;
  let depth = 0;
  let tailCallBelow = false;
  let i = subprogs[index]!.start;

  const enter = (): void => {
    const subprog = subprogs[index]!;
    if (!privateAllowed) modes[index] = NONE;
    if (index !== 0 && subprog.hasTailCall && depth >= TAIL_CALL_LIMIT) {
      env.fail(
        'EACCES',
        `tail_calls are not allowed when call stack of previous frames is ${depth} bytes. Too large`,
        { kind: 'stack_tail_call', at: subprog.start, actual: depth, limit: 256 },
      );
    }
    const size = rounded(subprog.stackDepth);
    if (privateAllowed && modes[index] === UNKNOWN && size >= PRIVATE_STACK_MIN) modes[index] = PRIVATE;
    if (modes[index] === PRIVATE) {
      if (size > STACK_LIMIT)
        env.fail('EACCES', `stack size of subprog ${index} is ${size}. Too large`, {
          kind: 'stack_frame',
          actual: size,
          limit: STACK_LIMIT,
          at: subprog.start,
        });
      return;
    }
    depth += size;
    if (depth > STACK_LIMIT) {
      env.fail('EACCES', `combined stack size of ${returns.length + 1} calls is ${depth}. Too large`, {
        kind: 'stack_combined',
        at: subprog.start,
        actual: depth,
        limit: STACK_LIMIT,
      });
    }
  };

  enter();
  for (;;) {
    const { end } = subprogs[index]!;
    let called = false;
    for (; i < end; i++) {
      const insn = insns[i]!;
      const call = isPseudoCall(insn);
      if (kfuncOf(env, insn)?.row?.throws) {
        const inside =
          subprogs[index]!.isCallback || returns.some((frame) => subprogs[frame.subprog]!.isCallback);
        if (!inside) continue;
        env.fail('EINVAL', `bpf_throw kfunc (insn ${i}) cannot be called from callback subprog ${index}`, {
          kind: 'callback',
          at: i,
          detail: 'throws',
        });
      }
      if (!call && !isPseudoFunc(insn)) continue;
      const target = i + insn.imm + 1;
      const callee = env.subprogStartingAt(target);
      // Asynchronous callbacks run on a stack of their own.
      if (subprogs[callee]!.isAsyncCallback && !call) continue;
      if (callee === env.exceptionCallback && callee !== 0) {
        env.fail('EINVAL', `insn ${i} cannot call exception cb directly`, {
          kind: 'callback',
          at: i,
          detail: 'exception',
        });
      }
      returns.push({ insn: i + 1, subprog: index });
      i = target;
      index = callee;
      if (subprogs[index]!.hasTailCall) tailCallBelow = true;
      if (returns.length >= MAX_FRAMES) {
        env.fail('E2BIG', `the call stack of ${returns.length} frames is too deep !`, {
          kind: 'call_depth',
          at: returns[returns.length - 1]!.insn - 1,
          actual: returns.length,
          limit: 8,
        });
      }
      enter();
      called = true;
      break;
    }
    if (called) continue;
    if (tailCallBelow) {
      for (const frame of returns) {
        if (frame.subprog === env.exceptionCallback && frame.subprog !== 0) {
          env.fail('EINVAL', 'cannot tail call within exception cb', {
            kind: 'callback',
            detail: 'exception',
          });
        }
        subprogs[frame.subprog]!.tailCallReachable = true;
      }
    }
    const back = returns.pop();
    if (back === undefined) return;
    if (modes[index] !== PRIVATE) depth -= rounded(subprogs[index]!.stackDepth);
    i = back.insn;
    index = back.subprog;
  }
}

/** Whether the kernel keeps the program from running within itself, so that one stack more is enough. */
function mayHavePrivateStack(env: Env): boolean {
  if (env.replaces || !env.release.has('private_stacks')) return false;
  const { privateStack } = env.request.progType;
  return privateStack === true || privateStack?.includes(attachTypeName(env) ?? '') === true;
}

export function checkStackDepth(env: Env): void {
  const { subprogs } = env;
  const tailCalls = subprogs.some((subprog) => subprog.hasTailCall);
  const privateStack = !tailCalls && mayHavePrivateStack(env);
  const modes: StackMode[] = subprogs.map(() => UNKNOWN);
  // Functions of asynchronous callbacks first: what they share with the program stays on the common stack.
  for (let i = subprogs.length - 1; i >= 0; i--) {
    if (i === 0 || subprogs[i]!.isAsyncCallback) walk(env, i, modes, i === 0 && privateStack);
  }
}

/** Bytes of a frame that an inlined bpf_loop and a may_goto's counter need beside the program's own. */
const INLINED_LOOP = 24;
const MAY_GOTO_COUNTER = 16;

/** Stack of each function as the kernel reports it, with what its rewrites add. */
export function reportedStackDepth(env: Env): number[] {
  return env.subprogs.map(({ start, end, stackDepth }) => {
    let loop = false;
    let counter = false;
    for (let i = start; i < end; i++) {
      if (env.seen[i] === 0) continue;
      if ((env.inlineLoops.get(i) ?? -1) >= 0) loop = true;
      if (isMayGoto(env.insns[i]!) && env.insns[i]!.off !== 0) counter = true;
    }
    return stackDepth + (loop ? INLINED_LOOP : 0) + (counter ? MAY_GOTO_COUNTER : 0);
  });
}
