/** What commands that take an object take besides: a C file, compiled on the way. */
import { basename } from 'node:path';
import { BpfObject } from '../../libbpf/index.ts';
import { inFile, openObject } from '../files.ts';
import type { CompilerOutput } from './compile.ts';

/**
 * An object file, or a `.c` file, for which the compiler is loaded; `cflags` are for the latter. @throws CompileFailure with the
 * diagnostics.
 */
export async function openSourceOrObject(
  path: string,
  out: CompilerOutput,
  cflags: string | undefined,
): Promise<BpfObject> {
  if (!path.endsWith('.c')) return openObject(path);
  const { compileForUse } = await import('./compile.ts');
  const bytes = compileForUse(path, splitFlags(cflags ?? ''), out);
  return inFile(path, () => BpfObject.open(bytes, { name: `${basename(path, '.c')}.o` }));
}

/** The words of `--cflags "-I include -DX=1"`; quotes keep blanks together. */
function splitFlags(text: string): string[] {
  return [...text.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)].map(([word]) => word.replace(/["']/g, ''));
}
