/**
 * npm run bench:ring: events a second through a ring buffer of this machine's Linux (root), written by one process at a steady rate
 * and read by another through the async iterator: what arrived, what was lost because the ring was full, the processor time of the
 * reader, and that of a reader whose ring stays empty. Every event carries a number, so a loss that nobody counted would be seen.
 */
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import { Command } from 'commander';
import { createHostKernel, whyNoHostKernel } from '../src/host/index.ts';
import { BpfObject, RingBufferReader } from '../src/libbpf/index.ts';

const OBJECT = new URL('objects/ring.bpf.o', import.meta.url);
/** The program's bound. */
const EVENTS_A_RUN = 1000;
/** What a slow moment may leave to catch up with at once, milliseconds: more would be a burst, not a rate. */
const CATCH_UP_MS = 5;

interface Rate {
  readonly offered: number;
  readonly written: number;
  readonly lost: number;
  readonly delivered: number;
  readonly outOfOrder: number;
  /** Share of one processor that the reader took, per cent. */
  readonly readerCpu: number;
  readonly readerNsAnEvent: number;
}

/** The child: runs the program of that id at `rate` for `seconds`. */
async function produce(programId: number, rate: number, seconds: number): Promise<void> {
  const kernel = await createHostKernel();
  const progFd = kernel.objGetFdById({ kind: 'prog', id: programId });
  const ctxIn = new Uint8Array(8);
  const context = new DataView(ctxIn.buffer);
  const start = performance.now();
  let sent = 0;
  for (;;) {
    const elapsed = performance.now() - start;
    if (elapsed >= seconds * 1000) break;
    const due = Math.floor((elapsed * rate) / 1000) - sent;
    const most = Math.ceil((CATCH_UP_MS * rate) / 1000);
    // What it could not keep up with is not made up for: the rate that was reached is printed.
    if (due > most) sent += due - most;
    const events = Math.min(due, EVENTS_A_RUN, most);
    if (events < Math.min(100, rate / 1000)) continue;
    context.setUint32(0, events, true);
    kernel.progTestRun({ progFd, ctxIn });
    sent += events;
  }
  kernel.shutdown();
}

async function measureRate(offered: number, seconds: number): Promise<Rate> {
  const kernel = await createHostKernel();
  const object = BpfObject.open(readFileSync(OBJECT)).load(kernel);
  const reader = new RingBufferReader(kernel, object.findMap('events').fd);
  const { id } = kernel.objGetInfoByFd({ bpfFd: object.findProgram('produce').fd });
  const child = fork(
    fileURLToPath(import.meta.url),
    ['--produce', String(id), '--rate', String(offered), '--seconds', String(seconds)],
    {
      execArgv: process.execArgv,
    },
  );
  let delivered = 0;
  let outOfOrder = 0;
  const done = new AbortController();
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`the producer ended with code ${code}`)),
    );
  }).finally(() => setTimeout(() => done.abort(), 200));
  const before = process.cpuUsage();
  for await (const record of reader.records({ signal: done.signal })) {
    const sequence = readU32(record, 0) + readU32(record, 4) * 2 ** 32;
    if (sequence !== delivered) outOfOrder++;
    delivered++;
  }
  const cpu = process.cpuUsage(before);
  await ended;
  const written = Number(object.globals.written);
  const lost = Number(object.globals.lost);
  reader.close();
  object.close();
  kernel.shutdown();
  const busy = cpu.user + cpu.system;
  return {
    offered,
    written,
    lost,
    delivered,
    outOfOrder,
    readerCpu: busy / (seconds * 1e4),
    readerNsAnEvent: (busy * 1000) / Math.max(1, delivered),
  };
}

function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

const command = new Command('bench:ring')
  .description("events a second through a ring buffer of this machine's Linux (root)")
  .option('--rates <list>', 'events a second', '0,100000,500000,1000000,2000000')
  .option('--seconds <n>', 'length of each', '5')
  .option('--json', 'one record a rate')
  .option('--produce <id>', 'the writing process (internal)')
  .option('--rate <n>', 'its rate (internal)')
  .parse();
const options = command.opts<{
  rates: string;
  seconds: string;
  json?: true;
  produce?: string;
  rate?: string;
}>();

const why = await whyNoHostKernel();
if (why !== null) {
  process.stderr.write(`bench:ring needs this machine's Linux: ${why}\n`);
  process.exit(1);
}
const seconds = Number(options.seconds);
if (options.produce !== undefined) await produce(Number(options.produce), Number(options.rate), seconds);
else {
  const table = new Table({
    head: [
      'offered/s',
      'written/s',
      'delivered/s',
      'lost',
      'out of order',
      'reader CPU %',
      'reader ns/event',
    ],
    style: { head: [], border: [] },
  });
  for (const rate of options.rates.split(',').map(Number)) {
    if (!options.json) process.stderr.write(`${rate} events a second for ${seconds} s\r`);
    const result = await measureRate(rate, seconds);
    if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
    table.push([
      result.offered,
      Math.round((result.written + result.lost) / seconds),
      Math.round(result.delivered / seconds),
      result.lost,
      result.outOfOrder,
      result.readerCpu.toFixed(1),
      Math.round(result.readerNsAnEvent),
    ]);
  }
  if (!options.json) process.stdout.write(`${table.toString()}\n`);
}
