/**
 * What a call instruction does, worked out once: which words go over to the function, which memory the function may
 * touch through its arguments, and what its result is.
 */
import type { CallTarget } from '../contracts/engine.ts';
import type { BpfMap } from '../contracts/maps.ts';
import type { HelperRow } from '../spec/types.ts';
import type { ArgumentCheck, CallPlan, FunctionPlan, ResultRegion } from './program.ts';

const SIZE_KINDS: ReadonlySet<string> = new Set(['const_size', 'const_size_or_zero']);

function argumentChecks(row: HelperRow, map: BpfMap | undefined): ArgumentCheck[] {
  const checks: ArgumentCheck[] = [];
  row.args.forEach((arg, i) => {
    const next = row.args[i + 1];
    const write = arg.write === true || arg.uninit === true;
    const add = (size: number, sizeRegister = 0) =>
      checks.push({ register: i + 1, size, sizeRegister, write });
    if (arg.kind === 'map_key' && map !== undefined) add(map.info.keySize);
    else if (arg.kind === 'map_value' && map !== undefined) add(map.info.valueSize);
    else if (arg.kind === 'mem' && arg.fixedSize !== undefined) add(arg.fixedSize);
    else if (arg.kind === 'mem' && next !== undefined && SIZE_KINDS.has(next.kind)) add(-1, i + 2);
  });
  return checks;
}

function resultRegion(row: HelperRow | undefined, map: BpfMap | undefined): ResultRegion {
  // What is looked up in maps of maps is a map.
  if (row?.ret.kind === 'map_value' && map?.info.inner === undefined)
    return map === undefined ? { kind: 'value' } : { kind: 'fixed', size: map.info.valueSize };
  const sized = row?.args.findIndex((arg) => arg.kind === 'const_alloc_size_or_zero') ?? -1;
  if (sized >= 0) return { kind: 'register', register: sized + 1 };
  return { kind: 'block' };
}

/** Memory that ends with the call. Of objects the allocator knows; records of rings stay where they are. */
function released(row: HelperRow | undefined): number {
  return 1 + (row?.args.findIndex(({ kind, release }) => release && kind === 'ringbuf_mem') ?? -1);
}

function planFunction(target: Extract<CallTarget, { kind: 'function' }>): FunctionPlan {
  const { callee, row, map } = target;
  const words: number[] = [];
  callee.params.forEach((param, i) => {
    words.push(i + 1, 0);
    if (param === 'u64') words.push(i + 1, 1);
  });
  return {
    kind: 'function',
    callee,
    name: row === undefined ? callee.name : `${row.name}#${row.id}`,
    words: Uint8Array.from(words),
    wordCount: words.length / 2,
    checks: row === undefined ? [] : argumentChecks(row, map),
    region: resultRegion(row, map),
    releases: released(row),
    lock: target.lock === 'acquire',
    loops: row?.callbackShape === 'loop',
    token: 0,
  };
}

/** Registers a callback (subprogram and shape of its arguments) with the kernel and gives its token. */
export type RegisterCallback = (index: number, params: readonly ('u32' | 'ptr')[]) => number;

export function planCall(target: CallTarget, registerCallback: RegisterCallback): CallPlan {
  switch (target.kind) {
    case 'function':
      return planFunction(target);
    case 'subprog':
      return { kind: 'subprog', index: target.index, token: 0 };
    case 'tail_call':
      return { kind: 'tail_call', map: target.map, token: 0 };
    case 'callback':
      return { kind: 'callback', token: registerCallback(target.index, target.params) };
  }
}
