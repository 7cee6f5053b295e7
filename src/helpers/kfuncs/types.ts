/** What the implementation of a kernel function is: its signature in words (`CallableFunction`), and how it is made. */
import type { CallableFunction } from '../../contracts/engine.ts';
import type { KfuncSite } from '../../contracts/kfuncs.ts';
import type { HelperContext, HelperFn } from '../types.ts';

export interface KfuncImplementation extends Pick<CallableFunction, 'params' | 'result'> {
  readonly make: (ctx: HelperContext, site: KfuncSite) => HelperFn;
}

export type KfuncFamily = Readonly<Record<string, KfuncImplementation>>;

type Param = 'u32' | 'u64';

/** `params`: `p` a pointer or 32 bits, `q` 64 bits (two words). */
export function kfn(
  params: string,
  result: CallableFunction['result'],
  make: KfuncImplementation['make'],
): KfuncImplementation {
  return { params: [...params].map((letter): Param => (letter === 'q' ? 'u64' : 'u32')), result, make };
}
