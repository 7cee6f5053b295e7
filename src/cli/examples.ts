/** What help shows below the options. */
import type { Command } from 'commander';

type Example = readonly [line: string, what: string];

/** The examples below a command's help; below its subcommands' those that are theirs, so declare these before. */
export function withExamples(command: Command, examples: readonly Example[]): Command {
  for (const sub of command.commands) {
    const starts = [sub.name(), ...sub.aliases()].map((name) => `tsbpf ${command.name()} ${name} `);
    const theirs = examples.filter(([line]) => starts.some((start) => line.startsWith(start)));
    if (theirs.length > 0) withExamples(sub, theirs);
  }
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, what]) => `  $ ${line.padEnd(width)}  # ${what}`);
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}
