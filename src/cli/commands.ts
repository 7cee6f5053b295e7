/**
 * The commands of `tsbpf`, in the order of its help. A new command is its file and its line here. A command's modules are loaded when
 * it is asked for: reading all of them takes longer than most commands.
 */
import type { CommandRow } from './command.ts';

/** A command that is not loaded yet. */
export interface LazyCommand {
  readonly name: string;
  load(): Promise<CommandRow>;
}

export const COMMANDS: readonly LazyCommand[] = [
  { name: 'run', load: async () => (await import('./commands/run.ts')).RUN },
  { name: 'debug', load: async () => (await import('./commands/debug.ts')).DEBUG },
  { name: 'verify', load: async () => (await import('./commands/verify.ts')).VERIFY },
  { name: 'races', load: async () => (await import('./commands/races.ts')).RACES },
  { name: 'cc', load: async () => (await import('./commands/cc.ts')).CC },
  { name: 'diff', load: async () => (await import('./commands/diff.ts')).DIFF },
  { name: 'disasm', load: async () => (await import('./commands/disasm.ts')).DISASM },
  { name: 'asm', load: async () => (await import('./commands/asm.ts')).ASM },
  { name: 'gen', load: async () => (await import('./commands/gen.ts')).GEN },
  { name: 'prog', load: async () => (await import('./commands/prog.ts')).PROG },
  { name: 'map', load: async () => (await import('./commands/map.ts')).MAP },
];

/** The command that the arguments name; all of them for help, for what is misspelt, and for options before the command. */
export async function commandsFor(argv: readonly string[]): Promise<CommandRow[]> {
  const [first] = argv;
  if (first === '--version' || first === '-V') return [];
  const named = COMMANDS.filter(({ name }) => name === first);
  return Promise.all((named.length > 0 ? named : COMMANDS).map((command) => command.load()));
}
