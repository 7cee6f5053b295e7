/** syscount: how often system calls are made, by call or by process, and the time that they take. */
import { InvalidArgumentError } from 'commander';
import { type Column, header, main, printable, row, seconds, type Tool, whole } from './common/index.ts';
import { ERRNO, SYSCALLS } from './tsbpf.ts';

interface Options {
  readonly interval?: number;
  readonly top: number;
  readonly latency?: true;
  readonly milliseconds?: true;
  readonly process?: true;
  readonly failures?: true;
  readonly errno?: number;
  readonly pid?: number;
  readonly list?: true;
}

interface Total {
  readonly count: number;
  readonly time: number;
  readonly comm: string;
}

interface Line extends Total {
  readonly key: number;
}

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(SYSCALLS).map(([name, nr]) => [nr, name]));

function errno(text: string): number {
  const number = /^\d{1,4}$/.test(text) ? Number(text) : (ERRNO as Readonly<Record<string, number>>)[text];
  if (number === undefined || number === 0)
    throw new InvalidArgumentError('an errno is needed: ENOENT, or 2.');
  return number;
}

export const syscount: Tool<Options> = {
  name: 'syscount',
  summary: 'Counts system calls, and sums up the time that they take.',
  examples: [
    ['syscount', 'all, until Ctrl-C'],
    ['syscount -i 5', 'every five seconds'],
    ['syscount -L -p 181', 'one process, with the time in each call'],
    ['syscount -P', 'by process'],
    ['syscount -x', 'only calls that failed'],
    ['syscount -e ENOENT -T 5', 'only with this error, the five most frequent'],
    ['syscount --input commands.strace', 'a recording'],
  ],
  record: 'strace -f -ttt -o commands.strace COMMAND',
  configure: (command) =>
    command
      .option('-i, --interval <seconds>', 'output after each so many seconds', seconds)
      .option('-T, --top <count>', 'only the first so many', whole(1), 10)
      .option('-L, --latency', 'the time in the calls')
      .option('-m, --milliseconds', 'milliseconds in place of microseconds')
      .option('-P, --process', 'by process in place of by call')
      .option('-x, --failures', 'only calls that failed')
      .option('-e, --errno <errno>', 'only calls that failed with this', errno)
      .option('-p, --pid <pid>', 'only this process', whole(1))
      .option('-l, --list', 'list the system calls, and do nothing'),
  async run(session, options) {
    if (options.list) {
      for (const [nr, name] of NAMES) {
        session.text(`${String(nr).padStart(3)} ${name}`);
        session.object({ nr, name });
      }
      return;
    }
    session.require('raw_syscalls/sys_exit', ...(options.latency ? ['raw_syscalls/sys_enter'] : []));
    const object = session.open('syscount');
    object.globals.only_pid = options.pid ?? 0;
    object.globals.by_process = options.process === true;
    object.globals.only_failed = options.failures === true;
    object.globals.only_errno = options.errno ?? 0;
    object.globals.measured = options.latency === true;
    object.load(session.kernel);
    for (const program of object.programs) if (options.latency || program.name !== 'enter') program.attach();

    const unit = options.milliseconds ? 1e6 : 1e3;
    const nameOf = (line: Line): string => NAMES.get(line.key) ?? `[unknown: ${line.key}]`;
    const columns: Column<Line>[] = [
      ...(options.process
        ? [
            { title: 'PID', width: 7, value: (line: Line) => line.key },
            { title: 'COMM', width: 16, value: (line: Line) => printable(line.comm) },
          ]
        : [{ title: 'SYSCALL', width: 22, value: nameOf }]),
      { title: 'COUNT', width: -8, value: (line) => line.count },
      ...(options.latency
        ? [
            {
              title: options.milliseconds ? 'TIME (ms)' : 'TIME (us)',
              width: -16,
              value: (line: Line) => (line.time / unit).toFixed(3),
            },
          ]
        : []),
    ];
    const what = options.failures || options.errno ? 'failed system calls' : 'system calls';
    session.text(`Tracing ${what}${session.embedded ? ' of a recording' : ', printing at Ctrl-C'}...`);
    const order = (line: Line): number => (options.latency ? line.time : line.count);
    await session.run({
      interval: options.interval,
      onInterval: () => {
        const now = session.now();
        const totals = [...object.findMap('totals')] as unknown as [number, Total][];
        const lines = totals.map(([key, total]) => ({ key, ...total }));
        lines.sort((a, b) => order(b) - order(a) || a.key - b.key);
        session.text(`[${session.clock(now)}]`);
        session.text(header(columns));
        for (const line of lines.slice(0, options.top)) {
          session.text(row(columns, line));
          session.object({
            time: session.iso(now),
            ...(options.process
              ? { pid: line.key, comm: line.comm }
              : { syscall: nameOf(line), nr: line.key }),
            count: line.count,
            ...(options.latency ? { nanoseconds: line.time } : {}),
          });
        }
        session.text('');
        object.findMap('totals').clear();
      },
    });
    session.addLost(Number(object.globals.lost));
  },
};

await main(import.meta.url, syscount);
