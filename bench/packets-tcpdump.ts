/**
 * npm run bench:packets -- [FILE.pcap]: an XDP program over a capture beside `tcpdump -r` with an equal filter, in turns in one run.
 * Without a file captures of 1 GB are made in the folder for temporary files, one for each mix of frames, and removed. Medians of wall
 * and CPU time (user and system) of whole commands, start-up included, and of the work alone (the capture read and run inside this
 * process). What tcpdump does is done in two ways that print no packets, and the faster one is what we are compared with.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
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
/** Lengths of frames, in turn; about one in seven is DNS over UDP. */
const MIXES: Readonly<Record<string, readonly number[]>> = {
  mixed: [60, 1400, 60, 100, 60, 300, 300, 300, 300, 60, 60, 300, 60, 300, 300, 1400],
  64: [64],
  // Seven short frames, four of middle length and a long one.
  imix: [64, 576, 64, 64, 576, 64, 1500, 64, 576, 64, 576, 64],
  1500: [1500],
};
/** Ways that print no packets. */
const TCPDUMP: ReadonlyMap<string, readonly string[]> = new Map([
  ['tcpdump -r --count', ['--count']],
  ['tcpdump -r -w /dev/null', ['-w', '/dev/null']],
]);
/** Every Node reads and checks these certificates before it runs anything; neither command makes connections. */
const CERTIFICATES = 'NODE_EXTRA_CA_CERTS';

/** A pcap file of `bytes` with IPv4 over Ethernet. */
function makeCapture(path: string, bytes: number, lengths: readonly number[]): void {
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
      const length = lengths[n % lengths.length]!;
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

interface Timed {
  readonly sample: Sample;
  readonly taken: number;
}

/** A whole command. `shown` finds how many packets were taken in what it prints. */
function command(file: string, args: readonly string[], shown: RegExp, env: NodeJS.ProcessEnv): Timed {
  const cpu = childrenCpu();
  const start = performance.now();
  const { stdout, stderr, status } = spawnSync(file, args, { encoding: 'utf8', maxBuffer: 2 ** 31, env });
  const sample = { wall: performance.now() - start, cpu: childrenCpu() - cpu };
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr}`);
  return { sample, taken: Number((shown.exec(stdout)?.[1] ?? 'NaN').replaceAll(',', '')) };
}

/** The work alone: a kernel that has the program attached reads and runs the capture. */
function inProcess(path: string): Timed & { readonly frames: number } {
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

/** All ways over one capture, in turns. */
function compare(path: string, rounds: number): void {
  const samples = new Map<string, Sample[]>();
  const counts = new Map<string, number>();
  let frames = 0;
  const note = (name: string, { sample, taken }: Timed): void => {
    samples.set(name, [...(samples.get(name) ?? []), sample]);
    if (!Number.isNaN(taken)) counts.set(name, taken);
  };
  const { [CERTIFICATES]: certificates, ...env } = process.env;
  const passed = /XDP_PASS × ([\d,]+)/;
  const run = [COMMAND, 'run', OBJECT, '--pcap', path];
  // The first round, which fills the page cache, does not count.
  for (let round = -1; round < rounds; round++) {
    if (round === 0) samples.clear();
    for (const [name, args] of TCPDUMP)
      note(name, command('tcpdump', ['-r', path, ...args, FILTER], /^(\d+) packets?/m, env));
    note('tsbpf run', command('node', run, passed, env));
    if (certificates !== undefined) note(`  with ${CERTIFICATES}`, command('node', run, passed, process.env));
    note('tsbpf run --cpus 2', command('node', [...run, '--cpus', '2'], passed, env));
    const own = inProcess(path);
    note('tsbpf, the work alone', own);
    note("Node's start alone", command('node', ['-e', '0'], /$^/, env));
    frames = own.frames;
  }
  if (new Set(counts.values()).size !== 1) {
    console.error('the counts differ:', counts);
    process.exitCode = 1;
  }
  const of = (name: string, what: keyof Sample) => median(samples.get(name)!.map((sample) => sample[what]));
  const [first] = [...TCPDUMP.keys()].sort((a, b) => of(a, 'wall') - of(b, 'wall')) as [string];
  console.log(
    `${(statSync(path).size / 1e9).toFixed(2)} GB, ${frames} frames, ${counts.get('tsbpf run')} taken; compared with ${first}`,
  );
  const titles = ['wall ms', 'CPU ms', 'packets/s', 'times as fast (wall)', '(CPU)'];
  console.log(`${''.padEnd(28)}${titles.map((title) => title.padStart(22)).join('')}`);
  for (const name of samples.keys()) {
    const wall = of(name, 'wall');
    const cpu = of(name, 'cpu');
    const cells =
      counts.has(name) || TCPDUMP.has(name)
        ? [
            Math.round((frames / wall) * 1000).toLocaleString('en'),
            `${(of(first, 'wall') / wall).toFixed(2)}x`,
            `${(of(first, 'cpu') / cpu).toFixed(2)}x`,
          ]
        : [];
    const shown = [wall.toFixed(0), cpu.toFixed(0), ...cells];
    console.log(`${name.padEnd(28)}${shown.map((cell) => cell.padStart(22)).join('')}`);
  }
  console.log();
}

const options = new Command('bench:packets')
  .description('an XDP program over a capture beside tcpdump -r with an equal filter')
  .argument('[file]', 'a pcap file of Ethernet frames; default: captures that are made')
  .option(
    '--mix <name>',
    `frames of the captures that are made: ${Object.keys(MIXES).join(', ')}; default: all`,
  )
  .option('--size <gigabytes>', 'how large they are', '1')
  .option('--rounds <n>', 'samples of each', '7')
  .parse();
const { mix, size, rounds } = options.opts<{ mix?: string; size: string; rounds: string }>();
console.log(execFileSync('tcpdump', ['--version'], { encoding: 'utf8' }).trim().replaceAll('\n', ', '));
if (process.env[CERTIFICATES] !== undefined)
  console.log(
    `${CERTIFICATES} is set here, which makes every Node start later: left out, but for a row of its own`,
  );
const [given] = options.args;
if (given !== undefined) compare(given, Number(rounds));
for (const [name, lengths] of Object.entries(given === undefined ? MIXES : {})) {
  if (mix !== undefined && mix !== name) continue;
  console.log(`\nframes: ${name} (${[...new Set(lengths)].join(', ')} bytes)`);
  const path = join(tmpdir(), `tsbpf-bench-${process.pid}.pcap`);
  try {
    makeCapture(path, Number(size) * 1e9, lengths);
    compare(path, Number(rounds));
  } finally {
    rmSync(path, { force: true });
  }
}
