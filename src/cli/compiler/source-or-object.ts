/** What commands that take an object take besides: a C file, compiled on the way. */
import { basename } from 'node:path';
import { BpfObject } from '../../libbpf/index.ts';
import { inFile, openObject } from '../files.ts';
import { type CompilerOutput, compileForUse } from './compile.ts';

/** An object file, or a `.c` file; `cflags` are for the latter. @throws CompileFailure with the diagnostics. */
export function openSourceOrObject(path: string, out: CompilerOutput, cflags: string | undefined): BpfObject {
  if (!path.endsWith('.c')) return openObject(path);
  const bytes = compileForUse(path, splitFlags(cflags ?? ''), out);
  return inFile(path, () => BpfObject.open(bytes, { name: `${basename(path, '.c')}.o` }));
}

/** The words of `--cflags "-I include -DX=1"`; quotes keep blanks together. */
function splitFlags(text: string): string[] {
  return [...text.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)].map(([word]) => word.replace(/["']/g, ''));
}
