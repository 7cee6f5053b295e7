/** The checks of MAP_CREATE that follow from a map type's row alone (kernel: map_alloc_check of each type). */
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import type { ErrnoName } from '../util/errno.ts';
import type { MapTypeRow, SizeRule } from './types.ts';

export interface MapCreateSizes {
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** Bits of BPF_F_*. */
  readonly flags: number;
  readonly mapExtra?: bigint;
  /** MAP_CREATE came with btf_key_type_id or btf_value_type_id. */
  readonly hasBtf?: boolean;
}

/** A refusal: what is wrong, in which field of the command, and the errno that the kernel answers. */
export interface MapCreateRefusal {
  readonly errno: ErrnoName;
  readonly message: string;
}

/** For any type: user space reads or writes, programs read or write; naming both of a pair is a contradiction. */
const CONTRADICTIONS = [
  ['BPF_F_RDONLY', 'BPF_F_WRONLY'],
  ['BPF_F_RDONLY_PROG', 'BPF_F_WRONLY_PROG'],
] as const;

/** BPF_F_TOKEN_FD concerns the command, not the map. */
const COMMAND_FLAGS = BPF_MAP_FLAGS.BPF_F_TOKEN_FD;

/** Whether `size` meets the rule; the errno of the refusal otherwise. */
export function checkSize(rule: SizeRule, size: number): 'EINVAL' | 'E2BIG' | null {
  if (rule.oneOf !== undefined && !rule.oneOf.includes(size)) return 'EINVAL';
  if (rule.min !== undefined && size < rule.min) return 'EINVAL';
  if (rule.multipleOf !== undefined && size % rule.multipleOf !== 0) return 'EINVAL';
  if (rule.pageAlignedPowerOfTwo && (size % 4096 !== 0 || Math.log2(size) % 1 !== 0)) return 'EINVAL';
  if (rule.max !== undefined && size > rule.max) return rule.overMax ?? 'EINVAL';
  return null;
}

function describe(rule: SizeRule): string {
  if (rule.oneOf !== undefined) return rule.oneOf.join(' or ');
  if (rule.pageAlignedPowerOfTwo) return 'a power of two and a multiple of 4096';
  const parts = [`at least ${rule.min ?? 0}`];
  if (rule.max !== undefined) parts.push(`at most ${rule.max}`);
  if (rule.multipleOf !== undefined) parts.push(`a multiple of ${rule.multipleOf}`);
  return parts.join(', ');
}

function flagBit(name: string): number {
  return BPF_MAP_FLAGS[name as keyof typeof BPF_MAP_FLAGS];
}

function flagError(row: MapTypeRow, flags: number): MapCreateRefusal | null {
  const has = (name: string): boolean => (flags & flagBit(name)) !== 0;
  for (const name of row.unsupportedFlags ?? [])
    if (has(name))
      return { errno: 'ENOTSUPP', message: `map_flags: ${name} is not supported by ${row.name} maps` };
  let known = COMMAND_FLAGS;
  for (const name of row.flags) known |= flagBit(name);
  const unknown = (flags & ~known) >>> 0;
  if (unknown !== 0)
    return {
      errno: 'EINVAL',
      message: `map_flags: 0x${unknown.toString(16)} is not known to ${row.name} maps`,
    };
  for (const name of row.requiredFlags ?? [])
    if (!has(name)) return { errno: 'EINVAL', message: `map_flags: ${row.name} maps need ${name}` };
  for (const [a, b] of [...CONTRADICTIONS, ...(row.exclusiveFlags ?? [])])
    if (has(a) && has(b)) return { errno: 'EINVAL', message: `map_flags: ${a} and ${b} exclude each other` };
  if (row.numaNode === false && has('BPF_F_NUMA_NODE'))
    return {
      errno: 'EINVAL',
      message: `map_flags: ${row.name} maps lie on all nodes, BPF_F_NUMA_NODE cannot be used`,
    };
  return null;
}

/** Null where the sizes and flags are in order. Privileges, fds and BTF contents are the caller's business. */
export function mapCreateError(row: MapTypeRow, sizes: MapCreateSizes): MapCreateRefusal | null {
  const flags = flagError(row, sizes.flags);
  if (flags !== null) return flags;
  const special = row.valueSizeWith;
  const valueRule = special && sizes.flags & flagBit(special.flag) ? special.rule : row.valueSize;
  const fields = [
    ['key_size', row.keySize, sizes.keySize],
    ['value_size', valueRule, sizes.valueSize],
    ['max_entries', row.maxEntries, sizes.maxEntries],
  ] as const;
  for (const [name, rule, size] of fields) {
    const errno = checkSize(rule, size);
    if (errno !== null) return { errno, message: `${name} ${size}: ${row.name} maps take ${describe(rule)}` };
  }
  if (row.maxElementSize !== undefined && sizes.keySize + sizes.valueSize > row.maxElementSize)
    return { errno: 'E2BIG', message: `key_size and value_size together exceed ${row.maxElementSize} bytes` };
  if ((sizes.mapExtra ?? 0n) & ~(row.mapExtra ?? 0n))
    return { errno: 'EINVAL', message: `map_extra: ${row.name} maps take no such bits` };
  if (row.needsBtf && !sizes.hasBtf)
    return { errno: 'EINVAL', message: `${row.name} maps need BTF for key and value` };
  if (row.noBtf && sizes.hasBtf) return { errno: 'ENOTSUPP', message: `${row.name} maps take no BTF` };
  return null;
}
