/** All helpers that exist: the families, and the table that engines resolve calls with. */
import type { CallableFunction } from '../contracts/engine.ts';
import type { KfuncTable } from '../contracts/kfuncs.ts';
import type { BpfMap } from '../contracts/maps.ts';
import type { HelperEnv, HelperTable } from '../contracts/runtime.ts';
import { type MapsModule, type ProgramOps, programOps } from '../maps/index.ts';
import { RUN_STATE, STACKS } from '../memory/index.ts';
import { helperParams, helperResult } from '../spec/abi.ts';
import type { HelperRow } from '../spec/types.ts';
import { ASYNC_HELPERS } from './async.ts';
import { CLASSIC_FUNCTIONS } from './classic.ts';
import { CONTROL_HELPERS } from './control.ts';
import { DYNPTR_HELPERS } from './dynptr.ts';
import { createKfuncs } from './kfuncs/index.ts';
import { KPTR_HELPERS } from './kptr.ts';
import { MACHINE_HELPERS } from './machine.ts';
import { MAP_HELPERS } from './maps.ts';
import { PRINT_HELPERS } from './print.ts';
import { PROBE_HELPERS } from './probe.ts';
import { RINGBUF_HELPERS } from './ringbuf.ts';
import { SKB_HELPERS } from './skb.ts';
import { STACK_HELPERS } from './stack.ts';
import { STRING_HELPERS } from './strings.ts';
import { TRACED_HELPERS } from './traced.ts';
import type { HelperContext, HelperFamily, HelperFn } from './types.ts';
import { XDP_HELPERS } from './xdp.ts';

const FAMILIES: readonly HelperFamily[] = [
  MAP_HELPERS,
  RINGBUF_HELPERS,
  MACHINE_HELPERS,
  CONTROL_HELPERS,
  PRINT_HELPERS,
  PROBE_HELPERS,
  STRING_HELPERS,
  STACK_HELPERS,
  DYNPTR_HELPERS,
  KPTR_HELPERS,
  ASYNC_HELPERS,
  TRACED_HELPERS,
  XDP_HELPERS,
  SKB_HELPERS,
  CLASSIC_FUNCTIONS,
];

/** Every implemented helper by name. */
export const HELPER_IMPLEMENTATIONS: HelperFamily = Object.assign({}, ...FAMILIES);

function createContext(env: HelperEnv, module: MapsModule): HelperContext {
  const { memory } = env;
  const resultWord = (RUN_STATE.helperResult + memory.cpuDelta) >>> 2;
  const resultU64 = (RUN_STATE.helperResult + memory.cpuDelta) >>> 3;
  // By type and key size, as maps come and go.
  const known = new Map<number, ProgramOps | undefined>();
  const opsOf = (map: BpfMap): ProgramOps | undefined => {
    const { type, keySize } = map.info;
    const key = type.id * 0x1_0000 + keySize;
    let ops = known.get(key);
    if (ops === undefined) {
      ops = programOps(module, type, keySize);
      known.set(key, ops);
    }
    return ops;
  };
  return {
    env,
    memory,
    module,
    opsOf,
    ops: (address) => {
      const map = env.mapByAddress(address);
      return map === undefined ? undefined : opsOf(map);
    },
    returnU64: (value) => {
      memory.u64[resultU64] = value;
    },
    returnHalves: (low, high) => {
      const { i32 } = memory;
      i32[resultWord] = low;
      i32[resultWord + 1] = high;
    },
    valid: (offset, size) => offset >= STACKS && size >= 0 && offset + size <= memory.size,
  };
}

/** The kernel functions of one kernel, likewise. */
export function createKfuncTable(env: HelperEnv, module: MapsModule): KfuncTable {
  return createKfuncs(createContext(env, module));
}

/** All helpers of one kernel, bound to its environment and to the maps' Wasm on the same memory. */
export function createHelpers(env: HelperEnv, module: MapsModule): HelperTable {
  const ctx = createContext(env, module);
  module.onWakeup = (address, flags) => {
    const map = env.mapByAddress(address);
    if (map !== undefined) env.ringWakeup(map, flags);
  };
  const general = new Map<string, HelperFn | undefined>();
  return {
    resolve(row: HelperRow, map?: BpfMap): CallableFunction | undefined {
      if (!Object.hasOwn(HELPER_IMPLEMENTATIONS, row.name)) return undefined;
      const entry = HELPER_IMPLEMENTATIONS[row.name];
      let fn: HelperFn | undefined;
      if (map !== undefined && typeof entry !== 'function') fn = entry.forMap(ctx, map);
      if (fn === undefined) {
        if (!general.has(row.name))
          general.set(row.name, typeof entry === 'function' ? entry(ctx) : entry.make(ctx));
        fn = general.get(row.name);
      }
      const random = row.random && env.randomInMemory;
      return (
        fn && {
          name: row.name,
          params: helperParams(row),
          result: helperResult(row),
          ...(random ? { random } : {}),
          fn,
        }
      );
    },
  };
}
