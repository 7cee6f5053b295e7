/**
 * The packet loop: one compiled program over all records of a piece of a capture, without leaving Wasm between them.
 *
 * frames(at, end, entry, ctx, stack, counts): the records [at, end) are those of a pcap file (16-byte header, little-endian, then the
 * frame), in the linear memory. The program gets each frame where it lies; its context's edges are set before each run. Results below
 * `FRAME_RESULTS` are counted in u32s at `counts`; another one is left behind them, and ends the piece. Gives where the first record
 * starts that was not run, that is not complete, or that is longer than the bound. RUN_STATE.frame is the record at hand.
 *
 * Only for programs that never move the packet's edges: there is no room around a frame.
 */
import type { EngineEnv, FrameRun } from '../contracts/engine.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { RUN_STATE } from '../memory/layout.ts';
import { pushRunState } from './module-context.ts';
import { CodeWriter, type FuncType, ModuleBuilder, OP, TYPE } from './wasm/index.ts';

/** Results that are counted: enum xdp_action. */
const FRAME_RESULTS = 5;
const RECORD_HEADER = 16;
const CAPTURED_LENGTH = 8;

export type FrameLoop = (
  at: number,
  end: number,
  entry: number,
  ctx: number,
  stack: number,
  counts: number,
  longest: number,
) => number;

/** Where a context keeps its edges, all of them guest addresses. */
export type Edges = FrameRun['edges'];

const P = { at: 0, end: 1, entry: 2, ctx: 3, stack: 4, counts: 5, longest: 6, length: 7, result: 8 } as const;

function buildLoop(edges: Edges, memory: { minimum: number; maximum?: number; shared: boolean }): Uint8Array {
  const builder = new ModuleBuilder();
  builder.name('packet_loop');
  builder.importMemory({ module: 'env', name: 'memory', ...memory });
  builder.importTable('env', 'table');
  const entryType = builder.type({ params: [TYPE.i64, TYPE.i32], results: [TYPE.i64] });
  const type: FuncType = { params: Array.from({ length: 7 }, () => TYPE.i32), results: [TYPE.i32] };
  const cpu = { cpuDelta: memory.shared ? builder.importGlobal('env', 'cpu_delta', TYPE.i32) : -1 };
  const index = builder.addFunction(type, 'frames');
  const w = new CodeWriter();
  w.block(OP.block, TYPE.empty);
  w.block(OP.loop, TYPE.empty);
  // A header and its frame must be there.
  w.get(P.end);
  w.get(P.at);
  w.op(OP.i32Sub);
  w.i32(RECORD_HEADER);
  w.op(OP.i32LtU);
  w.index(OP.brIf, 1);
  w.get(P.at);
  w.memory(OP.i32Load, CAPTURED_LENGTH);
  w.tee(P.length);
  w.get(P.longest);
  w.op(OP.i32GtU);
  w.index(OP.brIf, 1);
  w.get(P.length);
  w.get(P.end);
  w.get(P.at);
  w.op(OP.i32Sub);
  w.i32(RECORD_HEADER);
  w.op(OP.i32Sub);
  w.op(OP.i32GtU);
  w.index(OP.brIf, 1);
  store(w, cpu, RUN_STATE.frame, () => w.get(P.at));
  store(w, cpu, RUN_STATE.tailCallCount, () => w.i32(0));
  store(w, cpu, RUN_STATE.budget, () => {
    pushRunState(w, cpu, RUN_STATE.budgetLimit);
    w.memory(OP.i32Load, 0);
  });
  const start = () => {
    w.get(P.at);
    w.i32(RECORD_HEADER);
    w.op(OP.i32Add);
  };
  const end = () => {
    start();
    w.get(P.length);
    w.op(OP.i32Add);
  };
  for (const offset of edges.starts) address(w, offset, start);
  for (const offset of edges.ends) address(w, offset, end);
  // The program.
  w.get(P.ctx);
  w.op(OP.i64ExtendI32U);
  w.i64Halves(0, KERNEL_HI_SIGNED);
  w.op(OP.i64Or);
  w.get(P.stack);
  w.get(P.entry);
  w.indirect(OP.callIndirect, entryType, 0);
  w.op(OP.i32WrapI64);
  w.set(P.result);
  // A result that is not counted ends the piece.
  w.get(P.result);
  w.i32(FRAME_RESULTS);
  w.op(OP.i32GeU);
  w.block(OP.if, TYPE.empty);
  w.get(P.counts);
  w.get(P.result);
  w.memory(OP.i32Store, FRAME_RESULTS * 4);
  end();
  w.op(OP.return);
  w.op(OP.end);
  // counts[result]++
  w.get(P.counts);
  w.get(P.result);
  w.i32(4);
  w.op(OP.i32Mul);
  w.op(OP.i32Add);
  w.tee(P.result);
  w.get(P.result);
  w.memory(OP.i32Load, 0);
  w.i32(1);
  w.op(OP.i32Add);
  w.memory(OP.i32Store, 0);
  end();
  w.set(P.at);
  w.index(OP.br, 0);
  w.op(OP.end);
  w.op(OP.end);
  w.get(P.at);
  builder.defineFunction(index, [{ count: 2, type: TYPE.i32 }], w.finish());
  builder.exportFunction('frames', index);
  return builder.encode().bytes;
}

function store(w: CodeWriter, cpu: { cpuDelta: number }, place: number, value: () => void): void {
  pushRunState(w, cpu, place);
  value();
  w.memory(OP.i32Store, 0);
}

/** Stores the guest address of an offset at ctx + `at`. */
function address(w: CodeWriter, at: number, offset: () => void): void {
  w.get(P.ctx);
  offset();
  w.op(OP.i64ExtendI32U);
  w.i64Halves(0, KERNEL_HI_SIGNED);
  w.op(OP.i64Or);
  w.memory(OP.i64Store, at);
}

/** The loop over the memory and entries of one kernel. */
export function createFrameLoop(
  env: EngineEnv,
  edges: Edges,
  memory: { minimum: number; maximum?: number; shared: boolean },
): FrameLoop {
  const module = new WebAssembly.Module(buildLoop(edges, memory) as Uint8Array<ArrayBuffer>);
  const imports = {
    env: {
      memory: env.memory.wasm,
      table: env.entries.wasm,
      ...(memory.shared ? { cpu_delta: env.memory.cpuDelta } : {}),
    },
  };
  return new WebAssembly.Instance(module, imports).exports.frames as unknown as FrameLoop;
}
