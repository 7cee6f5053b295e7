/** The seam between rewrite and the kernel functions (kfuncs) of the embedded kernel. */
import type { CallableFunction } from './engine.ts';
import type { SpecialField } from './maps.ts';

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
  /** Frees what the special fields of the value at `at` own: elements of lists and trees, objects that kptrs point to. */
  freeOwned(at: number, fields: readonly SpecialField[]): void;
}
