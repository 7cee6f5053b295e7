/**
 * npm run bench:packets -- [FILE.pcap]: an XDP program over a capture beside `tcpdump -r` with an equal filter, in turns in one run;
 * without a file one of 1 GB is made in the folder for temporary files. Medians of wall and CPU time of whole commands, start-up
 * included, and of the work alone (the capture read and run inside this process).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { BpfObject } from '../src/libbpf/index.ts';
import { BPF_ATTACH_TYPE } from '../src/uapi/index.ts';
import { median } from './harness.ts';

const FILTER = 'udp port 53';
const PROGRAM = 'udp_port_53';
const OBJECT = new URL('objects/capture.bpf.o', import.meta.url).pathname;
const COMMAND = new URL('../dist/start.cjs', import.meta.url).pathname;
const FILE_HEADER = 24;
const TICKS_PER_MS = 1 / 10;
/** Frames of these lengths in turn; about one in seven is DNS over UDP. */
const LENGTHS = [60, 1400, 60, 100, 60, 300, 300, 300, 300, 60, 60, 300, 60, 300, 300, 1400];

/** A pcap file of `bytes` with IPv4 over Ethernet. */
function makeCapture(path: string, bytes: number): void {
  const fd = openSync(path, 'w');
  const header = new DataView(new ArrayBuffer(FILE_HEADER));
  [0xa1b2c3d4, 0x00040002, 0, 0, 262_144, 1].forEach((word, i) => {
    header.setUint32(4 * i, word, true);
  });
  writeSync(fd, header);
  let written = FILE_HEADER;
  const piece = new DataView(new ArrayBuffer(1 << 20));
  for (let n = 0; written < bytes; ) {
    let at = 0;
    for (; at + 2000 < piece.byteLength; n++) {
      const length = LENGTHS[n % LENGTHS.length]!;
      piece.setUint32(at, 1_700_000_000 + Math.floor(n / 1e6), true);
      piece.setUint32(at + 4, n % 1_000_000, true);
      piece.setUint32(at + 8, length, true);
      piece.setUint32(at + 12, length, true);
      const eth = at + 16;
      piece.setUint16(eth + 12, 0x0800);
      piece.setUint8(eth + 14, 0x45);
      piece.setUint16(eth + 16, length - 14);
      piece.setUint8(eth + 22, 64);
      piece.setUint8(eth + 23, n % 5 < 2 ? 6 : 17);
      piece.setUint32(eth + 26, 0x0a00_0000 + (n & 0xffff));
      piece.setUint32(eth + 30, 0x0a2a_0000 + (n & 0xff));
      piece.setUint16(eth + 34, 1234);
      piece.setUint16(eth + 36, n % 4 === 0 ? 53 : 443);
      at = eth + length;
    }
    writeSync(fd, piece, 0, at);
    written += at;
  }
  closeSync(fd);
}

/** CPU time of ended children so far, milliseconds (proc(5): cutime and cstime). */
function childrenCpu(): number {
  const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]!.split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_MS;
}

interface Sample {
  readonly wall: number;
  readonly cpu: number;
}

function command(file: string, args: readonly string[], shown: RegExp): { sample: Sample; taken: number } {
  const cpu = childrenCpu();
  const start = performance.now();
  const { stdout, stderr, status } = spawnSync(file, args, { encoding: 'utf8', maxBuffer: 2 ** 31 });
  const sample = { wall: performance.now() - start, cpu: childrenCpu() - cpu };
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr}`);
  return { sample, taken: Number((shown.exec(stdout)?.[1] ?? 'NaN').replaceAll(',', '')) };
}

/** The work alone: a kernel that has the program attached reads and runs the capture. */
function inProcess(path: string): { sample: Sample; taken: number; frames: number } {
  const kernel = new EmbeddedKernel();
  const { simulator } = kernel;
  const ifindex = simulator.addInterface('eth0');
  const { fd } = BpfObject.open(readFileSync(OBJECT)).load(kernel).findProgram(PROGRAM);
  kernel.linkCreate({ progFd: fd, targetIfindex: ifindex, attachType: BPF_ATTACH_TYPE.BPF_XDP });
  const before = process.cpuUsage();
  const start = performance.now();
  const batch = simulator.receiveFrames({ ifindex, tick: 1000, start: 0n, longest: 1 << 24 })!;
  const file = openSync(path, 'r');
  let position = FILE_HEADER;
  for (;;) {
    const room = batch.room();
    const length = readSync(file, room, 0, room.length, position);
    if (length === 0) break;
    position += length;
    batch.take(length);
  }
  closeSync(file);
  const { user, system } = process.cpuUsage(before);
  const sample = { wall: performance.now() - start, cpu: (user + system) / 1000 };
  const { frames } = batch;
  const taken = batch.actions.get(2) ?? 0;
  batch.close();
  kernel.shutdown();
  return { sample, taken, frames };
}

const options = new Command('bench:packets')
  .description('an XDP program over a capture beside tcpdump -r with an equal filter')
  .argument('[file]', 'a pcap file of Ethernet frames; default: one of 1 GB that is made')
  .option('--rounds <n>', 'samples of each', '7')
  .option('--keep', 'leave the capture that was made')
  .parse();
const { rounds, keep } = options.opts<{ rounds: string; keep?: boolean }>();
const path = options.args[0] ?? join(tmpdir(), 'tsbpf-bench.pcap');
const made = options.args[0] === undefined && !existsSync(path);
if (made) makeCapture(path, 2 ** 30);
try {
  const samples = new Map<string, Sample[]>();
  const counts = new Map<string, number>();
  let frames = 0;
  const note = (name: string, sample: Sample, taken: number): void => {
    samples.set(name, [...(samples.get(name) ?? []), sample]);
    counts.set(name, taken);
  };
  // The first round, which fills the page cache, does not count.
  for (let round = -1; round < Number(rounds); round++) {
    if (round === 0) samples.clear();
    const count = command('tcpdump', ['-r', path, '--count', FILTER], /^(\d+) packets?/m);
    note('tcpdump -r --count', count.sample, count.taken);
    const write = command('tcpdump', ['-r', path, '-w', '/dev/null', FILTER], /$^/);
    note('tcpdump -r -w /dev/null', write.sample, count.taken);
    const tsbpf = command('node', [COMMAND, 'run', OBJECT, '--pcap', path], /XDP_PASS × ([\d,]+)/);
    note('tsbpf run', tsbpf.sample, tsbpf.taken);
    const own = inProcess(path);
    note('tsbpf, the work alone', own.sample, own.taken);
    frames = own.frames;
  }
  if (new Set(counts.values()).size !== 1) {
    console.error('the counts differ:', counts);
    process.exitCode = 1;
  }
  const version = execFileSync('tcpdump', ['--version'], { encoding: 'utf8' }).split('\n')[0];
  console.log(
    `${(statSync(path).size / 1e9).toFixed(2)} GB, ${frames} frames, ${counts.get('tsbpf run')} taken; ${version}`,
  );
  const of = (name: string, what: keyof Sample) => median(samples.get(name)!.map((sample) => sample[what]));
  const first = 'tcpdump -r --count';
  console.log(
    `${''.padEnd(26)}${['wall ms', 'CPU ms', 'packets/s', 'times tcpdump (wall)', '(CPU)'].map((s) => s.padStart(22)).join('')}`,
  );
  for (const name of samples.keys()) {
    const wall = of(name, 'wall');
    const cpu = of(name, 'cpu');
    const cells = [
      wall.toFixed(0),
      cpu.toFixed(0),
      Math.round((frames / wall) * 1000).toLocaleString('en'),
      `${(of(first, 'wall') / wall).toFixed(2)}x`,
      `${(of(first, 'cpu') / cpu).toFixed(2)}x`,
    ];
    console.log(`${name.padEnd(26)}${cells.map((cell) => cell.padStart(22)).join('')}`);
  }
} finally {
  if (made && !keep) rmSync(path);
}
