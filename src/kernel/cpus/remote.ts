/** What helpers on the thread of a CPU find in place of the kernel's own books: the same calls, asked of the kernel's thread. */
import type { Arena } from '../../contracts/maps.ts';
import type { AsyncCalls } from '../../contracts/runtime.ts';
import { ERRNO } from '../../util/errno.ts';
import type { Ask } from './questions.ts';

/** `callbackOf`: the program that a token of this thread belongs to, and the number that it has among its callbacks. */
export function remoteAsync(
  ask: Ask,
  callbackOf: (token: number) => { readonly progId: number; readonly callback: number } | undefined,
): AsyncCalls {
  return {
    init: (of, field, map, realtime) => ask({ kind: 'async_init', of, field, map, realtime }),
    setCallback: (field, token) => {
      const callback = callbackOf(token);
      return callback === undefined ? -ERRNO.EINVAL : ask({ kind: 'async_callback', field, ...callback });
    },
    start: (field, time, absolute) => ask({ kind: 'async_start', field, time, absolute }),
    cancel: (field) => ask({ kind: 'async_cancel', field }),
    pending: (field) => ask({ kind: 'async_pending', field }) === 1,
  };
}

/** The arena whose header lies at `map`. Accesses need none of it: programs know where its page table lies. */
export function remoteArena(ask: Ask, map: number): Arena {
  const range = (kind: 'arena_free' | 'arena_reserve', address: number, count: number): number =>
    ask({ kind, map, address, count });
  return {
    table: 0,
    pages: 0,
    first: 0,
    keepsAddresses: false,
    get userHigh() {
      return ask({ kind: 'arena_high', map });
    },
    map: () => 0n,
    touch: () => 0,
    allocatePages: (address, count) => {
      const at = ask({ kind: 'arena_allocate', map, address, count });
      return at === -1 ? -1 : at >>> 0;
    },
    freePages: (address, count) => void range('arena_free', address, count),
    reservePages: (address, count) => range('arena_reserve', address, count),
  };
}
