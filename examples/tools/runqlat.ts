/** runqlat: how long threads that could run wait for a processor, as a histogram. */
import { histogramRows, main, printable, type Tool, whole, withInterval } from './common/index.ts';
import { log2Histogram } from './tsbpf.ts';

interface Options {
  readonly interval?: number;
  readonly count?: number;
  readonly timestamp?: true;
  readonly milliseconds?: true;
  readonly threads?: true;
  readonly tid?: number;
}

interface Histogram {
  readonly slots: readonly number[];
  readonly comm: string;
}

export const runqlat: Tool<Options> = {
  name: 'runqlat',
  summary: 'Shows the latency of the run queue: how long threads that could run wait for a processor.',
  examples: [
    ['runqlat', 'until Ctrl-C'],
    ['runqlat 1 10', 'each second, ten times'],
    ['runqlat -mT 1', 'in milliseconds, with the time'],
    ['runqlat -P', 'each thread for itself'],
    ['runqlat -t 185', 'one thread'],
    ['runqlat --input sched.data', 'a recording'],
  ],
  record:
    'perf record -k CLOCK_MONOTONIC -a -o sched.data -e sched:sched_switch -e sched:sched_wakeup -e sched:sched_wakeup_new COMMAND',
  configure: (command) =>
    withInterval(command)
      .option('-T, --timestamp', 'the time before each output')
      .option('-m, --milliseconds', 'milliseconds in place of microseconds')
      .option('-P, --threads', 'a histogram a thread')
      .option('-t, --tid <tid>', 'only this thread', whole(1)),
  async run(session, options) {
    session.require('sched/sched_switch', 'sched/sched_wakeup', 'sched/sched_wakeup_new');
    const object = session.open('runqlat');
    object.globals.only_tid = options.tid ?? 0;
    object.globals.by = options.threads ? 1 : 0;
    object.globals.unit = options.milliseconds ? 1_000_000 : 1000;
    object.load(session.kernel).attach();
    const unit = options.milliseconds ? 'msecs' : 'usecs';
    session.text(
      `Tracing run queue latency${session.embedded ? ' of a recording' : '... Hit Ctrl-C to end.'}`,
    );
    await session.run({
      interval: options.interval,
      count: options.count,
      onInterval: () => {
        const now = session.now();
        const found = [...object.findMap('histograms')] as unknown as [number, Histogram][];
        session.text(options.timestamp ? `\n${session.clock(now)}` : '');
        for (const [tid, { slots, comm }] of found.sort((a, b) => a[0] - b[0])) {
          if (options.threads) session.text(`\ntid = ${tid} ${printable(comm)}`);
          session.text(log2Histogram(slots, { valueType: unit }).trimEnd());
          const of = options.threads ? { tid, comm } : {};
          session.object({ time: session.iso(now), ...of, unit, histogram: histogramRows(slots) });
        }
        object.findMap('histograms').clear();
      },
    });
    session.addLost(Number(object.globals.lost));
  },
};

await main(import.meta.url, runqlat);
