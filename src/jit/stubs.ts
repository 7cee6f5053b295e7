/**
 * Entries of programs that this thread has not compiled yet: a function for each number of an entry table that asks for the program and
 * goes on in what stands there then. Entry tables are each thread's own, so a program that another thread puts into a program array is
 * made here when it is first called.
 */
import { CodeWriter, ModuleBuilder, OP, TYPE } from './wasm/index.ts';

export type EntryStub = (ctx: bigint, frame: number) => bigint;

/** Stubs for the entries from `first` on. `bind` must set the table's slot; what it throws ends the run. */
export function createStubs(
  table: WebAssembly.Table,
  bind: (entry: number) => void,
  first: number,
  count: number,
): EntryStub[] {
  const builder = new ModuleBuilder();
  builder.name('entry_stubs');
  builder.importTable('env', 'table');
  const bindAt = builder.importFunction('env', 'bind', { params: [TYPE.i32], results: [] }, 'bind');
  const type = { params: [TYPE.i64, TYPE.i32], results: [TYPE.i64] };
  const entryType = builder.type(type);
  for (let i = 0; i < count; i++) {
    const index = builder.addFunction(type, `entry_${first + i}`);
    const w = new CodeWriter();
    w.i32(first + i);
    w.index(OP.call, bindAt);
    w.get(0);
    w.get(1);
    w.i32(first + i);
    w.indirect(OP.callIndirect, entryType, 0);
    builder.defineFunction(index, [], w.finish());
    builder.exportFunction(`${i}`, index);
  }
  const module = new WebAssembly.Module(builder.encode().bytes as Uint8Array<ArrayBuffer>);
  const { exports } = new WebAssembly.Instance(module, { env: { table, bind } });
  return Array.from({ length: count }, (_, i) => exports[`${i}`] as EntryStub);
}
