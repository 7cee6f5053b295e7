/** `tsbpf debug`: runs an object once while everything is written down, then steps through it, forwards and backwards. */
import type { Command } from 'commander';
import type { Annotations } from '../../contracts/annotations.ts';
import { Debugger, Recorder } from '../../debug/index.ts';
import {
  type Action,
  addTargetOptions,
  type CommandContext,
  type CommandRow,
  cflagsOption,
  collect,
  parseData,
  positive,
  programTypeOption,
  type Runner,
  readTarget,
  type TargetOptions,
  withExamples,
} from '../command.ts';
import { complete } from '../debug/complete.ts';
import { runLine, runScript, splitCommands } from '../debug/session.ts';
import { type DebugSession, DebugView } from '../debug/view.ts';
import { EXIT, reportError, UsageError } from '../errors.ts';
import { printRejected } from '../rejection.ts';
import { outputLine } from '../session/output.ts';
import { runSession } from '../session/session.ts';
import { parseAssignment } from '../values.ts';

interface DebugOptions extends TargetOptions {
  readonly cflags?: string;
  readonly pcap?: string;
  readonly replay?: string;
  readonly data?: string;
  readonly set?: readonly string[];
  readonly progType?: string;
  readonly repeat: number;
  readonly steps: number;
  readonly memory: number;
  readonly command?: readonly string[];
  readonly script?: string;
  readonly json?: boolean;
}

const PROMPT = '(tsbpf) ';

function megabytes(text: string): number {
  const value = positive(text);
  if (value > 2047) throw new UsageError(`'${text}' megabytes are too many: at most 2047`);
  return value;
}

const action: Action<[string, string | undefined, DebugOptions]> = async (
  context,
  file,
  program,
  options,
) => {
  const { env, out } = context;
  if (options.data !== undefined && (options.pcap !== undefined || options.replay !== undefined))
    throw new UsageError('--data is for runs without --pcap and --replay');
  const recorder = new Recorder({
    maxSteps: options.steps,
    maxBytes: options.memory << 20,
    stopRuns: true,
  });
  const annotations = new Map<string, Annotations>();
  const { data, set, pcap, replay, cflags, progType } = options;
  const summary = await runSession(
    env,
    out,
    {
      file,
      observer: recorder,
      onAnnotations: (name, one) => annotations.set(name, one),
      target: readTarget(options),
      program: program === undefined ? [] : [program],
      maps: [],
      set: (set ?? []).map(parseAssignment),
      log: 0,
      cpus: 1,
      repeat: options.repeat,
      ...(pcap === undefined ? {} : { pcap }),
      ...(replay === undefined ? {} : { replay }),
      ...(cflags === undefined ? {} : { cflags }),
      ...(progType === undefined ? {} : { progType }),
      ...(data === undefined ? {} : { data: parseData(data) }),
    },
    {
      rejected: ({ object, reports }) => {
        for (const report of reports) if (report.error !== undefined) printRejected(out, object, report);
      },
      log: () => {},
      output: (output) => {
        if (!options.json) out.line(outputLine(out, output));
      },
      note: (text) => out.note(text),
    },
  );
  if (summary === undefined) return EXIT.failed;
  try {
    const debug = new Debugger(recorder.finish());
    const view = new DebugView(out, options.json === true, debug, summary.loaded.object.spec, annotations);
    const { truncated, length } = debug.recording;
    if (truncated !== undefined)
      out.note(`the recording ends before the runs do: ${truncated}; --steps N and --memory MB record more`);
    view.show(out.color.dim(`${length} steps were recorded; help shows the commands`), {
      recorded: length,
      truncated,
    });
    view.stop({ reason: 'start', location: debug.inspect.location() }, false);
    return await converse(context, { debug, view, displays: [], scripts: [] }, options);
  } finally {
    summary.loaded.close();
  }
};

/** Scripted commands end at the first that fails; at the prompt one goes on. */
async function converse(
  { env, out }: CommandContext,
  session: DebugSession,
  { command, script }: DebugOptions,
): Promise<number> {
  if (script !== undefined && runScript(session, script)) return EXIT.ok;
  if (command !== undefined) {
    for (const line of command.flatMap(splitCommands)) if (runLine(session, line)) break;
    return EXIT.ok;
  }
  if (script !== undefined && env.interactive !== true) return EXIT.ok;
  if (env.lines === undefined)
    throw new UsageError('there is no input to read commands from', 'give them with --command');
  let last = '';
  const person = env.interactive === true;
  for await (const line of env.lines(PROMPT, (line) => complete(session, line))) {
    // An empty line does the last command once more, as in gdb.
    const wanted = line.trim() === '' && person ? last : line;
    last = wanted;
    try {
      for (const one of splitCommands(wanted)) if (runLine(session, one)) return EXIT.ok;
    } catch (error) {
      if (!person) throw error;
      reportError(error, out, { debug: false });
    }
  }
  return EXIT.ok;
}

export const DEBUG: CommandRow = {
  name: 'debug',
  declare(parent: Command, run: Runner): void {
    const command = parent
      .command('debug')
      .summary('run an object, then step through what it did, forwards and backwards')
      .description(
        'Runs the programs of an object in the embedded kernel on packets, events or test data, and writes down every step. Then commands with the names of gdb go through the recording: step, next, continue, break, watch, print, backtrace, and reverse-step, reverse-next, reverse-continue. Commands come from --command, or from standard input.',
      )
      .argument('<file>', 'object file, as clang -target bpf makes it, or a C file to compile')
      .argument('[program]', 'only this program')
      .addOption(cflagsOption())
      .option('--data <hex|@file>', 'packet or context for a test run (default: zeros)')
      .option('--pcap <file>', 'packets for XDP programs and socket filters: pcap or pcapng')
      .option(
        '--replay <file>',
        'events for tracing programs: what strace -f -ttt -o FILE, perf record or perf script wrote',
      )
      .option('--set <map:key=value>', 'sets a map entry before the run; may be repeated', collect)
      .option('--repeat <n>', 'plays the input this many times', positive, 1)
      .option('--steps <n>', 'instructions that are recorded at most', positive, 1_000_000)
      .option('--memory <mb>', 'megabytes that the recording may take: 1 to 2047', megabytes, 256)
      .option(
        '--command <commands>',
        'commands, divided by ;, in place of a prompt; may be repeated',
        collect,
      )
      .option('-x, --script <file>', 'does the commands of a file first; a person is then asked for more')
      .addOption(programTypeOption())
      .option('--json', 'one JSON object a stop, and one for each result of another command')
      .action(run(action));
    addTargetOptions(command);
    withExamples(command, [
      ['tsbpf debug prog.bpf.o --pcap in.pcap', 'a prompt; help shows the commands'],
      [
        "tsbpf debug prog.bpf.o --command 'break parse; continue; print ctx->data_end - ctx->data'",
        'a script',
      ],
      ["tsbpf debug prog.bpf.o --command 'watch counters[1]; continue' --json", 'for other programs'],
    ]);
  },
};
