/** fsslower: reads, writes, opens and syncs of files that took longer than some time. */
import { InvalidArgumentError, Option } from 'commander';
import {
  type Column,
  FILE_OPERATIONS,
  FS_RECORD,
  fsLatency,
  header,
  main,
  PROBE_CHOICES,
  type ProbeChoice,
  printable,
  row,
  type Tool,
  whole,
} from './common/index.ts';

interface Options {
  readonly milliseconds: number;
  readonly pid?: number;
  readonly fs?: string;
  readonly name?: string;
  readonly probe: ProbeChoice;
}

interface FileEvent {
  readonly time: number;
  readonly latency: number;
  readonly result: number;
  readonly pid: number;
  readonly tid: number;
  readonly op: number;
  readonly comm: string;
  readonly fs: string;
  readonly name: string;
}

const LETTERS = ['R', 'W', 'O', 'S'];

function milliseconds(text: string): number {
  const value = Number(text);
  if (!/^\d{0,9}(?:\.\d{1,6})?$/.test(text) || text === '')
    throw new InvalidArgumentError('a number of milliseconds is needed.');
  return value;
}

export const fsslower: Tool<Options> = {
  name: 'fsslower',
  summary: 'Traces reads, writes, opens and syncs of files that are slow.',
  examples: [
    ['fsslower', 'slower than 10 ms'],
    ['fsslower 1', 'slower than 1 ms'],
    ['fsslower 0 -p 181', 'all of one process'],
    ['fsslower 1 --fs ext4', 'only on ext4'],
    ['fsslower 0 --input commands.strace', 'a recording'],
  ],
  record: FS_RECORD,
  configure: (command) =>
    command
      .argument('[milliseconds]', 'operations that take at least so long; 0: all', milliseconds, 10)
      .option('-p, --pid <pid>', 'only this process', whole(1))
      .option('--fs <type>', 'only on file systems of this type')
      .option('-n, --name <text>', 'only files with this in their name')
      .addOption(
        new Option('--probe <where>', "the kernel's functions, or system calls")
          .choices(PROBE_CHOICES)
          .default('auto'),
      ),
  async run(session, options) {
    const slower = Math.round(options.milliseconds * 1e6);
    const b = fsLatency(session, options.probe, { SLOWER: slower, ONLY_PID: options.pid });
    const bytes = (e: FileEvent): number => (FILE_OPERATIONS[e.op] === 'open' ? 0 : Math.max(0, e.result));
    const columns: Column<FileEvent>[] = [
      { title: 'TIME', width: 8, value: (e) => session.clock(e.time) },
      { title: 'COMM', width: 16, value: (e) => printable(e.comm) },
      { title: 'PID', width: 7, value: (e) => e.pid },
      { title: 'T', width: 1, value: (e) => LETTERS[e.op] ?? '?' },
      { title: 'BYTES', width: -8, value: bytes },
      { title: 'LAT(ms)', width: -8, value: (e) => (e.latency / 1e6).toFixed(2) },
      { title: 'FS', width: 8, value: (e) => e.fs || '-' },
      { title: 'FILENAME', value: (e) => printable(e.name) },
    ];
    session.text(
      slower === 0
        ? 'Tracing file operations'
        : `Tracing file operations slower than ${options.milliseconds} ms`,
    );
    session.text(header(columns));
    session.perfEvents<FileEvent>(b, 'events', (event) => {
      if (options.fs !== undefined && event.fs !== options.fs) return;
      if (options.name !== undefined && !event.name.includes(options.name)) return;
      session.text(row(columns, event));
      const { time, pid, tid, comm, op, latency, fs, name } = event;
      session.object({
        time: session.iso(time),
        pid,
        tid,
        comm,
        operation: FILE_OPERATIONS[op],
        bytes: bytes(event),
        errno: event.result < 0 ? -event.result : 0,
        ms: latency / 1e6,
        fs: fs || null,
        name,
      });
    });
    await session.run();
  },
};

await main(import.meta.url, fsslower);
