/**
 * npm run bench:packets -- [FILE.pcap]: an XDP program over a capture beside `tcpdump -r` with an equal filter, in turns in one run.
 * Without a file captures of 1 GB are made in the folder for temporary files, one for each mix of frames, and removed. Medians of wall
 * time, means of CPU time (user and system; Linux tells it in steps of 10 ms), of whole commands, start-up included, and of the work alone (the capture read and run inside this
 * process). What tcpdump does is done in two ways that print no packets, and the faster one is what we are compared with.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { cpus, loadavg, platform, release, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
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
const NODE_ALONE = "Node's start alone";
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

/** What is shown, and written with --write: text and tables. */
interface Shown {
  readonly title: string;
  readonly rows: readonly (readonly string[])[];
}

const TITLES = ['', 'wall ms', 'CPU ms', 'packets/s', 'times as fast (wall)', '(CPU)'];

function print({ title, rows }: Shown): void {
  console.log(`\n${title}`);
  for (const [name, ...cells] of [TITLES, ...rows])
    console.log(`${name!.padEnd(28)}${cells.map((cell) => cell.padStart(22)).join('')}`);
}

function page(notes: readonly string[], tables: readonly Shown[]): string {
  const line = (cells: readonly string[]) => `| ${TITLES.map((_, i) => cells[i] ?? '').join(' | ')} |`;
  return [
    '# Captures beside tcpdump',
    '`npm run bench:packets -- --write docs/packets.md` has made this page: an XDP program over captures beside `tcpdump -r` with an equal filter' +
      ` (\`${FILTER}\`), in turns. Wall time: medians. CPU time: means, user and system. Whole commands, start-up included; "the work alone" is` +
      ' what they do once they are loaded: read the capture and run the program over it.',
    notes.map((note) => `- ${note}`).join('\n'),
    ...tables.flatMap(({ title, rows }) => [
      `## ${title}`,
      [line(TITLES), '| --- | ---: | ---: | ---: | ---: | ---: |', ...rows.map(line)].join('\n'),
    ]),
    '',
  ].join('\n\n');
}

/** All ways over one capture, in turns. */
function compare(path: string, rounds: number, what: string): Shown {
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
    note(NODE_ALONE, command('node', ['-e', '0'], /$^/, env));
    frames = own.frames;
  }
  if (new Set(counts.values()).size !== 1) {
    console.error('the counts differ:', counts);
    process.exitCode = 1;
  }
  const wallOf = (name: string) => median(samples.get(name)!.map(({ wall }) => wall));
  const cpuOf = (name: string) => samples.get(name)!.reduce((sum, { cpu }) => sum + cpu, 0) / rounds;
  const [first] = [...TCPDUMP.keys()].sort((a, b) => wallOf(a) - wallOf(b)) as [string];
  const rows = [...samples.keys()].map((name) => {
    const wall = wallOf(name);
    const cpu = cpuOf(name);
    const cells = [
      Math.round((frames / wall) * 1000).toLocaleString('en'),
      `${(wallOf(first) / wall).toFixed(2)}x`,
      `${(cpuOf(first) / cpu).toFixed(2)}x`,
    ];
    return [name, wall.toFixed(0), cpu.toFixed(0), ...(name === NODE_ALONE ? [] : cells)];
  });
  const gigabytes = (statSync(path).size / 1e9).toFixed(2);
  const title = `${what}: ${gigabytes} GB, ${frames.toLocaleString('en')} frames, ${counts.get('tsbpf run')?.toLocaleString('en')} taken; beside ${first}`;
  const shown = { title, rows };
  print(shown);
  return shown;
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
  .option('--write <file>', 'writes what it shows as a page of Markdown')
  .parse();
const { mix, size, rounds, write } = options.opts<{
  mix?: string;
  size: string;
  rounds: string;
  write?: string;
}>();
const [processor] = cpus();
const notes = [
  `Machine: ${cpus().length} × ${processor?.model ?? 'unknown'}, ${platform()} ${release()}, Node ${process.version}; load average ${loadavg()[0]!.toFixed(1)} when it began`,
  execFileSync('tcpdump', ['--version'], { encoding: 'utf8' }).trim().replaceAll('\n', ', '),
  'The captures lie in the page cache. tcpdump is one thread; so is `tsbpf run`, but for a thread that may read ahead of it.',
];
if (process.env[CERTIFICATES] !== undefined)
  notes.push(
    `${CERTIFICATES} is set here, and makes every Node start later: it is left out, but for a row of its own`,
  );
for (const text of notes) console.log(text);
const [given] = options.args;
const shown: Shown[] = [];
if (given !== undefined) shown.push(compare(given, Number(rounds), basename(given)));
for (const [name, lengths] of Object.entries(given === undefined ? MIXES : {})) {
  if (mix !== undefined && mix !== name) continue;
  const path = join(tmpdir(), `tsbpf-bench-${process.pid}.pcap`);
  try {
    makeCapture(path, Number(size) * 1e9, lengths);
    const kinds = [...new Set(lengths)].join(', ');
    shown.push(
      compare(path, Number(rounds), `Frames of ${kinds} bytes${name === kinds ? '' : ` (${name})`}`),
    );
  } finally {
    rmSync(path, { force: true });
  }
}
if (write !== undefined) writeFileSync(write, page(notes, shown));
