/** `tsbpf asm`: text to instructions, as raw bytes or as an object file that loaders take. */
import type { Command } from 'commander';
import {
  type AssembledProgram,
  assembleProgram,
  encodeProgram,
  formatInsn,
  INSN_SIZE,
} from '../../asm/index.ts';
import { ElfWriter, SHF, SHT, STB, STT } from '../../elf/index.ts';
import { fromUtf8, utf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { type Action, type CommandRow, type Runner, withExamples } from '../command.ts';
import { EXIT } from '../errors.ts';
import { inFile, readFile, writeFile } from '../files.ts';
import { hexBytes } from '../hexdump.ts';
import { toJson } from '../json.ts';
import { plural } from '../output.ts';

interface AsmOptions {
  readonly output?: string;
  readonly syntax: 'kernel' | 'llvm';
  readonly section: string;
  readonly name: string;
  readonly license: string;
  readonly json?: boolean;
}

const action: Action<[string, AsmOptions]> = ({ out }, file, options) => {
  const text = fromUtf8(readFile(file));
  const program = inFile(file, () => assembleProgram(text, { syntax: options.syntax }));
  if (options.output !== undefined) {
    const bytes = options.output.endsWith('.o') ? objectFile(program, options) : rawBytes(program);
    writeFile(options.output, bytes);
  }
  if (options.json) {
    const labels = Object.fromEntries(program.labels);
    out.line(toJson({ insns: program.insns, labels, relocations: program.relocations }));
  } else if (options.output === undefined) {
    out.write(listing(program));
  } else {
    out.line(`${options.output}: ${plural(program.insns.length, 'instruction')}`);
  }
  return EXIT.ok;
};

function listing({ insns }: AssembledProgram): string {
  let text = '';
  for (let index = 0; index < insns.length; index++) {
    const bytes = hexBytes(encodeProgram([insns[index]]));
    const wide = insns[index].code === 0 && index > 0;
    text += `${String(index).padStart(5)}: ${bytes}  ${wide ? '' : formatInsn(insns, index)}`.trimEnd();
    text += '\n';
  }
  return text;
}

function rawBytes(program: AssembledProgram): Uint8Array {
  refuseMaps(program);
  return encodeProgram(program.insns);
}

function refuseMaps({ relocations }: AssembledProgram): void {
  const [first] = relocations;
  if (first === undefined) return;
  throw new BpfError(
    'EINVAL',
    `instruction ${first.insn} refers to the map '${first.name}', which nothing defines`,
    {
      hint: 'assembler text has no map definitions: refer to a descriptor, map[fd:3], or write the program in C',
    },
  );
}

/** One program in one section, with its licence: what SEC("…") and LICENSE are in C. */
function objectFile(program: AssembledProgram, options: AsmOptions): Uint8Array {
  refuseMaps(program);
  const elf = new ElfWriter();
  const data = encodeProgram(program.insns);
  const code = elf.addSection({
    name: options.section,
    type: SHT.PROGBITS,
    flags: SHF.ALLOC | SHF.EXECINSTR,
    align: INSN_SIZE,
    data,
  });
  const license = elf.addSection({
    name: 'license',
    type: SHT.PROGBITS,
    flags: SHF.ALLOC | SHF.WRITE,
    data: utf8(`${options.license}\0`),
  });
  elf.addSymbol({
    name: options.name,
    section: code,
    value: 0,
    size: data.length,
    bind: STB.GLOBAL,
    type: STT.FUNC,
  });
  elf.addSymbol({
    name: 'LICENSE',
    section: license,
    value: 0,
    size: options.license.length + 1,
    bind: STB.GLOBAL,
    type: STT.OBJECT,
  });
  return elf.bytes();
}

export const ASM: CommandRow = {
  name: 'asm',
  declare(parent: Command, run: Runner): void {
    const command = parent
      .command('asm')
      .summary('assemble instructions from text')
      .description(
        "Assembles the kernel's instruction syntax (r0 = 1; if r1 > 5 goto out; call bpf_ktime_get_ns; exit). Without -o: a listing.",
      )
      .argument('<file>', 'assembler text')
      .option('-o, --output <file>', 'writes raw instructions, or an object where the name ends in .o')
      .option('--syntax <syntax>', 'whose reading wins where the two differ: kernel or llvm', 'kernel')
      .option('--section <name>', 'section of the program in an object', 'socket')
      .option('--name <name>', 'name of the program in an object', 'prog')
      .option('--license <text>', 'licence of an object', 'GPL')
      .option('--json', 'instructions, labels and relocations')
      .action(run(action));
    withExamples(command, [
      ['tsbpf asm filter.s', 'bytes and instructions'],
      ['tsbpf asm filter.s -o filter.o --section xdp', 'an object that verify and run take'],
    ]);
  },
};
