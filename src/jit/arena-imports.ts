/** Functions that a program with an arena imports, for accesses that do not lie in one page that is there (`arena.ts`). */
import type { ExecutableProgram } from '../contracts/engine.ts';
import { arenaRead, arenaWrite } from '../memory/arena-pages.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { type FuncType, type ModuleBuilder, TYPE } from './wasm/index.ts';

/** Wasm indexes of the functions for what is not in one page. */
export interface ArenaImports {
  readonly read: number;
  readonly write: number;
}

/** (address low, high, size, scratch) */
const TYPE_OF: FuncType = { params: [TYPE.i32, TYPE.i32, TYPE.i32, TYPE.i32], results: [] };

export function importArena(builder: ModuleBuilder, program: ExecutableProgram): ArenaImports | undefined {
  if (program.arena === undefined) return undefined;
  return {
    read: builder.importFunction('a', 'read', TYPE_OF, 'arena_read'),
    write: builder.importFunction('a', 'write', TYPE_OF, 'arena_write'),
  };
}

/** What `importArena` imports. */
export function arenaFunctions(
  { arena }: ExecutableProgram,
  memory: GuestMemory,
): Record<string, WebAssembly.ImportValue> {
  if (arena === undefined) return {};
  const { pages } = arena;
  const at = (low: number, high: number) => high * 0x1_0000_0000 + (low >>> 0);
  return {
    read: (low: number, high: number, size: number, to: number) =>
      arenaRead(memory, pages, at(low, high), size, to),
    write: (low: number, high: number, size: number, from: number) =>
      arenaWrite(memory, pages, at(low, high), size, from),
  };
}
