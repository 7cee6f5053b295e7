/** fsdist: how long operations on files take, as a histogram of each. */
import { Option } from 'commander';
import {
  FILE_OPERATIONS,
  FS_RECORD,
  fsLatency,
  histogramRows,
  main,
  PROBE_CHOICES,
  type ProbeChoice,
  type Tool,
  whole,
  withInterval,
} from './common/index.ts';
import { log2Histogram } from './tsbpf.ts';

interface Options {
  readonly interval?: number;
  readonly count?: number;
  readonly timestamp?: true;
  readonly milliseconds?: true;
  readonly pid?: number;
  readonly probe: ProbeChoice;
}

export const fsdist: Tool<Options> = {
  name: 'fsdist',
  summary: 'Shows how long reads, writes, opens and syncs of files take, as histograms.',
  examples: [
    ['fsdist', 'until Ctrl-C'],
    ['fsdist 1 10', 'each second, ten times'],
    ['fsdist -m -p 181', 'one process, in milliseconds'],
    ['fsdist --input commands.strace', 'a recording'],
  ],
  record: FS_RECORD,
  configure: (command) =>
    withInterval(command)
      .option('-T, --timestamp', 'the time before each output')
      .option('-m, --milliseconds', 'milliseconds in place of microseconds')
      .option('-p, --pid <pid>', 'only this process', whole(1))
      .addOption(
        new Option('--probe <where>', "the kernel's functions, or system calls")
          .choices(PROBE_CHOICES)
          .default('auto'),
      ),
  async run(session, options) {
    const unit = options.milliseconds ? 'msecs' : 'usecs';
    const b = fsLatency(session, options.probe, {
      UNIT: options.milliseconds ? 1_000_000 : 1000,
      ONLY_PID: options.pid,
    });
    session.text(`Tracing file operations${session.embedded ? ' of a recording' : '... Hit Ctrl-C to end.'}`);
    await session.run({
      interval: options.interval,
      count: options.count,
      onInterval: () => {
        const now = session.now();
        const entries = b.get('latency').items() as unknown as [{ op: number; slot: number }, number][];
        session.text(options.timestamp ? `\n${session.clock(now)}` : '');
        FILE_OPERATIONS.forEach((operation, op) => {
          const slots = new Array<number>(65).fill(0);
          for (const [key, value] of entries) if (key.op === op) slots[key.slot] = value;
          if (slots.every((value) => value === 0)) return;
          session.text(`\noperation = '${operation}'`);
          session.text(log2Histogram(slots, { valueType: unit }).trimEnd());
          session.object({ time: session.iso(now), operation, unit, histogram: histogramRows(slots) });
        });
        b.get('latency').clear();
      },
    });
  },
};

await main(import.meta.url, fsdist);
