/**
 * `tsx test/guest/verdicts/generate.ts DIR [--kinds helpers,ctx,isa,fuzz,bounds,callbacks,deductions,exploits,attach] [--count N]`: writes tables for verdicts/run.ts, each into
 * a directory of its name.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { kernelBtf } from '../../../tools/conformance/verifier-case.ts';
import { bounds, callbacks, deductions } from './bounds.ts';
import { attachments, contexts, exploits, fuzz, helpers, instructions, type Table } from './tables.ts';

const command = new Command('generate')
  .argument('<dir>')
  .option(
    '--kinds <names>',
    'tables to write',
    'helpers,ctx,isa,fuzz,bounds,callbacks,deductions,exploits,attach',
  )
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
  bounds: () => bounds(Number(options.count), Number(options.seed)),
  callbacks: () => callbacks(Number(options.count), Number(options.seed)),
  deductions,
  exploits,
  // The hooks of this machine's kernel.
  attach: () => ({ cases: attachments(lsmHooks()), kinds: {} }),
};

function lsmHooks(): string[] {
  const btf = kernelBtf(undefined);
  if (btf === undefined) return [];
  const names: string[] = [];
  for (let id = 1; id < btf.typeCount; id++) {
    const type = btf.type(id);
    if (type.kind === 'func' && type.name.startsWith('bpf_lsm_')) names.push(type.name);
  }
  return names;
}

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
