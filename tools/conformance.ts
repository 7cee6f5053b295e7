/**
 * Runners for tables of programs with what a real kernel made of them: `npm run -s conformance -- isa FILE.jsonl`.
 * Each table has its own file in tools/conformance. Exit status: 0 all agree, 1 some do not, 2 the table cannot be read.
 */
import { Command } from 'commander';
import { addIsaCommand } from './conformance/isa.ts';
import { addPluginCommand } from './conformance/plugin.ts';
import { addRunsCommand } from './conformance/runs.ts';
import { addVerifierCommand } from './conformance/verifier.ts';

const program = new Command('conformance').description('compares this kernel with tables recorded on Linux');
addIsaCommand(program);
addPluginCommand(program);
addRunsCommand(program);
addVerifierCommand(program);
await program.parseAsync();
