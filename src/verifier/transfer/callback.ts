/**
 * Functions that a helper calls. A synchronous callback is explored as a call from the helper, again and again until a
 * round adds nothing; an asynchronous one as a function of its own. One setter a shape says what its arguments are.
 * Kernel 6.18: push_callback_call, set_*_callback_state.
 */

import type { MapInfo, SpecialField } from '../../contracts/maps.ts';
import type { KfuncRow } from '../../spec/index.ts';
import type { HelperRow } from '../../spec/types.ts';
import { dynptrReg } from '../dynptr.ts';
import type { Env } from '../env.ts';
import { fieldStruct, kernelStruct } from '../kernel-types.ts';
import {
  CONST_PTR_TO_MAP,
  MEM_ALLOC,
  MEM_RCU,
  NON_OWN_REF,
  NOT_INIT_REG,
  PTR_TO_BTF_ID,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  pointerReg,
  type Reg,
  type StructRef,
  UNKNOWN_REG,
} from '../registers.ts';
import { Frame, MAX_FRAMES, type RetvalRange, type VState } from '../state.ts';
import { checkSubprogArgs } from '../subprog-args.ts';

type Shape = NonNullable<HelperRow['callbackShape']> | NonNullable<KfuncRow['callbackShape']>;

/** A call that makes the kernel call a function of the program. */
export interface CallbackCall {
  readonly subprog: number;
  readonly shape: Shape;
  readonly async: boolean;
  /** An asynchronous callback that may sleep. */
  readonly sleeps?: boolean;
  readonly map: MapInfo | null;
  /** The tree whose elements are compared. */
  readonly root?: SpecialField | null;
}

interface ShapeRules {
  /** R1–R5 of the callback, from the caller's registers. */
  readonly args: (env: Env, caller: readonly Reg[], call: CallbackCall) => readonly Reg[];
  readonly range: RetvalRange;
}

const ZERO_OR_ONE: RetvalRange = { min: 0, max: 1 };

const SHAPES: Readonly<Record<Shape, ShapeRules>> = {
  // (index, ctx)
  loop: { args: (_env, caller) => [UNKNOWN_REG, caller[3]!], range: ZERO_OR_ONE },
  // (map, key, value, ctx)
  for_each_map_elem: {
    args: (env, caller, call) => {
      const map = call.map!;
      if (!map.type.forEach)
        env.fail('ENOTSUPP', 'callback function not allowed for map', {
          kind: 'callback',
          map: map.name,
          detail: 'map',
        });
      return [
        caller[1]!,
        pointerReg(PTR_TO_MAP_KEY, { map }),
        pointerReg(PTR_TO_MAP_VALUE, { map }),
        caller[3]!,
      ];
    },
    range: ZERO_OR_ONE,
  },
  // (map, key, value)
  timer: {
    args: (_env, caller) => {
      const { map } = caller[1]!;
      return [
        pointerReg(CONST_PTR_TO_MAP, { map }),
        pointerReg(PTR_TO_MAP_KEY, { map }),
        pointerReg(PTR_TO_MAP_VALUE, { map }),
      ];
    },
    range: { min: 0, max: 0 },
  },
  // (map, key, value)
  task_work: {
    args: (_env, caller) => {
      const { map } = caller[3]!;
      return [
        pointerReg(CONST_PTR_TO_MAP, { map }),
        pointerReg(PTR_TO_MAP_KEY, { map }),
        pointerReg(PTR_TO_MAP_VALUE, { map }),
      ];
    },
    range: { min: -0x8000_0000, max: 0x7fff_ffff },
  },
  // (node, node)
  rbtree_less: {
    args: (env, _caller, call) => {
      const node = graphNode(env, call.root!, nonOwningFlags(fieldStruct(env, call.root!)));
      return [node, node];
    },
    range: ZERO_OR_ONE,
  },
  // (task, vma, ctx)
  find_vma: {
    args: (env, caller) => [
      caller[1]!,
      pointerReg(PTR_TO_BTF_ID, { struct: kernelStruct(env, 'vm_area_struct') }),
      caller[4]!,
    ],
    range: ZERO_OR_ONE,
  },
  // (dynptr, ctx)
  user_ringbuf_drain: {
    args: (env, caller) => [dynptrReg('local', true, env.nextId()), caller[3]!],
    range: ZERO_OR_ONE,
  },
};

/** A pointer to a node that a list or tree holds. */
export function graphNode(env: Env, root: SpecialField, flags: number): Reg {
  const struct = fieldStruct(env, root);
  return pointerReg(PTR_TO_BTF_ID | MEM_ALLOC | flags, { struct, off: root.nodeOffset ?? 0 });
}

/** Flags of a pointer that does not own its object; what is counted lives until the end of the RCU section. */
export function nonOwningFlags(struct: StructRef | null): number {
  return NON_OWN_REF | (struct?.fields?.some(({ kind }) => kind === 'refcount') ? MEM_RCU : 0);
}

function setArgs(frame: Frame, args: readonly Reg[], range: RetvalRange): void {
  for (let i = 0; i < 5; i++) frame.regs[i + 1] = args[i] ?? NOT_INIT_REG;
  frame.callbackRange = range;
}

/** Adds a frame for `subprog` to a state; refuses calls that are nested too deep. */
export function enterFrame(env: Env, state: VState, subprog: number, callsite: number): Frame {
  if (state.frames.length >= MAX_FRAMES) {
    env.fail('E2BIG', `the call stack of ${state.frames.length + 1} frames is too deep`, {
      kind: 'call_depth',
      actual: state.frames.length + 1,
      limit: 8,
    });
  }
  const frame = new Frame(state.owner, callsite, state.frames.length, subprog);
  env.scratched.markAll();
  state.frames.push(frame);
  return frame;
}

/** Queues a visit of the callback that the helper at the current instruction calls. */
export function pushCallback(env: Env, call: CallbackCall): void {
  const { subprog, shape } = call;
  const rules = SHAPES[shape];
  checkSubprogArgs(env, subprog);
  const target = env.subprogs[subprog]!;
  target.isCallback = true;
  target.callbackShape = shape;
  const caller = env.cur.frame;
  if (call.async) {
    target.isAsyncCallback = true;
    const state = env.pushAsync(target.start, env.insn, subprog, call.sleeps === true);
    const frame = state.own(0);
    frame.asyncEntryCount = caller.asyncEntryCount + 1;
    setArgs(frame, rules.args(env, caller.regs, call), rules.range);
    frame.inAsyncCallback = true;
    return;
  }
  if (!env.release.has('callbacks_again')) {
    env.entering = { subprog, args: rules.args(env, caller.regs, call), range: rules.range };
    return;
  }
  const state = env.pushPath(target.start, env.insn, false, 'ENOMEM');
  const frame = enterFrame(env, state, subprog, env.insn);
  setArgs(frame, rules.args(env, caller.regs, call), rules.range);
  frame.inCallback = true;
  state.callbackUnrollDepth++;
  state.own(state.curframe - 1).callbackDepth++;
  env.cur.ownCurrent().callbackDepth = 0;
}

/**
 * Before 6.6 a synchronous callback is one call, on the only path, that returns behind the helper: entered once the helper's
 * result is set.
 */
export function enterCallback(env: Env): void {
  const { entering } = env;
  if (entering === null) return;
  env.entering = null;
  const frame = enterFrame(env, env.cur, entering.subprog, env.insn);
  setArgs(frame, entering.args, entering.range);
  frame.inCallback = true;
  env.insn = env.subprogs[entering.subprog]!.start - 1;
  env.liveStack.resetCurrent();
}
