/**
 * npm run bench:cpus: one packet workload on one CPU and on two, by turns. The frames of a flow go to one CPU, as receive queues of a
 * network card have it. A sample lasts a given time: each of its CPUs runs through its frames again and again until the time is over, and what
 * counts is how many packets a second there were. Two CPUs are compared with the mean of each alone: cores are not equally fast.
 *
 * Besides the rate on the wall it tells that by processor time, where Linux says it (schedstat): packets by each thread's own time on a
 * processor. On a busy machine threads wait for one, which says nothing about the kernel here. Medians of many short samples, over
 * several kernels, since where memory and code lie differs from one to the next. Ends with status 1 where the counts are not exact.
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
const RECORD = 16 + 64;
/** Runs through the frames that are handed to a CPU at once: some milliseconds, two of them ahead. */
const TIMES = 12;
const AHEAD = 2;

type Cpu = 1 | 2;
const CPUS = [1, 2] as const;

function build(): Uint8Array {
  const path = fileURLToPath(new URL('./programs/flows.bpf.c', import.meta.url));
  const { object, sources, diagnostics } = compile({
    files: { read: () => undefined },
    main: path,
    text: readFileSync(path, 'utf8'),
    options: { builtinHeader },
  });
  if (object === null) throw new Error(formatDiagnostics(sources, diagnostics));
  return object;
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

/** Packets a second in a sample, on the wall and by processor time (NaN where nobody says). */
interface Rates {
  readonly wall: number;
  readonly processor: number;
}

class Subject {
  readonly #kernel: EmbeddedKernel;
  readonly #object: BpfObject;
  readonly #frames: readonly CpuFrames[];
  /** The thread that is a CPU, as /proc names it. */
  readonly #tasks = new Map<Cpu, string>();
  #packets = 0;

  private constructor(kernel: EmbeddedKernel, object: BpfObject, frames: readonly CpuFrames[]) {
    this.#kernel = kernel;
    this.#object = object;
    this.#frames = frames;
  }

  static async open(code: Uint8Array, piece: number): Promise<Subject> {
    const kernel = new EmbeddedKernel({ cpus: { count: 3, start: cpuThreads() } });
    const object = BpfObject.open(code).load(kernel);
    const ifindex = kernel.simulator.addInterface('eth0');
    object.findProgram('count_flows').attach({ interface: ifindex });
    const blocked = object.findMap('blocked');
    for (let i = 0; i < 64; i++) {
      const key = Uint8Array.of(24, 0, 0, 0, 172, 16, i, 0);
      kernel.mapUpdateElem({ mapFd: blocked.fd, key, value: Uint8Array.of(1, 0, 0, 0) });
    }
    const cpus = kernel.cpus!;
    await cpus.ready();
    const frames = CPUS.map((cpu) => {
      const half = cpus.frames({ ifindex, size: Math.floor(piece / RECORD) * RECORD })!;
      fill(half, cpu - 1);
      return half;
    });
    const subject = new Subject(kernel, object, frames);
    // Until the code is optimised and all flows are known, on each CPU.
    for (const cpu of CPUS) {
      const before = onProcessor();
      await subject.#runUntil(cpu, performance.now() + 150);
      let most = 0;
      for (const [task, ran] of onProcessor()) {
        const grown = ran - (before.get(task) ?? 0);
        if (grown <= most) continue;
        most = grown;
        subject.#tasks.set(cpu, task);
      }
    }
    return subject;
  }

  /** Packets that the CPU has run, from now until `end` (performance.now()). */
  async #runUntil(cpu: Cpu, end: number): Promise<number> {
    let packets = 0;
    const keep = async (): Promise<void> => {
      while (performance.now() < end) {
        const { frames } = await this.#frames[cpu - 1]!.run(cpu, { times: TIMES });
        packets += frames;
      }
    };
    await Promise.all(Array.from({ length: AHEAD }, keep));
    this.#packets += packets;
    return packets;
  }

  async sample(cpus: readonly Cpu[], ms: number): Promise<Rates> {
    const before = onProcessor();
    const start = performance.now();
    const rates = await Promise.all(
      cpus.map(async (cpu) => {
        const packets = await this.#runUntil(cpu, start + ms);
        return { cpu, packets, wall: packets / (performance.now() - start) };
      }),
    );
    const after = onProcessor();
    let wall = 0;
    let processor = 0;
    for (const rate of rates) {
      const task = this.#tasks.get(rate.cpu) ?? '';
      wall += rate.wall * 1000;
      processor += (rate.packets / (after.get(task)! - before.get(task)!)) * 1e9;
    }
    return { wall, processor };
  }

  /** What the maps have counted: whether it is what was run. */
  counted(): { exact: boolean; text: string } {
    let flows = 0;
    for (const [, value] of this.#object.findMap('flows').entryBytes())
      flows += Number(new DataView(value.buffer, value.byteOffset).getBigUint64(0, true));
    const [, ...own] = (this.#object.findMap('seen').get(0) as { packets: bigint | number }[]).map((n) =>
      Number(n.packets),
    );
    const sum = own.reduce((a, b) => a + b, 0);
    return {
      exact: flows === this.#packets && sum === this.#packets,
      text: `${this.#packets} packets: ${flows} in flows, ${own.join(' + ')} by CPU`,
    };
  }

  close(): void {
    this.#kernel.shutdown();
  }
}

const options = new Command()
  .option('--kernels <n>', 'kernels, one after another', Number, 5)
  .option('--rounds <n>', 'samples of each on a kernel', Number, 9)
  .option('--sample <ms>', 'length of a sample', Number, 80)
  // What `tsbpf run --pcap` gives a CPU at once. More than a core's own cache holds is a measure of the cache that cores have in common.
  .option('--piece <KiB>', 'frames of a CPU', Number, 512)
  .option('--verbose', 'a line a kernel')
  .parse()
  .opts<{ kernels: number; rounds: number; sample: number; piece: number; verbose?: boolean }>();

interface Round {
  readonly alone: readonly [Rates, Rates];
  readonly both: Rates;
}

const code = build();
const rounds: Round[] = [];
const mean = ([a, b]: Round['alone'], what: keyof Rates): number => (a[what] + b[what]) / 2;
const show = (some: readonly Round[], what: keyof Rates): string => {
  const million = (rate: number): string => (rate / 1e6).toFixed(2);
  const one = median(some.map(({ alone }) => mean(alone, what)));
  const two = median(some.map(({ both }) => both[what]));
  // By rounds: what slows the machine down for a while slows both.
  const ratio = median(some.map(({ alone, both }) => both[what] / mean(alone, what)));
  return `one CPU ${million(one)}, two ${million(two)} million packets a second, ratio ${ratio.toFixed(2)}`;
};
for (let n = 0; n < options.kernels; n++) {
  const subject = await Subject.open(code, options.piece * 1024);
  const own: Round[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const first = await subject.sample([1], options.sample);
    const both = await subject.sample(CPUS, options.sample);
    const second = await subject.sample([2], options.sample);
    own.push({ alone: [first, second], both });
  }
  rounds.push(...own);
  const { exact, text } = subject.counted();
  if (options.verbose === true || !exact) {
    console.log(`kernel ${n + 1}: ${text}`);
    console.log(`  by processor time: ${show(own, 'processor')}`);
    for (const cpu of [0, 1])
      console.log(
        `  CPU ${cpu + 1} alone: ${(median(own.map(({ alone }) => alone[cpu]!.processor)) / 1e6).toFixed(2)}`,
      );
  }
  if (!exact) process.exitCode = 1;
  subject.close();
}
console.log(`on the wall: ${show(rounds, 'wall')}`);
if (!Number.isNaN(rounds[0]!.both.processor)) console.log(`by processor time: ${show(rounds, 'processor')}`);
