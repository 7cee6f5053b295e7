/** `tsbpf cc`: C to a BPF object with clang's flags, with nothing else installed. */
import { mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Command } from 'commander';
import {
  builtinHeader,
  builtinHeaderNames,
  DiagnosticSink,
  formatDiagnostics,
  Preprocessor,
  printMacros,
  printPreprocessed,
  SourceManager,
} from '../../compiler/index.ts';
import { BpfObject } from '../../libbpf/index.ts';
import { utf8 } from '../../util/bytes.ts';
import { type Action, type CommandRow, type Runner, withExamples } from '../command.ts';
import {
  builtinHeaders,
  compileSource,
  filesOfMachine,
  includesOf,
  readSource,
} from '../compiler/compile.ts';
import { type CompilerFlags, parseFlags } from '../compiler/flags.ts';
import { runOtherCompiler } from '../compiler/other-compiler.ts';
import { listProgram } from '../disassembly.ts';
import { EXIT, UsageError } from '../errors.ts';
import { fileError, writeFile } from '../files.ts';
import type { Output } from '../output.ts';

const action: Action<[string[]]> = ({ out }, argv) => {
  const flags = parseFlags(argv);
  if (flags.writeHeaders !== undefined) {
    writeHeaders(flags.writeHeaders, out);
    if (flags.inputs.length === 0) return EXIT.ok;
  }
  if (flags.inputs.length === 0) throw new UsageError('there is no C file', 'tsbpf cc -O2 -g -c prog.bpf.c');
  if (flags.compiler !== undefined) return runOtherCompiler(flags.compiler, flags.passed);
  if (flags.output !== undefined && flags.inputs.length > 1)
    throw new UsageError('-o is for one C file', 'compile them one by one');
  if (flags.output === '-' && flags.mode === 'object')
    throw new UsageError('an object does not go to standard output', 'name a file: -o prog.bpf.o');
  let exit: number = EXIT.ok;
  for (const input of flags.inputs) exit = Math.max(exit, translate(input, flags, out));
  return exit;
};

function translate(input: string, flags: CompilerFlags, out: Output): number {
  if (flags.mode === 'preprocess' || flags.mode === 'macros') return preprocess(input, flags, out);
  const color = out.errorColor.isColorSupported;
  const { result, text } = compileSource(input, flags, color);
  out.errorWrite(text);
  if (result.object === null) return EXIT.failed;
  switch (flags.mode) {
    case 'check':
      break;
    case 'ir':
      give(flags.output, result.ir ?? '', out);
      break;
    case 'assembly':
      give(flags.output, assembly(result.object, input), out);
      break;
    default:
      writeFile(
        flags.output ?? `${basename(input === '-' ? 'a.c' : input).replace(/\.[^.]*$/, '')}.o`,
        result.object,
      );
  }
  return EXIT.ok;
}

/** Text goes to standard output unless a file is named. */
function give(path: string | undefined, text: string, out: Output): void {
  if (path === undefined || path === '-') out.write(text);
  else writeFile(path, utf8(text));
}

function preprocess(input: string, flags: CompilerFlags, out: Output): number {
  const sources = new SourceManager();
  const sink = new DiagnosticSink(sources, {
    errorLimit: flags.errorLimit,
    noWarnings: flags.noWarnings,
    warnings: flags.warnings,
  });
  const text = readSource(input);
  if (text === undefined)
    throw fileError(input, Object.assign(new Error('it cannot be read'), { code: 'ENOENT' }), 'read it');
  const tokens = new Preprocessor(sink, input === '-' ? '<stdin>' : input, text, {
    resolver: filesOfMachine,
    includes: includesOf(flags),
    defines: flags.defines,
    forced: flags.forced,
    target: { cpu: flags.cpu, optimize: flags.optimize },
    ...(flags.noBuiltinHeaders ? {} : { builtinHeader: builtinHeaders(flags.btf) }),
  });
  const printed = printPreprocessed(tokens, sources, !flags.noMarkers);
  give(flags.output, flags.mode === 'macros' ? printMacros(tokens.macros()) : printed, out);
  out.errorWrite(
    formatDiagnostics(sources, sink.diagnostics, { color: flags.color ?? out.errorColor.isColorSupported }),
  );
  return sink.hasErrors ? EXIT.failed : EXIT.ok;
}

/** The programs of the object as text, section by section, under their C lines. */
function assembly(bytes: Uint8Array, input: string): string {
  const object = BpfObject.open(bytes, { name: basename(input) });
  let text = '';
  for (const { name, spec } of object.programs) {
    text += `\t.section "${spec.section}"\n${name}:\n`;
    for (const insn of listProgram(object.spec, spec, 'llvm')) {
      if (insn.source !== undefined) text += `; ${insn.source.line}: ${insn.source.text.trim()}\n`;
      text += `\t${insn.text}\n`;
    }
  }
  return text;
}

function writeHeaders(directory: string, out: Output): void {
  const names = builtinHeaderNames();
  for (const name of names) {
    const path = join(directory, name);
    try {
      mkdirSync(dirname(path), { recursive: true });
    } catch (error) {
      throw fileError(path, error, 'write it');
    }
    writeFile(path, utf8(builtinHeader(name)!));
  }
  out.note(`${names.length} headers written to ${directory}`);
}

const HELP = `
Flags are those of clang:
  -c -S -E -fsyntax-only   object (default), assembly text, preprocessed text, diagnostics only
  --emit-ir, -E -dM        the compiler's intermediate text; all macros
  -o FILE                  where to; default: the name of the C file, with .o
  -O0…-O3 -Os -g           optimisation (default -O2), debug information and BTF
  -mcpu=v1…v4              instruction set (default v3)
  -I -isystem -iquote -idirafter -include -D -U -nostdinc -P
  -W… -Wno-… -Werror -w -ferror-limit=N -fcolor-diagnostics
  --btf FILE               the kernel whose types vmlinux.h has; default: the running one
  --dialect bcc            the C of the BPF Compiler Collection (docs/bcc.md)
  --cc clang               the clang of this machine does the work
  --write-headers DIR      writes the built-in headers there

Headers of libbpf, the UAPI and the C library are built in; directories given with -I come first.`;

export const CC: CommandRow = {
  name: 'cc',
  declare(parent: Command, run: Runner) {
    const command = parent
      .command('cc')
      .description('compile C to a BPF object, with clang’s flags and nothing else installed')
      .argument('[flags and C files...]')
      .allowUnknownOption()
      .allowExcessArguments()
      .helpOption('--help', 'display help for command')
      .addHelpText('after', HELP)
      .action(run(action));
    withExamples(command, [
      ['tsbpf cc -O2 -g -c prog.bpf.c -o prog.bpf.o', 'an object for tsbpf, bpftool and libbpf'],
      ['tsbpf cc --dialect bcc -c tool.c -o tool.o', 'a program written for BCC'],
      ['tsbpf cc -E prog.bpf.c', 'after the preprocessor'],
      ['tsbpf run prog.bpf.c --pcap in.pcap', 'compile and run in one step'],
    ]);
  },
};
