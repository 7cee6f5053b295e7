/** C sources to objects for the commands: the compiler with the files of this machine, its diagnostics as text. */
import { readFileSync, statSync } from 'node:fs';
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
import { CompileFailure } from '../errors.ts';
import { readBtf } from '../files.ts';
import { compileDialect } from './dialect.ts';
import { type CompilerFlags, parseFlags } from './flags.ts';

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
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
};

/** `-` is standard input. */
export function readSource(path: string): string | undefined {
  if (path !== '-') return filesOfMachine.read(path);
  return readFileSync(0, 'utf8');
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
function headersFor(path: string, text: string, flags: CompilerFlags): (name: string) => string | undefined {
  return headersWithVmlinux(() => {
    const types = kernelTypes(flags.btf);
    if (types === undefined) return undefined;
    const sink = new DiagnosticSink(new SourceManager(), { errorLimit: 0, noWarnings: true });
    const tokens = new Preprocessor(sink, path, text, {
      resolver: filesOfMachine,
      includes: flags.includes,
      defines: flags.defines,
      forced: flags.forced,
      target: { cpu: flags.cpu, optimize: flags.optimize },
      builtinHeader: headersWithVmlinux(() => '#define __VMLINUX_H__\n'),
    });
    while (tokens.next().kind !== 'eof');
    return vmlinuxHeaderFor(types, new Set(tokens.identifiers()));
  });
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

function compilePlain(main: string, text: string | undefined, flags: CompilerFlags): CompileResult {
  return compile({
    files: filesOfMachine,
    main,
    ...(text === undefined ? {} : { text }),
    options: {
      cpu: flags.cpu,
      optimize: flags.optimize,
      debug: flags.debug,
      includes: flags.includes,
      defines: flags.defines,
      forced: flags.forced,
      warnings: flags.warnings,
      noWarnings: flags.noWarnings,
      errorLimit: flags.errorLimit,
      emitIr: flags.mode === 'ir',
      ...(flags.noBuiltinHeaders
        ? {}
        : {
            builtinHeader: headersFor(main, text ?? '', flags),
          }),
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
