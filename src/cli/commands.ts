/** The commands of `tsbpf`, in the order of its help. A new command is its file and its line here. */
import type { CommandRow } from './command.ts';
import { ASM } from './commands/asm.ts';
import { CC } from './commands/cc.ts';
import { DEBUG } from './commands/debug.ts';
import { DIFF } from './commands/diff.ts';
import { DISASM } from './commands/disasm.ts';
import { GEN } from './commands/gen.ts';
import { MAP } from './commands/map.ts';
import { PROG } from './commands/prog.ts';
import { RUN } from './commands/run.ts';
import { VERIFY } from './commands/verify.ts';

export const COMMANDS: readonly CommandRow[] = [RUN, DEBUG, VERIFY, CC, DIFF, DISASM, ASM, GEN, PROG, MAP];
