/** sigsnoop: signals, who sends them and to whom; with --kill, what processes ask kill(2) for (BCC's killsnoop). */
import { InvalidArgumentError } from 'commander';
import {
  type Column,
  header,
  main,
  printable,
  row,
  SIGNALS,
  signalName,
  type Tool,
  whole,
} from './common/index.ts';

interface Options {
  readonly kill?: true;
  readonly failed?: true;
  readonly time?: true;
  readonly names?: true;
  readonly pid?: number;
  readonly signal?: number;
  readonly comm?: string;
}

interface SignalEvent {
  readonly time: number;
  readonly pid: number;
  readonly tid: number;
  readonly uid: number;
  readonly target: number;
  readonly signal: number;
  readonly result: number;
  readonly comm: string;
  readonly target_comm: string;
}

/** enum of include/trace/events/signal.h: why a signal was generated, or not. */
const RESULTS = ['delivered', 'ignored', 'already pending', 'overflow', 'info lost'];

function signalNumber(text: string): number {
  const number = /^\d{1,2}$/.test(text)
    ? Number(text)
    : SIGNALS.indexOf(text.toUpperCase().replace(/^SIG/, ''));
  if (number <= 0 || number > 64) throw new InvalidArgumentError('a signal is needed: TERM, SIGTERM or 15.');
  return number;
}

export const sigsnoop: Tool<Options> = {
  name: 'sigsnoop',
  summary: 'Traces signals: who sends them, and to whom.',
  examples: [
    ['sigsnoop', 'all signals'],
    ['sigsnoop -n -T', 'with their names, and the time'],
    ['sigsnoop -k', 'what is asked for with kill(2), and how that ended'],
    ['sigsnoop -x', 'only those that failed'],
    ['sigsnoop -s KILL -p 181', 'only SIGKILL from one process'],
    ['sigsnoop --input signals.data', 'a recording'],
  ],
  record:
    'perf record -k CLOCK_MONOTONIC -a -o signals.data -e signal:signal_generate COMMAND   (for --kill: strace -f -ttt -o FILE COMMAND)',
  configure: (command) =>
    command
      .option('-k, --kill', 'system calls (kill, tkill, tgkill) in place of signals')
      .option('-x, --failed', 'only what failed, or was not delivered')
      .option('-T, --time', 'time of the day')
      .option('-n, --names', 'names of signals in place of numbers')
      .option('-p, --pid <pid>', 'only from this process', whole(1))
      .option('-s, --signal <signal>', 'only this signal', signalNumber)
      .option('-c, --comm <comm>', 'only from commands with this in their name'),
  async run(session, options) {
    const calls = ['kill', 'tkill', 'tgkill'];
    const wanted = options.kill
      ? calls.flatMap((name) => [`syscalls/sys_enter_${name}`, `syscalls/sys_exit_${name}`])
      : ['signal/signal_generate'];
    session.require(...wanted);
    const object = session.open('sigsnoop');
    object.globals.only_pid = options.pid ?? 0;
    object.globals.only_signal = options.signal ?? 0;
    object.globals.only_failed = options.failed === true;
    object.load(session.kernel);
    for (const program of object.programs)
      if ((program.name === 'generated') !== (options.kill === true)) program.attach();

    const result = (e: SignalEvent): string =>
      options.kill ? String(e.result) : (RESULTS[e.result] ?? String(e.result));
    const columns: Column<SignalEvent>[] = [
      ...(options.time
        ? [{ title: 'TIME', width: 8, value: (e: SignalEvent) => session.clock(e.time) }]
        : []),
      { title: 'PID', width: 7, value: (e) => e.pid },
      { title: 'COMM', width: 16, value: (e) => printable(e.comm) },
      { title: 'SIG', width: 9, value: (e) => (options.names ? signalName(e.signal) : e.signal) },
      { title: 'TPID', width: 7, value: (e) => e.target },
      ...(options.kill
        ? []
        : [{ title: 'TCOMM', width: 16, value: (e: SignalEvent) => printable(e.target_comm) }]),
      { title: 'RESULT', value: result },
    ];
    session.text(header(columns));
    session.ringEvents<SignalEvent>(object, 'events', 'signal_event', (event) => {
      if (options.comm !== undefined && !event.comm.includes(options.comm)) return;
      session.text(row(columns, event));
      const { time, pid, tid, uid, comm, signal, target, target_comm } = event;
      session.object({
        time: session.iso(time),
        pid,
        tid,
        uid,
        comm,
        signal,
        name: signalName(signal),
        target,
        ...(options.kill ? { errno: -event.result } : { targetComm: target_comm, result: result(event) }),
      });
    });
    await session.run();
  },
};

await main(import.meta.url, sigsnoop);
