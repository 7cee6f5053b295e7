/**
 * The text of `perf script` on a recording with call stacks (`perf record -g`), as samples of a kernel. The names of the frames come
 * with it: each frame has an address of its own, and `frame` says what it is called.
 */
import type { KernelEvent } from '../../contracts/events.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { scriptFrame, scriptHead } from './detect.ts';

export interface RecordedFrame {
  /** Undefined where perf knew none. */
  readonly name: string | undefined;
  readonly offset: bigint;
  /** Path, `[kernel.kallsyms]`, module. */
  readonly object: string;
}

export interface PerfScript {
  readonly events: readonly KernelEvent[];
  /** What an address of the samples' stacks is called. */
  frame(address: bigint): RecordedFrame | undefined;
  readonly cpus: number;
  /** Lines that are no part of a sample. */
  readonly skipped: number;
}

const MAX_BYTES = 256 << 20;
const MAX_SAMPLES = 2_000_000;
const MAX_FRAMES = 1024;
const KERNEL_HALF = 1n << 63n;
const USER_TOP = 1n << 47n;
/** What perf calls events: PERF_TYPE_*, PERF_COUNT_*. Others are taken for the processor's clock. */
const EVENTS: Readonly<Record<string, readonly [type: number, config: bigint]>> = {
  cycles: [0, 0n],
  'cpu-cycles': [0, 0n],
  instructions: [0, 1n],
  'cpu-clock': [1, 0n],
  'task-clock': [1, 1n],
};
const CPU_CLOCK = [1, 0n] as const;

interface Sample {
  readonly comm: string;
  readonly pid: number;
  readonly tgid: number;
  readonly cpu: number;
  readonly time: bigint;
  readonly period: bigint;
  readonly event: string;
  readonly kernel: bigint[];
  readonly user: bigint[];
}

/** Throws BpfError: EINVAL where there is no sample in it, EFBIG above 256 MiB. */
export function parsePerfScript(input: string | Uint8Array): PerfScript {
  if (input.length > MAX_BYTES)
    throw new BpfError('EFBIG', `a recording of ${input.length} bytes: at most ${MAX_BYTES} are read`);
  const names = new FrameNames();
  const samples: Sample[] = [];
  let skipped = 0;
  let current: Sample | undefined;
  for (const line of (typeof input === 'string' ? input : fromUtf8(input)).split('\n')) {
    const frame = current === undefined ? null : scriptFrame(line);
    if (frame !== null && current !== undefined) {
      const list = frame.address >= KERNEL_HALF ? current.kernel : current.user;
      if (list.length < MAX_FRAMES) list.push(names.place(frame.address, frame.symbol, frame.object));
      continue;
    }
    const head = scriptHead(line);
    current = head === null ? undefined : sampleOf(head);
    if (current === undefined) {
      if (line.trim() !== '' && !line.startsWith('#')) skipped++;
    } else if (samples.push(current) > MAX_SAMPLES)
      throw new BpfError('EFBIG', `more than ${MAX_SAMPLES} samples`, { hint: 'split the recording' });
  }
  if (samples.length === 0)
    throw new BpfError('EINVAL', 'there is no sample of perf script in the text', {
      hint: 'make it with: perf record -g -o FILE COMMAND; perf script -i FILE',
    });
  samples.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  return {
    events: samples.map(eventOf),
    frame: (address) => names.at(address),
    cpus: 1 + samples.reduce((most, { cpu }) => Math.max(most, cpu < 4096 ? cpu : 0), 0),
    skipped,
  };
}

function sampleOf(head: RegExpExecArray): Sample {
  const [
    ,
    comm = '',
    first = '0',
    second,
    cpu = '0',
    seconds = '0',
    fraction = '',
    period = '0',
    event = '',
  ] = head;
  return {
    comm,
    tgid: Math.max(0, Number(first)),
    pid: Math.max(0, Number(second ?? first)),
    cpu: Number(cpu),
    time: BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0')),
    period: BigInt(period),
    event,
    kernel: [],
    user: [],
  };
}

function eventOf({ comm, pid, tgid, cpu, time, period, event, kernel, user }: Sample): KernelEvent {
  // `cycles:ppp` is `cycles`, with a precision.
  const [name = ''] = event.split(':');
  const [type, config] = (Object.hasOwn(EVENTS, name) ? EVENTS[name] : undefined) ?? CPU_CLOCK;
  const stacks = { ...(kernel.length > 0 ? { kernel } : {}), ...(user.length > 0 ? { user } : {}) };
  return { kind: 'perf_sample', type, config, period, process: { pid, tgid, comm }, time, cpu, stacks };
}

/**
 * perf prints addresses of user space as those of their file, which several files share: a second one at the same address gets an
 * address that no process has.
 */
class FrameNames {
  readonly #byAddress = new Map<bigint, RecordedFrame>();
  readonly #byText = new Map<string, bigint>();
  #next = USER_TOP;

  place(address: bigint, text: string, object: string): bigint {
    const key = `${address} ${text} ${object}`;
    const known = this.#byText.get(key);
    if (known !== undefined) return known;
    const place = this.#byAddress.has(address) || address === 0n ? this.#next++ : address;
    const [, name = text, offset = '0'] = /^(.*)\+0x([0-9a-f]{1,16})$/.exec(text) ?? [];
    this.#byText.set(key, place);
    this.#byAddress.set(place, {
      name: name === '[unknown]' || name === '' ? undefined : name,
      offset: BigInt(`0x${offset}`),
      object: object === '[unknown]' ? '' : object,
    });
    return place;
  }

  at(address: bigint): RecordedFrame | undefined {
    return this.#byAddress.get(address);
  }
}
