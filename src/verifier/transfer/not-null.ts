/** What a pointer that may be NULL becomes once it is known not to be. Kernel 6.18: mark_ptr_not_null_reg. */
import {
  CONST_PTR_TO_MAP,
  hasSpecialField,
  MAYBE_NULL,
  PTR_TO_MAP_VALUE,
  PTR_TO_SOCKET,
  PTR_TO_XDP_SOCK,
  type Reg,
} from '../registers.ts';

/** The pointer once it is known not to be NULL: a map of maps gives a map, a map of sockets a socket. */
export function notNull(reg: Reg): Reg {
  if (reg.base !== PTR_TO_MAP_VALUE) return reg.with({ type: reg.type & ~MAYBE_NULL });
  const map = reg.map!;
  if (map.inner !== undefined) {
    const timed = hasSpecialField(map.inner, 'timer', 'workqueue');
    return reg.with({ type: CONST_PTR_TO_MAP, map: map.inner, mapUid: timed ? reg.id : reg.mapUid });
  }
  if (map.type.holds === 'xsk') return reg.with({ type: PTR_TO_XDP_SOCK });
  if (map.type.holds === 'socket') return reg.with({ type: PTR_TO_SOCKET });
  return reg.with({ type: PTR_TO_MAP_VALUE });
}
