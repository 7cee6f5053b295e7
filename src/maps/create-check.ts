/** What MAP_CREATE checks before it allocates anything, from the map type's row (kernel: map_alloc_check of each type). */
import type { MapCreateParams } from '../contracts/maps.ts';
import type { SizeRule } from '../spec/types.ts';
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { ERRNO } from '../util/index.ts';
import { checkTemplate } from './inner-map.ts';

const FLAG_BITS: Readonly<Record<string, number>> = BPF_MAP_FLAGS;

function flagMask(names: readonly string[]): number {
  let mask = 0;
  for (const name of names) mask |= FLAG_BITS[name] ?? 0;
  return mask;
}

/** Too small or misshapen sizes are EINVAL; too large ones what the rule says. */
function misfit(rule: SizeRule, size: number): number {
  if (rule.oneOf !== undefined && !rule.oneOf.includes(size)) return -ERRNO.EINVAL;
  if (rule.min !== undefined && size < rule.min) return -ERRNO.EINVAL;
  if (rule.multipleOf !== undefined && size % rule.multipleOf !== 0) return -ERRNO.EINVAL;
  if (rule.pageAlignedPowerOfTwo && (size % 4096 !== 0 || Math.log2(size) % 1 !== 0)) return -ERRNO.EINVAL;
  return 0;
}

function tooLarge(rule: SizeRule, size: number): number {
  return rule.max !== undefined && size > rule.max ? -ERRNO[rule.overMax ?? 'EINVAL'] : 0;
}

const bothSet = (flags: number, a: number, b: number): boolean => (flags & a) !== 0 && (flags & b) !== 0;

/**
 * 0, or the -errno that Linux gives for these sizes and flags. Sizes are u32. Privileges, BTF and the program that may want the
 * map are the caller's to check.
 */
export function checkMapCreate(params: MapCreateParams): number {
  const { type, keySize, valueSize, maxEntries, flags } = params;
  if ((flags & ~flagMask(type.flags)) !== 0) return -ERRNO.EINVAL;
  const required = flagMask(type.requiredFlags ?? []);
  if ((flags & required) !== required) return -ERRNO.EINVAL;
  if (type.numaNode === false && (flags & BPF_MAP_FLAGS.BPF_F_NUMA_NODE) !== 0) return -ERRNO.EINVAL;
  if (bothSet(flags, BPF_MAP_FLAGS.BPF_F_RDONLY, BPF_MAP_FLAGS.BPF_F_WRONLY)) return -ERRNO.EINVAL;
  if (bothSet(flags, BPF_MAP_FLAGS.BPF_F_RDONLY_PROG, BPF_MAP_FLAGS.BPF_F_WRONLY_PROG)) return -ERRNO.EINVAL;
  if ((params.mapExtra & ~(type.mapExtra ?? 0n)) !== 0n) return -ERRNO.EINVAL;
  const { valueSizeWith } = type;
  const withFlag = valueSizeWith !== undefined && (flags & flagMask([valueSizeWith.flag])) !== 0;
  const rules = [
    [type.keySize, keySize],
    [withFlag ? valueSizeWith.rule : type.valueSize, valueSize],
    [type.maxEntries, maxEntries],
  ] as const;
  for (const [rule, size] of rules) {
    const refused = misfit(rule, size);
    if (refused < 0) return refused;
  }
  for (const [rule, size] of rules) {
    const refused = tooLarge(rule, size);
    if (refused < 0) return refused;
  }
  if (type.maxElementSize !== undefined && keySize + valueSize > type.maxElementSize) return -ERRNO.E2BIG;
  if (type.holds === 'map') {
    if (params.inner === undefined) return -ERRNO.EBADF;
    return checkTemplate(params.inner);
  }
  return 0;
}
