/** The seam between rewrite and the kernel functions (kfuncs) of the embedded kernel. */
import type { CallableFunction } from './engine.ts';
import type { BpfMap, SpecialField } from './maps.ts';

/** What the verifier has proven about one call. */
export interface KfuncSite {
  /** The object that the call makes, gives back or links: bytes (0 where not known), special fields, place of the node. */
  readonly object?: {
    readonly size: number;
    readonly fields: readonly SpecialField[];
    readonly nodeOffset?: number;
  };
  /** The program may write into its packet. */
  readonly writesPacket: boolean;
}

export interface KfuncTable {
  /** Undefined: this kernel has no such function. */
  resolve(name: string, site: KfuncSite): CallableFunction | undefined;
  /** It works on nothing but what it is given: any CPU's thread may call it. */
  ownsNothing(name: string): boolean;
  /** Frees what the special fields of the value at `at` own: elements of lists and trees, objects that kptrs point to. */
  freeOwned(at: number, fields: readonly SpecialField[]): void;
  /** Offsets of the values of a key (one for each CPU) where values of the map may own something; else none. */
  owningValues(map: BpfMap, key: Uint8Array): readonly number[];
  ownsObjects(map: BpfMap): boolean;
  /** Gives back the resilient locks that the run in progress, which was stopped, had taken. */
  dropLocks(): void;
  /** Likewise objects that it had made or taken out of maps, and what it had thrown. */
  dropObjects(): void;
}
