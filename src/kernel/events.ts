/** perf_event_open(2) objects: output rings for programs, and the events that tracing programs are attached through. */
import type { PerfEventAttr } from '../contracts/kernel.ts';
import { userPlace } from '../hooks/index.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { BpfError } from '../util/errors.ts';
import { type IdTable, KernelObject } from './fd-table.ts';
import { PerfRing } from './rings.ts';

export class PerfEventObject extends KernelObject {
  readonly what = 'perf event';
  readonly id: number;
  readonly attr: PerfEventAttr;
  /** For `bpf_output`. */
  readonly ring: PerfRing | undefined;
  readonly #ids: IdTable<PerfEventObject>;

  constructor(attr: PerfEventAttr, memory: GuestMemory, ids: IdTable<PerfEventObject>) {
    super();
    this.#ids = ids;
    this.attr = attr;
    this.id = ids.reserve();
    if (attr.kind === 'bpf_output')
      this.ring = new PerfRing(memory, attr.pages, this.id, attr.wakeupEvents ?? 1);
    ids.set(this.id, this);
  }

  /** The attach point behind the event: EINVAL where it is no event that programs are attached to. */
  get point(): string {
    const attr = this.attr;
    switch (attr.kind) {
      case 'tracepoint':
        return `tracepoint:${attr.category}/${attr.name}`;
      case 'kprobe':
        if (attr.offset !== undefined && attr.offset !== 0n) {
          throw new BpfError(
            'EOPNOTSUPP',
            `kprobe at ${attr.symbol}+${attr.offset}: the embedded kernel has function entries and returns only`,
          );
        }
        return `${attr.retprobe ? 'kretprobe' : 'kprobe'}:${attr.symbol}`;
      case 'uprobe':
        return `${attr.retprobe ? 'uretprobe' : 'uprobe'}:${userPlace(attr.path, attr.offset)}`;
      case 'sampling':
        return `perf_event:${attr.type}:${attr.config}`;
      default:
        throw new BpfError(
          'EINVAL',
          `programs cannot be attached to a ${attr.kind} event of the embedded kernel`,
        );
    }
  }

  protected destroy(): void {
    this.#ids.remove(this.id);
    this.ring?.free();
  }
}
