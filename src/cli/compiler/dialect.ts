/** C in BCC's dialect for the commands: types from BTF, records of tracepoints from tracefs, where this machine has them. */
import { cpus } from 'node:os';
import { type CompileTarget, translateBcc } from '../../bcc/index.ts';
import type { Btf } from '../../btf/index.ts';
import type { CompileResult, IncludeResolver } from '../../compiler/index.ts';
import { utf8 } from '../../util/bytes.ts';
import { InternalError } from '../../util/errors.ts';
import type { CompilerFlags } from './flags.ts';

const TRACEFS = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing'];

/** `types`: those of the kernel that the program is for; undefined where none are to be had. */
export function compileDialect(
  main: string,
  text: string,
  flags: CompilerFlags,
  files: IncludeResolver,
  types: Btf | undefined,
): CompileResult {
  const { cpu, optimize, includes, defines, forced, warnings, noWarnings, errorLimit } = flags;
  return translateBcc(
    machine(files),
    { text, name: main, ...(types === undefined ? {} : { kernelBtf: types }) },
    {
      ...{ cpu, optimize, includes, defines, forced, warnings, noWarnings, errorLimit },
      // Without BTF there are no tables.
      debug: true,
      emitIr: flags.mode === 'ir',
    },
  );
}

function machine(files: IncludeResolver): CompileTarget {
  const read = (path: string): Uint8Array | null => {
    const content = files.read(path);
    return content === undefined ? null : utf8(content);
  };
  return {
    files: {
      read,
      readTracing: (path) =>
        TRACEFS.map((root) => read(`${root}/${path}`)).find((one) => one !== null) ?? null,
      resolveExecutable: () => null,
      open() {
        throw new InternalError('compiling opens no files');
      },
    },
    kernelBtf: () => null,
    features: () => ({
      kind: 'host',
      release: '',
      arch: process.arch === 'arm64' ? 'aarch64' : 'x86_64',
      possibleCpus: cpus().length,
      progTypes: new Set(),
      mapTypes: new Set(),
      helpers: new Set(),
    }),
  };
}
