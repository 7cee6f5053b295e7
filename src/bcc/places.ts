/** Places that functions are attached to, as the front end is told of them: names, numbers and flags of BCC's Python. */
import { attachTypeByName } from '../spec/index.ts';
import { BpfError } from '../util/errors.ts';
import { Constants } from './constants.ts';
import type { LoadedFunction, UprobeOptions } from './options.ts';

export const nameOf = (fn: string | LoadedFunction): string => (typeof fn === 'string' ? fn : fn.name);

export function userPlace(
  kind: string,
  { name, sym, addr }: Pick<UprobeOptions, 'name' | 'sym' | 'addr'>,
): string {
  return `${kind} ${name}:${sym ?? `0x${(addr ?? 0n).toString(16)}`}`;
}

export function attachTypeId(type: string | number): number {
  if (typeof type === 'number') return type;
  const row = attachTypeByName(type);
  if (row === undefined) throw new BpfError('EINVAL', `there is no attach type '${type}'`);
  return row.id;
}

/** XDP_FLAGS_* */
export function xdpMode(flags: number): 'skb' | 'native' | 'hw' | undefined {
  if ((flags & Constants.XDP_FLAGS_SKB_MODE) !== 0) return 'skb';
  if ((flags & Constants.XDP_FLAGS_DRV_MODE) !== 0) return 'native';
  return (flags & Constants.XDP_FLAGS_HW_MODE) !== 0 ? 'hw' : undefined;
}
