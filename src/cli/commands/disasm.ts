/** `tsbpf disasm`: the programs of an object, or raw instructions, as text under their C lines. */
import type { Command } from 'commander';
import { type AsmSyntax, decodeProgram, encodeProgram } from '../../asm/index.ts';
import { isElf } from '../../elf/index.ts';
import { type Action, type CommandRow, collect, type Runner, withExamples } from '../command.ts';
import { type ListedInsn, listInsns, listProgram } from '../disassembly.ts';
import { EXIT, UsageError } from '../errors.ts';
import { inFile, openObject, readFile } from '../files.ts';
import { hexBytes } from '../hexdump.ts';
import { toJson } from '../json.ts';
import type { Output } from '../output.ts';

interface DisasmOptions {
  readonly syntax: string;
  readonly program?: readonly string[];
  readonly bytes?: boolean;
  readonly source: boolean;
  readonly json?: boolean;
}

interface Listing {
  /** Empty for raw instructions. */
  readonly name: string;
  readonly section: string;
  readonly insns: readonly ListedInsn[];
}

const SYNTAXES: readonly string[] = ['kernel', 'llvm'];

const action: Action<[string, DisasmOptions]> = ({ out }, file, options) => {
  if (!SYNTAXES.includes(options.syntax))
    throw new UsageError(`there is no syntax '${options.syntax}'`, 'kernel or llvm');
  const listings = read(file, options.syntax as AsmSyntax, options.program ?? []);
  if (options.json) {
    out.line(
      toJson(
        listings.map(({ name, section, insns }) => ({
          name,
          section,
          insns: insns.map(({ insns: raw, ...insn }) => ({ ...insn, bytes: encodeProgram(raw) })),
        })),
      ),
    );
  } else {
    listings.forEach((listing, i) => {
      if (i > 0) out.line();
      print(out, listing, options);
    });
    if (listings.length === 0) out.note(`${file} has no programs`);
  }
  return EXIT.ok;
};

function read(file: string, syntax: AsmSyntax, names: readonly string[]): Listing[] {
  const bytes = readFile(file);
  if (!isElf(bytes)) {
    if (names.length > 0)
      throw new UsageError('--program needs an object file; this file has raw instructions');
    return [
      {
        name: '',
        section: '',
        insns: listInsns(
          inFile(file, () => decodeProgram(bytes)),
          syntax,
        ),
      },
    ];
  }
  const object = openObject(file);
  const programs = names.length > 0 ? names.map((name) => object.findProgram(name)) : object.programs;
  return programs.map(({ name, spec }) => ({
    name,
    section: spec.section,
    insns: listProgram(object.spec, spec, syntax),
  }));
}

function print(out: Output, { name, section, insns }: Listing, options: DisasmOptions): void {
  const { bold, dim, cyan } = out.color;
  if (name !== '') out.line(`${bold(name)} ${dim(`(section ${section}, ${insns.length} instructions)`)}`);
  let last = '';
  for (const insn of insns) {
    if (insn.function !== undefined && (insn.index > 0 || insn.function !== name))
      out.line(`${bold(insn.function)}:`);
    const { source } = insn;
    const text = source?.text.trim() ?? '';
    if (options.source && source !== undefined && text !== '' && `${source.line} ${text}` !== last) {
      out.line(cyan(`; ${text} ${dim(`@ ${source.file.replace(/^.*\//, '')}:${source.line}`)}`));
      last = `${source.line} ${text}`;
    }
    const bytes = options.bytes ? `${dim(hexBytes(encodeProgram(insn.insns)).padEnd(48))} ` : '';
    out.line(`${String(insn.index).padStart(6)}: ${bytes}${insn.text}`);
  }
}

export const DISASM: CommandRow = {
  name: 'disasm',
  declare(parent: Command, run: Runner): void {
    const command = parent
      .command('disasm')
      .summary('show the instructions of an object or of a raw program')
      .description(
        'Shows instructions with the names of maps and functions, under the C lines that they come from.',
      )
      .argument('<file>', 'object file, or raw instructions')
      .option('--syntax <syntax>', 'kernel (as the verifier logs) or llvm (as llvm-objdump)', 'kernel')
      .option('--program <name>', 'only this program; may be repeated', collect)
      .option('--bytes', 'with the bytes of each instruction')
      .option('--no-source', 'without C lines')
      .option('--json', 'index, text, bytes, function and source of each instruction')
      .action(run(action));
    withExamples(command, [
      ['tsbpf disasm prog.bpf.o', 'all programs with their C lines'],
      ['tsbpf disasm prog.bpf.o --syntax llvm --bytes', "in llvm-objdump's syntax, with bytes"],
      ['tsbpf asm filter.s -o f.bin && tsbpf disasm f.bin', 'there and back'],
    ]);
  },
};
