/** A helper environment of a few lines: fixed clock, one task, user memory and packets that tests place. */
import type { HelperEnv, PacketOps, Task } from '../../src/contracts/runtime.ts';
import { createHelpers } from '../../src/helpers/index.ts';
import type { EmbeddedMap } from '../../src/maps/index.ts';
import { KERNEL_HI, kernelAddress, RUN_STATE, USER_HI } from '../../src/memory/index.ts';
import {
  helperByName,
  helperParams,
  helperResult,
  MODELLED_SKB,
  MODELLED_SKB_SIZE,
} from '../../src/spec/index.ts';
import { type MapSizes, TestKernel } from '../maps/env.ts';

export class HelperBench {
  readonly kernel = new TestKernel(2);
  readonly memory = this.kernel.memory;
  readonly lines: string[] = [];
  readonly wakes: { map: EmbeddedMap; flags: number }[] = [];
  readonly samples: { index: number; bytes: number[] }[] = [];
  /** What a callback does; token 1. */
  callback: (...words: number[]) => number = () => 0;
  packet = { start: 0, length: 0 };
  /** [start, end) of user memory. */
  user = { start: 0, end: 0 };
  readonly env: HelperEnv;
  readonly table: ReturnType<typeof createHelpers>;

  constructor(packets: Partial<PacketOps> = {}) {
    const task: Task = {
      pid: 42,
      tgid: 41,
      uid: 1000,
      gid: 100,
      comm: 'a-long-command!',
      taskStruct: 0,
      userOffset: (low, high, size) =>
        high === USER_HI && low >= this.user.start && low + size <= this.user.end ? low : -1,
    };
    this.env = {
      memory: this.memory,
      clock: {
        monotonic: () => 0x1_2345_6789n,
        monotonicNumber: () => 0x1_2345_6789,
        boottime: () => 2n,
        realtime: () => 3n,
        tai: () => 4n,
        jiffies: () => 5n,
      },
      callbacks: { invoke: (_token, words) => this.callback(...words) },
      cpu: () => 0,
      possibleCpus: 2,
      random: () => 0xdead_beef,
      current: () => task,
      tracePrint: (text) => this.lines.push(text),
      mapByAddress: (address) => this.kernel.mapByAddress(address),
      perfOutput: (_map, _ctx, low, _high, data, size) => {
        this.samples.push({ index: low, bytes: [...this.memory.read(data, size)] });
        return 0;
      },
      ringWakeup: (map, flags) => this.wakes.push({ map: map as EmbeddedMap, flags }),
      packets: {
        adjustHead: () => -22,
        adjustTail: () => -22,
        adjustMeta: () => -22,
        data: () => this.packet,
        ...packets,
      },
    };
    this.table = createHelpers(this.env, this.kernel.ctx.module);
  }

  /** A socket buffer's context whose edges are those of `packet`. */
  context(): number {
    const { start, length } = this.packet;
    const at = this.put(new Uint8Array(MODELLED_SKB_SIZE));
    this.memory.writeU64(at + MODELLED_SKB.data, kernelAddress(start));
    this.memory.writeU64(at + MODELLED_SKB.data_end, kernelAddress(start + length));
    return at;
  }

  map(type: string, sizes: MapSizes = {}): EmbeddedMap {
    const map = this.kernel.create(type, sizes);
    this.kernel.maps.set(1000 + map.info.id, map);
    return map;
  }

  /** Offset of a copy of `bytes`. */
  put(bytes: Uint8Array | string): number {
    const data = typeof bytes === 'string' ? new TextEncoder().encode(`${bytes}\0`) : bytes;
    const at = this.memory.allocate(data.length + 8, 'test');
    this.memory.write(at, data);
    return at;
  }

  /** Calls a helper with 64-bit arguments as a program would; gives R0 as a signed 64-bit value. */
  call(name: string, args: readonly (number | bigint)[] = [], map?: EmbeddedMap): bigint {
    const row = helperByName(name)!;
    const callee = this.table.resolve(row, map);
    if (callee === undefined) throw new Error(`${name} is not implemented`);
    const words: number[] = [];
    helperParams(row).forEach((abi, i) => {
      const value = BigInt.asUintN(64, BigInt(args[i] ?? 0));
      words.push(Number(value & 0xffff_ffffn) | 0);
      if (abi === 'u64') words.push(Number(value >> 32n) | 0);
    });
    const result = callee.fn(...words);
    switch (helperResult(row)) {
      case 's32':
        return BigInt(result | 0);
      case 'u64':
        return BigInt.asIntN(64, this.memory.readU64(RUN_STATE.helperResult));
      case 'ptr':
        return BigInt(result >>> 0);
      case 'void':
        return 0n;
    }
  }
}

export const kernelPointer = (offset: number): bigint => (BigInt(KERNEL_HI) << 32n) | BigInt(offset);
export const userPointer = (offset: number): bigint => (BigInt(USER_HI) << 32n) | BigInt(offset);
