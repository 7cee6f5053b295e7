/**
 * The command line: arguments to a command, its exit code back. 0: done; 1: a program was rejected, or something failed;
 * 2: the command line is wrong. Nothing here ends the process or knows which kernel it is given.
 */
import { Command, CommanderError } from 'commander';
import { commandsFor } from './commands.ts';
import type { CliEnv } from './environment.ts';
import { EXIT, reportError } from './errors.ts';
import { withExamples } from './examples.ts';
import { Output } from './output.ts';

/** `argv` without the interpreter and the script. */
export async function runCli(argv: readonly string[], env: CliEnv): Promise<number> {
  const program = new Command('tsbpf');
  let exit: number = EXIT.ok;
  const output = () => new Output(env, { color: program.opts<{ color?: boolean }>().color !== false });
  program
    .description(
      'The eBPF system in TypeScript: verify, run, disassemble and inspect eBPF programs without root and without Linux, or on the Linux of this machine (--kernel host).',
    )
    .version(env.version, '-V, --version')
    .option('--no-color', 'no colours (also: NO_COLOR)')
    .option('--debug', 'where an error happened')
    .exitOverride()
    .showHelpAfterError('(--help shows what there is)')
    .configureOutput({
      writeOut: (text) => env.stdout.write(text),
      writeErr: (text) => env.stderr.write(text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  withExamples(program, [
    ['tsbpf run prog.bpf.o --pcap in.pcap', 'XDP programs and socket filters on packets'],
    ['tsbpf run prog.bpf.o --replay strace.log', 'tracing programs on a recording'],
    ['tsbpf verify prog.bpf.o', 'would the kernel take it, and why not'],
  ]);
  for (const command of await commandsFor(argv)) {
    command.declare(program, (action) => async (...args) => {
      exit = await action({ env, out: output() }, ...args);
    });
  }
  if (argv.length === 0) {
    env.stderr.write(program.helpInformation());
    return EXIT.usage;
  }
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exit;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return reportError(error, output(), { debug: program.opts<{ debug?: boolean }>().debug === true });
  }
}
