/** Maps of maps: which maps may become inner ones (kernel/bpf/map_in_map.c, map_meta_equal of each type). */
import type { BpfMap, MapInfo } from '../contracts/maps.ts';
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { ERRNO } from '../util/index.ts';
import type { MapContext } from './base.ts';
import type { HeldObject } from './fd-array.ts';

const fieldsOf = (info: MapInfo): string =>
  JSON.stringify((info.specialFields ?? []).map((f) => [f.kind, f.offset, f.size, f.target ?? null]));

/**
 * Whether `map` may stand where programs were verified against `template`: type, sizes, flags and special fields agree; arrays
 * that programs index directly also in length, unless made with BPF_F_INNER_MAP.
 */
export function sameShape(template: MapInfo, map: MapInfo): boolean {
  return (
    template.type.id === map.type.id &&
    template.keySize === map.keySize &&
    template.valueSize === map.valueSize &&
    template.flags === map.flags &&
    fieldsOf(template) === fieldsOf(map) &&
    (!template.type.flags.includes('BPF_F_INNER_MAP') ||
      (template.flags & BPF_MAP_FLAGS.BPF_F_INNER_MAP) !== 0 ||
      template.maxEntries === map.maxEntries)
  );
}

/** Takes a reference to the map behind `fd` as an inner map: EBADF, or EINVAL where the shape does not fit. */
export function resolveInner(
  ctx: MapContext,
  template: MapInfo | undefined,
  fd: number,
): HeldObject | number {
  const { resolver } = ctx;
  const map = resolver.mapByFd(fd);
  if (typeof map === 'number') return map;
  if (template === undefined || !sameShape(template, map.info)) {
    resolver.putMap(map);
    return -ERRNO.EINVAL;
  }
  return { word: map.layout.address, id: map.info.id, put: () => resolver.putMap(map) };
}

/** Why a map cannot be the template of a map of maps: -errno, 0 where it can. */
export function checkTemplate(inner: BpfMap): number {
  if (inner.info.type.holds === 'map') return -ERRNO.EINVAL;
  return inner.info.type.inner ? 0 : -ERRNO.ENOTSUPP;
}
