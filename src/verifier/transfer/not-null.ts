/** What a pointer that may be NULL becomes once it is known not to be. Kernel 6.18: mark_ptr_not_null_reg. */
import type { MapInfo } from '../../contracts/maps.ts';
import {
  CONST_PTR_TO_MAP,
  hasSpecialField,
  MAYBE_NULL,
  PTR_TO_MAP_VALUE,
  PTR_TO_SOCKET,
  PTR_TO_XDP_SOCK,
  type Reg,
} from '../registers.ts';

const templates = new WeakMap<MapInfo, MapInfo>();

/** The inner map as a template: any map of that shape may be there, so it has no name. Always the same object. */
function nameless(inner: MapInfo): MapInfo {
  if (inner.name === '') return inner;
  let template = templates.get(inner);
  if (template === undefined) {
    template = { ...inner, name: '' };
    templates.set(inner, template);
  }
  return template;
}

/** The pointer once it is known not to be NULL: a map of maps gives a map, a map of sockets a socket. */
export function notNull(reg: Reg): Reg {
  if (reg.base !== PTR_TO_MAP_VALUE) return reg.with({ type: reg.type & ~MAYBE_NULL });
  const map = reg.map!;
  if (map.inner !== undefined) {
    const timed = hasSpecialField(map.inner, 'timer', 'workqueue');
    return reg.with({
      type: CONST_PTR_TO_MAP,
      map: nameless(map.inner),
      mapUid: timed ? reg.id : reg.mapUid,
    });
  }
  if (map.type.holds === 'xsk') return reg.with({ type: PTR_TO_XDP_SOCK });
  if (map.type.holds === 'socket') return reg.with({ type: PTR_TO_SOCKET });
  return reg.with({ type: PTR_TO_MAP_VALUE });
}
