/** What a helper's implementation is given, and what it gives: see `CallableFunction` for how words are passed. */
import type { BpfMap } from '../contracts/maps.ts';
import type { HelperEnv } from '../contracts/runtime.ts';
import type { MapsModule, ProgramOps } from '../maps/index.ts';
import type { GuestMemory } from '../memory/index.ts';

// biome-ignore lint/suspicious/noConfusingVoidType: helpers whose row says void return nothing.
export type HelperFn = (...words: number[]) => number | void;

export interface HelperContext {
  readonly env: HelperEnv;
  readonly memory: GuestMemory;
  readonly module: MapsModule;
  /** Leaves a result whose row says `abi: 'u64'`. */
  returnU64(value: bigint): void;
  returnHalves(low: number, high: number): void;
  /** The operations behind a map header; undefined where there is no map. */
  ops(address: number): ProgramOps | undefined;
  opsOf(map: BpfMap): ProgramOps | undefined;
  /**
   * Whether `size` bytes from `offset` lie in memory that a program may be handed: above the NULL page and below the end.
   * The verifier has proven it for compiled programs; helpers must not throw on anything else.
   */
  valid(offset: number, size: number): boolean;
}

/** Makes the function of a helper; undefined where the kernel around lacks what it needs. */
export type HelperMaker = (ctx: HelperContext) => HelperFn | undefined;

export interface MapSpecificHelper {
  readonly make: HelperMaker;
  /** The function for calls that always have this map; undefined: the general one. */
  readonly forMap: (ctx: HelperContext, map: BpfMap) => HelperFn | undefined;
}

/** Helpers by name, `bpf_map_lookup_elem`; parameters and results follow from the rows of src/spec. */
export type HelperFamily = Readonly<Record<string, HelperMaker | MapSpecificHelper>>;
