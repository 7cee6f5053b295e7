/**
 * npm run bench:cpus: one packet workload on one CPU and on two, by turns. The frames of a flow go to one CPU, as receive queues of a
 * network card have it. Besides the time on the wall it tells that on processors, where Linux says it (schedstat): on a busy machine threads wait
 * for a processor, which says nothing about the kernel here. Ends with status 1 where the counts are not exact.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { builtinHeader, compile, formatDiagnostics } from '../src/compiler/index.ts';
import type { CpuFrames } from '../src/contracts/cpus.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { BpfObject } from '../src/libbpf/index.ts';
import { cpuThreads } from '../test/cpus/threads.ts';
import { median } from './harness.ts';
import { benchPacket } from './packet.ts';

const FLOWS = 4096;
const PACKETS = 32_768;
const RECORD = 16 + 64;

function open(): { kernel: EmbeddedKernel; object: BpfObject; ifindex: number } {
  const path = fileURLToPath(new URL('./programs/flows.bpf.c', import.meta.url));
  const text = readFileSync(path, 'utf8');
  const {
    object: code,
    sources,
    diagnostics,
  } = compile({
    files: { read: () => undefined },
    main: path,
    text,
    options: { builtinHeader },
  });
  if (code === null) throw new Error(formatDiagnostics(sources, diagnostics));
  const kernel = new EmbeddedKernel({ cpus: { count: 3, start: cpuThreads() } });
  const object = BpfObject.open(code).load(kernel);
  const ifindex = kernel.simulator.addInterface('eth0');
  object.findProgram('count_flows').attach({ interface: ifindex });
  const blocked = object.findMap('blocked');
  for (let i = 0; i < 64; i++) {
    const key = Uint8Array.of(24, 0, 0, 0, 172, 16, i, 0);
    kernel.mapUpdateElem({ mapFd: blocked.fd, key, value: Uint8Array.of(1, 0, 0, 0) });
  }
  return { kernel, object, ifindex };
}

/** The frames of every second flow, from flow `first` on. */
function fill(frames: CpuFrames, first: number): void {
  const packet = benchPacket();
  const view = new DataView(frames.bytes.buffer, frames.bytes.byteOffset, frames.bytes.length);
  let random = 1 + first;
  for (let at = 0; at < frames.bytes.length; at += RECORD) {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    const flow = ((random >>> 8) % (FLOWS / 2)) * 2 + first;
    view.setUint32(at + 8, packet.length, true);
    view.setUint32(at + 12, packet.length, true);
    frames.bytes.set(packet, at + 16);
    // Source address and port.
    view.setUint32(at + 16 + 26, 0x0a00_0000 + (flow >>> 4));
    view.setUint16(at + 16 + 34, 1024 + (flow & 15));
  }
}

/** Nanoseconds that each thread of this process has been on a processor; empty where nobody says. */
function onProcessor(): Map<string, number> {
  const times = new Map<string, number>();
  try {
    for (const task of readdirSync('/proc/self/task')) {
      const [ran] = readFileSync(`/proc/self/task/${task}/schedstat`, 'utf8').split(' ');
      times.set(task, Number(ran));
    }
  } catch {
    times.clear();
  }
  return times;
}

interface Sample {
  /** Milliseconds. */
  readonly wall: number;
  /** Of the thread that was longest on a processor. */
  readonly longest: number;
}

async function sample(work: () => Promise<unknown>): Promise<Sample> {
  const before = onProcessor();
  const start = performance.now();
  await work();
  const wall = performance.now() - start;
  let longest = 0;
  for (const [task, ran] of onProcessor()) longest = Math.max(longest, ran - (before.get(task) ?? 0));
  return { wall, longest: longest / 1e6 };
}

const options = new Command()
  .option('--rounds <n>', 'samples of each', Number, 31)
  .option('--sample <ms>', 'length of a sample on one CPU', Number, 200)
  .parse()
  .opts<{ rounds: number; sample: number }>();

const { kernel, object, ifindex } = open();
const cpus = kernel.cpus!;
await cpus.ready();
const halves = [0, 1].map((first) => {
  const frames = cpus.frames({ ifindex, size: (PACKETS / 2) * RECORD })!;
  fill(frames, first);
  return frames;
}) as [CpuFrames, CpuFrames];

let packets = 0;
const run = async (half: 0 | 1, cpu: number, times: number): Promise<void> => {
  const { frames } = await halves[half].run(cpu, { times });
  packets += frames;
};

// Until the code is optimised and all flows are known, on both.
for (let i = 0; i < 3; i++) {
  await run(0, 1, 20);
  await run(1, 1, 20);
  await run(0, 2, 20);
  await run(1, 2, 20);
}
const once = await sample(async () => {
  await run(0, 1, 10);
  await run(1, 1, 10);
});
const times = Math.max(1, Math.round((10 * options.sample) / (once.longest || once.wall)));
const one: Sample[] = [];
const two: Sample[] = [];
for (let round = 0; round < options.rounds; round++) {
  one.push(
    await sample(async () => {
      await run(0, 1, times);
      await run(1, 1, times);
    }),
  );
  two.push(await sample(() => Promise.all([run(0, 1, times), run(1, 2, times)])));
}

const rate = (ms: number): string => `${((PACKETS * times) / ms / 1000).toFixed(2)} million packets a second`;
for (const what of ['wall', 'longest'] as const) {
  const [first, second] = [one, two].map((samples) => median(samples.map((s) => s[what])));
  if (!first || !second) continue;
  // By rounds: what slows the machine down for a while slows both.
  const ratio = median(one.map((sample, round) => sample[what] / two[round]![what]));
  const name = what === 'wall' ? 'on the wall' : 'on processors (the longest thread)';
  console.log(`${name}: one CPU ${rate(first)}, two ${rate(second)}, ratio ${ratio.toFixed(2)}`);
}
const best = Math.min(...one.map(({ wall }) => wall)) / Math.min(...two.map(({ wall }) => wall));
console.log(`best samples on the wall: ratio ${best.toFixed(2)}`);

let counted = 0;
for (const [, value] of object.findMap('flows').entryBytes())
  counted += Number(new DataView(value.buffer, value.byteOffset).getBigUint64(0, true));
const [, ...own] = (object.findMap('seen').get(0) as { packets: bigint | number }[]).map((n) =>
  Number(n.packets),
);
const sum = own.reduce((a, b) => a + b, 0);
console.log(`${packets} packets: ${counted} in flows, ${own.join(' + ')} by CPU`);
if (counted !== packets || sum !== packets) process.exitCode = 1;
kernel.shutdown();
