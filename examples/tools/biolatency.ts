/** biolatency: how long block devices take, as a histogram. */

import { histogramRows, main, type Session, type Tool, withInterval } from './common/index.ts';
import { type BPF, log2Histogram } from './tsbpf.ts';

const PROGRAM = `
struct request_t {
  u32 dev;
  u64 sector;
};
struct slot_t {
  u64 bucket;
  u64 slot;
};
BPF_HASH(started, struct request_t, u64, 65536);
BPF_HISTOGRAM(latency, struct slot_t);

static int start(u32 dev, u64 sector, int replace)
{
  struct request_t request = {};
  u64 now = bpf_ktime_get_ns();

#ifdef ONLY_DEV
  if (dev != ONLY_DEV)
    return 0;
#endif
  request.dev = dev;
  request.sector = sector;
  if (replace)
    started.update(&request, &now);
  else
    started.insert(&request, &now);
  return 0;
}

#ifdef QUEUED
// From where a request is queued on; what goes straight to the device has no such moment.
TRACEPOINT_PROBE(block, block_rq_insert) { return start(args->dev, args->sector, 1); }
TRACEPOINT_PROBE(block, block_rq_issue) { return start(args->dev, args->sector, 0); }
#else
TRACEPOINT_PROBE(block, block_rq_issue) { return start(args->dev, args->sector, 1); }
#endif

TRACEPOINT_PROBE(block, block_rq_complete)
{
  struct request_t request = {};
  struct slot_t slot = {};
  u64 *begun, time;

  request.dev = args->dev;
  request.sector = args->sector;
  begun = started.lookup(&request);
  if (!begun)
    return 0;
  time = (bpf_ktime_get_ns() - *begun) / UNIT;
  started.delete(&request);
#ifdef BY_DISK
  slot.bucket = args->dev;
#endif
#ifdef BY_FLAGS
  // The first letters of R, W, D (discard), F (flush), with S for synchronous, M for metadata and so on.
  bpf_probe_read_kernel(&slot.bucket, sizeof(slot.bucket), (void *)args->rwbs);
#endif
  slot.slot = bpf_log2l(time);
  latency.increment(slot);
  return 0;
}
`;

interface Options {
  readonly interval?: number;
  readonly count?: number;
  readonly timestamp?: true;
  readonly queued?: true;
  readonly milliseconds?: true;
  readonly disks?: true;
  readonly flags?: true;
  readonly disk?: string;
}

interface Slot {
  readonly bucket: number | bigint;
  readonly slot: number;
}

/** dev_t inside of the kernel. */
const MINOR_BITS = 20;

export const biolatency: Tool<Options> = {
  name: 'biolatency',
  summary: 'Shows how long requests to block devices take, as histograms of powers of two.',
  examples: [
    ['biolatency', 'until Ctrl-C'],
    ['biolatency 1 10', 'each second, ten times'],
    ['biolatency -mT 1', 'in milliseconds, with the time'],
    ['biolatency -Q', 'with the time that requests are queued'],
    ['biolatency -D', 'each disk for itself'],
    ['biolatency -F', 'each kind of request for itself'],
    ['biolatency --input block.data', 'a recording'],
  ],
  record:
    'perf record -k CLOCK_MONOTONIC -a -o block.data -e block:block_rq_insert -e block:block_rq_issue -e block:block_rq_complete COMMAND',
  configure: (command) =>
    withInterval(command)
      .option('-T, --timestamp', 'the time before each output')
      .option('-Q, --queued', 'time in the queue of the operating system, too')
      .option('-m, --milliseconds', 'milliseconds in place of microseconds')
      .option('-D, --disks', 'a histogram a disk')
      .option('-F, --flags', 'a histogram a kind of request: R, W, FF, WS …')
      .option('-k, --disk <disk>', 'only this disk: a name below /sys/block, or major:minor'),
  async run(session, options) {
    session.require(
      'block/block_rq_issue',
      'block/block_rq_complete',
      ...(options.queued ? ['block/block_rq_insert'] : []),
    );
    const b = session.bcc(PROGRAM, {
      UNIT: options.milliseconds ? 1_000_000 : 1000,
      QUEUED: options.queued,
      BY_DISK: options.disks,
      BY_FLAGS: options.disks ? undefined : options.flags,
      ONLY_DEV: options.disk === undefined ? undefined : deviceNumber(session, options.disk),
    });
    const unit = options.milliseconds ? 'msecs' : 'usecs';
    session.text(
      `Tracing block device I/O${session.embedded ? ' of a recording' : '... Hit Ctrl-C to end.'}`,
    );
    await session.run({
      interval: options.interval,
      count: options.count,
      onInterval: () => {
        const now = session.now();
        session.text(options.timestamp ? `\n${session.clock(now)}` : '');
        for (const [bucket, slots] of buckets(b)) {
          const name = options.disks
            ? diskName(session, Number(bucket))
            : options.flags
              ? flagsOf(bucket)
              : '';
          if (name !== '') session.text(`\n${options.disks ? 'disk' : 'flags'} = ${name}`);
          session.text(log2Histogram(slots, { valueType: unit }).trimEnd());
          const of = options.disks ? { disk: name } : options.flags ? { flags: name } : {};
          session.object({ time: session.iso(now), ...of, unit, histogram: histogramRows(slots) });
        }
        b.get('latency').clear();
      },
    });
  },
};

function buckets(b: BPF): [bigint, number[]][] {
  const found = new Map<bigint, number[]>();
  for (const [key, count] of b.get('latency').items() as unknown as [Slot, number][]) {
    const bucket = BigInt(key.bucket);
    const slots = found.get(bucket) ?? new Array<number>(65).fill(0);
    slots[Number(key.slot)] = count;
    found.set(bucket, slots);
  }
  return [...found].sort(([one], [other]) => (one < other ? -1 : 1));
}

/** Up to eight letters, the first in the lowest byte. */
function flagsOf(bucket: bigint): string {
  let text = '';
  for (let left = bucket; (left & 0xffn) !== 0n; left >>= 8n)
    text += String.fromCharCode(Number(left & 0xffn));
  return text || 'none';
}

function diskName(session: Session, dev: number): string {
  const number = `${dev >> MINOR_BITS}:${dev & ((1 << MINOR_BITS) - 1)}`;
  const uevent = session.file(`/sys/dev/block/${number}/uevent`);
  return /^DEVNAME=(.+)$/m.exec(uevent ?? '')?.[1] ?? number;
}

function deviceNumber(session: Session, disk: string): number {
  const text = /^\d+:\d+$/.test(disk) ? disk : (session.file(`/sys/class/block/${disk}/dev`) ?? '');
  const numbers = /^(\d+):(\d+)/.exec(text);
  if (numbers === null) throw session.failure('ENODEV', `there is no block device '${disk}'`);
  return (Number(numbers[1]) << MINOR_BITS) | Number(numbers[2]);
}

await main(import.meta.url, biolatency);
