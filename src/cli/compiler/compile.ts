/** C sources to objects for the commands: the compiler with the files of this machine, its diagnostics as text. */
import { readFileSync, statSync } from 'node:fs';
import process from 'node:process';
import { isBccSource } from '../../bcc/index.ts';
import type { Btf } from '../../btf/index.ts';
import {
  type CompileResult,
  compile,
  DiagnosticSink,
  formatDiagnostics,
  headersWithVmlinux,
  type IncludeResolver,
  Preprocessor,
  SourceManager,
  vmlinuxHeader,
  vmlinuxHeaderFor,
} from '../../compiler/index.ts';
import { isElf } from '../../elf/index.ts';
import { CompileFailure, UsageError } from '../errors.ts';
import { fileError, readBtf } from '../files.ts';
import { compileDialect } from './dialect.ts';
import { type CompilerFlags, parseFlags } from './flags.ts';
import { sourceText } from './source-text.ts';

/** Headers larger than this are no headers. */
const LARGEST_SOURCE = 256 << 20;
/** Types of the kernel that runs. */
export const RUNNING_KERNEL = '/sys/kernel/btf/vmlinux';

/** Files of this machine; what is no file, or cannot be read, is not there. */
export const filesOfMachine: IncludeResolver = {
  read(path) {
    try {
      const info = statSync(path);
      if (!info.isFile() || info.size > LARGEST_SOURCE) return undefined;
      return sourceText(readFileSync(path));
    } catch {
      return undefined;
    }
  },
};

/** `-` is standard input; `undefined` where there is no such file. */
export function readSource(path: string): string | undefined {
  let bytes: Uint8Array;
  try {
    if (path !== '-' && statSync(path).size > LARGEST_SOURCE) return undefined;
    bytes = readFileSync(path === '-' ? 0 : path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileError(path, error, 'read it');
  }
  if (isElf(bytes))
    throw new UsageError(`${path} is an object, not C`, 'run, verify and disasm take objects as they are');
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    throw new UsageError(`${path} is UTF-16, which no C compiler reads`, 'save it as UTF-8');
  return sourceText(bytes);
}

/** Where distributions of Linux have the headers of that processor. */
const MULTIARCH: Readonly<Record<string, string>> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

/** The directories asked for, and behind the built-in headers those that every compiler on this machine looks into. */
export function includesOf(flags: CompilerFlags): CompilerFlags['includes'] {
  if (flags.noBuiltinHeaders) return flags.includes;
  const own = MULTIARCH[process.arch];
  const machine = [
    '/usr/local/include',
    ...(own === undefined ? [] : [`/usr/include/${own}`]),
    '/usr/include',
  ];
  return { ...flags.includes, after: [...flags.includes.after, ...machine] };
}

/** The BTF asked for, or the running kernel's; `undefined` where that shows none. */
function kernelTypes(btf: string | undefined): Btf | undefined {
  if (btf !== undefined) return readBtf(btf);
  try {
    statSync(RUNNING_KERNEL);
  } catch {
    return undefined;
  }
  return readBtf(RUNNING_KERNEL);
}

/** The built-in headers, with a whole vmlinux.h of the BTF asked for or of the running kernel. */
export function builtinHeaders(btf: string | undefined): (name: string) => string | undefined {
  return headersWithVmlinux(() => {
    const types = kernelTypes(btf);
    return types === undefined ? undefined : vmlinuxHeader(types);
  });
}

/**
 * The same for compiling one program: vmlinux.h has what that program can mean. For that the program is preprocessed once without it,
 * and its identifiers collected.
 */
function headersFor(
  path: string,
  text: string,
  flags: CompilerFlags,
): { readonly builtinHeader: (name: string) => string | undefined; used(): boolean } {
  let used = false;
  const builtinHeader = headersWithVmlinux(() => {
    const types = kernelTypes(flags.btf);
    if (types === undefined) return undefined;
    used = true;
    const sink = new DiagnosticSink(new SourceManager(), { errorLimit: 0, noWarnings: true });
    const tokens = new Preprocessor(sink, path, text, {
      resolver: filesOfMachine,
      includes: includesOf(flags),
      defines: flags.defines,
      forced: flags.forced,
      target: { cpu: flags.cpu, optimize: flags.optimize },
      builtinHeader: headersWithVmlinux(() => '#define __VMLINUX_H__\n'),
    });
    while (tokens.next().kind !== 'eof');
    return vmlinuxHeaderFor(types, new Set(tokens.identifiers()));
  });
  return { builtinHeader, used: () => used };
}

export interface Compiled {
  readonly result: CompileResult;
  /** Diagnostics and their count, as clang prints them; empty when there are none. */
  readonly text: string;
}

export function compileSource(path: string, flags: CompilerFlags, color: boolean): Compiled {
  const text = readSource(path);
  const main = path === '-' ? '<stdin>' : path;
  const result =
    flags.dialect === 'bcc' && text !== undefined
      ? compileDialect(main, text, flags, filesOfMachine, kernelTypes(flags.btf))
      : compilePlain(main, text, flags);
  const options = { color: flags.color ?? color };
  return { result, text: formatDiagnostics(result.sources, result.diagnostics, options) };
}

/** Errors that a name which the program misspells may lie behind. */
const MISSPELT: ReadonlySet<string> = new Set([
  'undeclared-identifier',
  'implicit-function-declaration',
  'unknown-type',
  'incomplete-type',
  'no-member',
]);

function compilePlain(main: string, text: string | undefined, flags: CompilerFlags): CompileResult {
  const short = headersFor(main, text ?? '', flags);
  const result = compileWith(main, text, flags, short.builtinHeader);
  // The short vmlinux.h has only what the program names: what it may have meant stands in the whole one.
  if (!short.used() || !result.diagnostics.some(({ code }) => MISSPELT.has(code))) return result;
  return compileWith(main, text, flags, builtinHeaders(flags.btf));
}

function compileWith(
  main: string,
  text: string | undefined,
  flags: CompilerFlags,
  builtinHeader: (name: string) => string | undefined,
): CompileResult {
  return compile({
    files: filesOfMachine,
    main,
    ...(text === undefined ? {} : { text }),
    options: {
      cpu: flags.cpu,
      optimize: flags.optimize,
      debug: flags.debug,
      includes: includesOf(flags),
      defines: flags.defines,
      forced: flags.forced,
      warnings: flags.warnings,
      noWarnings: flags.noWarnings,
      errorLimit: flags.errorLimit,
      emitIr: flags.mode === 'ir',
      ...(flags.noBuiltinHeaders ? {} : { builtinHeader }),
    },
  });
}

/** Where warnings go. */
export interface CompilerOutput {
  readonly errorColor: { readonly isColorSupported: boolean };
  errorWrite(text: string): void;
}

/** What `run` and `verify` compile a C file with: `-O2 -g`, and flags of the command line. */
export function compileForUse(path: string, extra: readonly string[], out: CompilerOutput): Uint8Array {
  let flags = parseFlags(['-O2', '-g', ...extra]);
  if (flags.dialect === undefined && isBccSource(readSource(path) ?? ''))
    flags = { ...flags, dialect: 'bcc' };
  const { result, text } = compileSource(path, flags, out.errorColor.isColorSupported);
  if (result.object === null) throw new CompileFailure(path, text);
  out.errorWrite(text);
  return result.object;
}
