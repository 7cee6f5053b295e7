/** How engines call helpers and how callbacks are called: derived from the rows, the same for interpreter and JIT. */
import type { KfuncRow } from './kfuncs/row.ts';
import type { HelperArg, HelperRow } from './types.ts';

export type ParamAbi = 'u32' | 'u64';
export type ResultAbi = 's32' | 'u64' | 'ptr' | 'void';

/** `u64` passes low and high half as two i32, `u32` the low half alone (pointers: the offset in the linear memory). */
export function argAbi(arg: HelperArg): ParamAbi {
  return arg.abi ?? (arg.kind === 'anything' ? 'u64' : 'u32');
}

/** Parameters of the function behind a helper, in the order of R1..R5. */
export function helperParams(row: Pick<HelperRow, 'args' | 'rawArgs'>): ParamAbi[] {
  const params = row.args.map(argAbi);
  for (const _ of row.rawArgs ?? []) params.push('u64');
  return params;
}

/** How the function behind a helper gives its result back; see `HelperReturn.abi`. */
export function helperResult(row: Pick<HelperRow, 'ret'>): ResultAbi {
  const { kind, abi } = row.ret;
  if (abi !== undefined) return abi;
  if (kind === 'void') return 'void';
  return kind === 'integer' ? 's32' : 'ptr';
}

export type CallbackShape = NonNullable<HelperRow['callbackShape']> | NonNullable<KfuncRow['callbackShape']>;

export interface CallbackParams {
  /** R1..R5 of the callback as the helper sets them. */
  readonly params: readonly ('u32' | 'ptr')[];
  /** What each of them is, for messages. */
  readonly names: readonly string[];
  /** Range of R0 at the callback's exit. */
  readonly returns: { readonly min: number; readonly max: number };
}

/** What callbacks get, by shape (kernel: set_*_callback_state; return ranges: in_callback_fn). */
export const CALLBACK_SHAPES = {
  loop: { params: ['u32', 'ptr'], names: ['index', 'ctx'], returns: { min: 0, max: 1 } },
  for_each_map_elem: {
    params: ['ptr', 'ptr', 'ptr', 'ptr'],
    names: ['map', 'key', 'value', 'ctx'],
    returns: { min: 0, max: 1 },
  },
  timer: { params: ['ptr', 'ptr', 'ptr'], names: ['map', 'key', 'value'], returns: { min: 0, max: 0 } },
  find_vma: { params: ['ptr', 'ptr', 'ptr'], names: ['task', 'vma', 'ctx'], returns: { min: 0, max: 1 } },
  task_work: {
    params: ['ptr', 'ptr', 'ptr'],
    names: ['map', 'key', 'value'],
    returns: { min: -0x8000_0000, max: 0x7fff_ffff },
  },
  rbtree_less: { params: ['ptr', 'ptr'], names: ['a', 'b'], returns: { min: 0, max: 1 } },
  user_ringbuf_drain: { params: ['ptr', 'ptr'], names: ['dynptr', 'ctx'], returns: { min: 0, max: 1 } },
} as const satisfies Record<CallbackShape, CallbackParams>;
