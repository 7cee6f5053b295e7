/** C sources to objects for the commands: the compiler with the files of this machine, its diagnostics as text. */
import { readFileSync, statSync } from 'node:fs';
import {
  type CompileResult,
  compile,
  formatDiagnostics,
  headersWithVmlinux,
  type IncludeResolver,
  vmlinuxHeader,
} from '../../compiler/index.ts';
import { CompileFailure } from '../errors.ts';
import { readBtf } from '../files.ts';
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

/** The built-in headers, with a vmlinux.h of the BTF asked for or of the running kernel. */
export function builtinHeaders(btf: string | undefined): (name: string) => string | undefined {
  return headersWithVmlinux(() => {
    if (btf !== undefined) return vmlinuxHeader(readBtf(btf));
    try {
      statSync(RUNNING_KERNEL);
    } catch {
      return undefined;
    }
    return vmlinuxHeader(readBtf(RUNNING_KERNEL));
  });
}

export interface Compiled {
  readonly result: CompileResult;
  /** Diagnostics and their count, as clang prints them; empty when there are none. */
  readonly text: string;
}

export function compileSource(path: string, flags: CompilerFlags, color: boolean): Compiled {
  const text = readSource(path);
  const result = compile({
    files: filesOfMachine,
    main: path === '-' ? '<stdin>' : path,
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
      ...(flags.noBuiltinHeaders ? {} : { builtinHeader: builtinHeaders(flags.btf) }),
    },
  });
  const printed = formatDiagnostics(result.sources, result.diagnostics, { color: flags.color ?? color });
  const lacking = result.diagnostics.some(({ message }) => message.startsWith("'vmlinux.h' file not found"));
  return { result, text: lacking ? `${printed}${NO_VMLINUX}` : printed };
}

/** Only where the running kernel shows no types of its own. */
const NO_VMLINUX =
  "hint: --btf FILE makes vmlinux.h from the BTF of a kernel; this machine's kernel shows none\n";

/** Where warnings go. */
export interface CompilerOutput {
  readonly errorColor: { readonly isColorSupported: boolean };
  errorWrite(text: string): void;
}

/** What `run` and `verify` compile a C file with: `-O2 -g`, and flags of the command line. */
export function compileForUse(path: string, extra: readonly string[], out: CompilerOutput): Uint8Array {
  const flags = parseFlags(['-O2', '-g', ...extra]);
  const { result, text } = compileSource(path, flags, out.errorColor.isColorSupported);
  if (result.object === null) throw new CompileFailure(path, text);
  out.errorWrite(text);
  return result.object;
}
