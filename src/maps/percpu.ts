/** Values of per-CPU maps as user space sees them: one a possible CPU, each rounded up to 8 bytes. */
import type { MapInfo } from '../contracts/maps.ts';
import type { MapContext } from './base.ts';

/** Gathers the values of all CPUs; `at` is CPU 0's. */
export function readPerCpu(
  ctx: MapContext,
  at: number,
  stride: number,
  cpuStride: number,
  info: MapInfo,
): Uint8Array {
  const all = new Uint8Array(stride * ctx.possibleCpus);
  const { u8 } = ctx.memory;
  for (let cpu = 0; cpu < ctx.possibleCpus; cpu++) {
    const from = at + cpu * cpuStride;
    all.set(u8.subarray(from, from + stride), cpu * stride);
    for (const { offset, size } of info.specialFields ?? [])
      all.fill(0, cpu * stride + offset, cpu * stride + offset + size);
  }
  return all;
}
