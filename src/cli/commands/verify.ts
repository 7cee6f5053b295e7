/** `tsbpf verify`: the verdict on every program of an object, with reason and place of each refusal. */
import type { Command } from 'commander';
import {
  type Action,
  addTargetOptions,
  type CommandRow,
  choiceOf,
  collect,
  type KernelOptions,
  kernelOption,
  logOption,
  programTypeOption,
  type Runner,
  readTarget,
  type TargetOptions,
  withExamples,
} from '../command.ts';
import { EXIT } from '../errors.ts';
import { openObject } from '../files.ts';
import { toJson } from '../json.ts';
import { loadObject } from '../load.ts';
import { plural } from '../output.ts';
import { printAccepted, printRejected, verdictRecord } from '../rejection.ts';
import { logAtLevel } from '../verifier-stats.ts';

interface VerifyOptions extends TargetOptions, KernelOptions {
  readonly log: number;
  readonly json?: boolean;
  readonly program?: readonly string[];
  readonly progType?: string;
}

const action: Action<[string, VerifyOptions]> = async ({ env, out }, file, options) => {
  const object = openObject(file);
  const names = new Set((options.program ?? []).map((name) => object.findProgram(name).name));
  // Programs that are only loaded when asked for are verified too.
  for (const program of object.programs) program.autoload = names.size === 0 || names.has(program.name);
  const loaded = await loadObject(env, object, {
    ...choiceOf(options, out),
    strict: false,
    cpus: CPUS,
    logLevel: options.log,
    ...(options.progType === undefined ? {} : { type: options.progType }),
    ...readTarget(options),
  });
  try {
    const { reports } = loaded;
    const rejected = reports.filter(({ error }) => error !== undefined);
    if (options.json) {
      const records = reports.map((report) => toJson(verdictRecord(report, options.log)));
      out.line(records.length === 0 ? '[]' : `[\n${records.join(',\n')}\n]`);
    } else {
      for (const report of reports) {
        if (options.log > 0) out.write(logAtLevel(report.program.log, options.log));
        if (report.error === undefined) printAccepted(out, report);
        else printRejected(out, object, report);
      }
      if (reports.length === 0) out.note(`${file} has no programs`);
      else if (reports.length > 1)
        out.line(out.color.dim(`${plural(reports.length, 'program')}, ${rejected.length} rejected`));
      for (const warning of object.spec.warnings) out.note(warning);
    }
    return rejected.length > 0 ? EXIT.failed : EXIT.ok;
  } finally {
    loaded.close();
  }
};

/** With one CPU its number would be known, and programs pass that other machines refuse. */
const CPUS = 2;

export const VERIFY: CommandRow = {
  name: 'verify',
  declare(parent: Command, run: Runner): void {
    const command = parent
      .command('verify')
      .summary('say whether the kernel would accept the programs of an object, and why not')
      .description(
        'Verifies every program as Linux 6.18 would, or by the kernel of this machine. A refusal is shown with its C line, the reason, the registers that matter and what to do. Exit code 1 when a program is rejected.',
      )
      .argument('<file>', 'object file')
      .option('--program <name>', 'only this program; may be repeated', collect)
      .addOption(programTypeOption())
      .addOption(kernelOption())
      .addOption(logOption())
      .option(
        '--json',
        'one record a program: name, section, type, verdict, errno, message, insnsProcessed, insn, source, registers',
      )
      .action(run(action));
    addTargetOptions(command);
    withExamples(command, [
      ['tsbpf verify prog.bpf.o', 'verdicts and reasons'],
      ['tsbpf verify prog.bpf.o --log 2', 'with the state before every instruction, as the kernel logs it'],
      ['tsbpf verify prog.bpf.o --json', 'for scripts and CI'],
      ['tsbpf verify prog.bpf.o --kernel host', 'by the kernel of this machine'],
    ]);
  },
};
