/** Short ways for tests of engines: run a list of instructions on a buffer, make stand-ins for maps. */

import type { CallableFunction, Engine, PreparedProgram } from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { BpfMap, MapInfo } from '../../src/contracts/maps.ts';
import { type GuestMemory, MAP_HEADER, RUN_STATE } from '../../src/memory/index.ts';
import { type ExecutableOptions, executable } from '../../src/rewrite/index.ts';
import type { MapTypeRow } from '../../src/spec/index.ts';
import type { TestEnvironment } from './environment.ts';

export const U64_EDGES: readonly bigint[] = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x1234n,
  0x8000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x1f_ffff_ffff_ffffn,
  0x0123_4567_89ab_cdefn,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0x8000_0000_0000_0001n,
  0xffff_ffff_0000_0000n,
  0xffff_ffff_8000_0000n,
  0xffff_ffff_ffff_fffen,
  0xffff_ffff_ffff_ffffn,
];

export const IMM_EDGES: readonly number[] = [
  0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 0xffff, 0x7fff_ffff, -0x8000_0000, -2, -1, -64, 0x1234_5678,
];

export class Bench {
  readonly engine: Engine;
  readonly env: TestEnvironment;
  /** 4 KiB that programs get as their context. */
  readonly ctx: number;
  readonly #programs: PreparedProgram[] = [];

  constructor(engine: Engine, env: TestEnvironment) {
    this.engine = engine;
    this.env = env;
    this.ctx = env.memory.allocate(4096, 'test context');
  }

  get memory(): GuestMemory {
    return this.env.memory;
  }

  prepare(insns: readonly Insn[], options: ExecutableOptions = {}): PreparedProgram {
    const program = this.engine.prepare(executable(insns, options), this.env);
    this.#programs.push(program);
    return program;
  }

  /** The whole R0 of one run. */
  run(insns: readonly Insn[], options: ExecutableOptions = {}): bigint {
    this.prepare(insns, options).run(this.ctx);
    return this.r0();
  }

  r0(): bigint {
    return this.memory.readU64(RUN_STATE.r0);
  }

  clear(): void {
    this.memory.u8.fill(0, this.ctx, this.ctx + 4096);
  }

  word(index: number): bigint {
    return this.memory.readU64(this.ctx + 8 * index);
  }

  setWord(index: number, value: bigint): void {
    this.memory.writeU64(this.ctx + 8 * index, value);
  }

  release(): void {
    for (const program of this.#programs.splice(0)) program.release();
  }
}

/** A program array with the given entries (0: empty). */
export function programArray(memory: GuestMemory, entries: readonly number[]): BpfMap {
  const address = memory.allocate(128, 'test program array');
  const values = memory.allocate(4 * entries.length, 'test program array values');
  entries.forEach((entry, i) => {
    memory.u32[(values >>> 2) + i] = entry;
  });
  memory.view.setUint32(address + MAP_HEADER.maxEntries, entries.length, true);
  memory.view.setUint32(address + MAP_HEADER.values, values, true);
  memory.view.setUint32(address + MAP_HEADER.stride, 4, true);
  const info = {
    id: 1,
    name: 'programs',
    type: { id: 3, name: 'prog_array', holds: 'prog' } as unknown as MapTypeRow,
    keySize: 4,
    valueSize: 4,
    maxEntries: entries.length,
    flags: 0,
  } satisfies MapInfo;
  return { info, layout: { address, values, stride: 4 } } as unknown as BpfMap;
}

export function setEntry(memory: GuestMemory, map: BpfMap, index: number, entry: number): void {
  memory.u32[(map.layout.values >>> 2) + index] = entry;
}

export function callable(
  name: string,
  params: CallableFunction['params'],
  result: CallableFunction['result'],
  fn: CallableFunction['fn'],
): CallableFunction {
  return { name, params, result, fn };
}
