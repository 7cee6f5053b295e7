/** `tsbpf gen`: what bpftool gen does: several objects linked into one. */
import type { Command } from 'commander';
import { linkObjects, parseObject } from '../../object/index.ts';
import { type Action, type CommandRow, type Runner, withExamples } from '../command.ts';
import { EXIT } from '../errors.ts';
import { inFile, readFile, writeFile } from '../files.ts';
import { toJson } from '../json.ts';
import { plural } from '../output.ts';

interface ObjectOptions {
  readonly json?: boolean;
}

const object: Action<[string, string[], ObjectOptions]> = ({ out }, output, inputs, options) => {
  const objects = inputs.map((file) => {
    const bytes = readFile(file);
    return inFile(file, () => {
      parseObject(bytes, { name: file });
      return bytes;
    });
  });
  const linked = linkObjects(objects, { names: inputs });
  // What cannot be loaded again is no result.
  const { programs, maps } = parseObject(linked, { name: output });
  writeFile(output, linked);
  if (options.json) {
    out.line(
      toJson({
        file: output,
        bytes: linked.length,
        programs: programs.map(({ name, section }) => ({ name, section })),
        maps: maps.map(({ name }) => name),
      }),
    );
  } else {
    out.line(`${output}: ${plural(programs.length, 'program')}, ${plural(maps.length, 'map')}`);
  }
  return EXIT.ok;
};

export const GEN: CommandRow = {
  name: 'gen',
  declare(parent: Command, run: Runner): void {
    const gen = parent
      .command('gen')
      .summary('link objects into one')
      .description('Makes one object of several, as bpftool gen does.');
    gen
      .command('object')
      .summary('static linking')
      .description(
        'Joins objects: a global function, variable or map that one declares extern is that of another; a weak definition gives way to one that is not.',
      )
      .argument('<output>', 'object file to write')
      .argument('<input...>', 'object files, as clang -target bpf makes them')
      .option('--json', 'size, programs and maps of the result')
      .action(run(object));
    withExamples(gen, [
      ['tsbpf gen object all.bpf.o a.bpf.o b.bpf.o', 'one object with the programs of both'],
      ['tsbpf verify all.bpf.o', 'like any other'],
    ]);
  },
};
