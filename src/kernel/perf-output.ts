/** bpf_perf_event_output: from a slot of a PERF_EVENT_ARRAY to the ring of its perf event (man 7 bpf-helpers). */
import type { BpfMap } from '../contracts/maps.ts';
import type { PacketOps } from '../contracts/runtime.ts';
import type { GuestMemory } from '../memory/index.ts';
import { ERRNO } from '../util/errno.ts';
import type { PerfEventObject } from './events.ts';
import type { IdTable } from './fd-table.ts';

/** BPF_F_INDEX_MASK and BPF_F_CURRENT_CPU: the low half of the flags. */
const CURRENT_CPU = 0xffff_ffff;
/** BPF_F_CTXLEN_MASK: 20 bits from bit 32 on, bytes of the packet to append. */
const CTXLEN_MASK = 0xfffff;

export interface PerfSample {
  readonly ctx: number;
  readonly flagsLow: number;
  readonly flagsHigh: number;
  readonly data: number;
  readonly size: number;
}

/** What the output looks at of the machine. */
export interface PerfOutputEnv {
  readonly memory: GuestMemory;
  readonly cpu: number;
  readonly perfEvents: IdTable<PerfEventObject>;
  readonly packets: { readonly ops: PacketOps };
}

export function perfOutput(machine: PerfOutputEnv, map: BpfMap, sample: PerfSample): number {
  if ((sample.flagsHigh & ~CTXLEN_MASK) !== 0) return -ERRNO.EINVAL;
  const low = sample.flagsLow >>> 0;
  const index = low === CURRENT_CPU ? machine.cpu : low;
  if (index >= map.info.maxEntries) return -ERRNO.E2BIG;
  const id = machine.memory.u32[(map.layout.values + index * map.layout.stride) >>> 2];
  if (id === 0) return -ERRNO.ENOENT;
  const event = machine.perfEvents.find(id);
  if (event?.ring === undefined || event.attr.kind !== 'bpf_output') return -ERRNO.EINVAL;
  if (event.attr.cpu >= 0 && event.attr.cpu !== machine.cpu) return -ERRNO.EOPNOTSUPP;
  const parts = [{ start: sample.data, size: sample.size }];
  const appended = sample.flagsHigh & CTXLEN_MASK;
  if (appended > 0) {
    const packet = machine.packets.ops.data(sample.ctx);
    if (appended > packet.length) return -ERRNO.EFAULT;
    parts.push({ start: packet.start, size: appended });
  }
  return event.ring.output(parts);
}
