/**
 * `tsx test/guest/verdicts/generate.ts DIR [--kinds helpers,ctx,isa,fuzz,exploits] [--count N]`: writes tables for verdicts/run.ts, each into
 * a directory of its name.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { contexts, exploits, fuzz, helpers, instructions, type Table } from './tables.ts';

const command = new Command('generate')
  .argument('<dir>')
  .option('--kinds <names>', 'tables to write', 'helpers,ctx,isa,fuzz,exploits')
  .option('--count <n>', 'random programs', '4000')
  .option('--seed <n>', 'of the first random program', '1')
  .parse();
const options = command.opts<{ kinds: string; count: string; seed: string }>();
const directory = command.args[0]!;
const make: Record<string, () => Table> = {
  helpers: () => ({ cases: helpers(), kinds: {} }),
  ctx: () => ({ cases: contexts(), kinds: {} }),
  isa: () => ({ cases: instructions(), kinds: {} }),
  fuzz: () => fuzz(Number(options.count), Number(options.seed)),
  exploits,
};
for (const name of options.kinds.split(',')) {
  const { cases, kinds } = make[name]!();
  mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(
    join(directory, name, 'cases.jsonl'),
    cases.map((test) => `${JSON.stringify(test)}\n`).join(''),
  );
  writeFileSync(join(directory, name, 'map-kinds.json'), JSON.stringify(kinds));
  console.log(`${name}: ${cases.length} programs`);
}
