/** Runs the front end of the compiler, and clang's, on a text. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TranslationUnit, VarDecl } from '../../src/compiler/ast/index.ts';
import { Preprocessor } from '../../src/compiler/preprocess/index.ts';
import { analyze, evaluate } from '../../src/compiler/sema/index.ts';
import { DiagnosticSink, SourceManager } from '../../src/compiler/source/index.ts';

export interface Analyzed {
  readonly unit: TranslationUnit;
  /** `line:column: error: message` */
  readonly reports: readonly string[];
  readonly errors: number;
}

export function analyzed(
  text: string,
  options: { warnings?: readonly string[]; errorLimit?: number } = {},
): Analyzed {
  const sources = new SourceManager();
  const sink = new DiagnosticSink(sources, { errorLimit: 20, ...options });
  const tokens = new Preprocessor(sink, 'main.c', text, { resolver: { read: () => undefined } });
  const unit = analyze(tokens, sink);
  const reports = sink.diagnostics.map((one) => {
    const place = sources.position(one.location);
    return `${place?.line ?? 0}:${place?.column ?? 0}: ${one.severity === 'fatal' ? 'error' : one.severity}: ${one.message}`;
  });
  return { unit, reports, errors: sink.errors };
}

export function variable(unit: TranslationUnit, name: string): VarDecl {
  const found = unit.variables.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no variable ${name}`);
  return found;
}

/** The constants of a variable's initialiser as `offset=value` (`offset:bit+width=value` for bit-fields). */
export function initial(unit: TranslationUnit, name: string): string[] {
  return (variable(unit, name).init?.entries ?? []).map((entry) => {
    const place = entry.bits === null ? `${entry.offset}` : `${entry.bits.offset}+${entry.bits.width}b`;
    if (entry.value.kind === 'string') return `${place}="${new TextDecoder().decode(entry.value.bytes)}"`;
    const value = evaluate(entry.value);
    if (value === null) return `${place}=?`;
    const base =
      value.base === null
        ? ''
        : value.base.kind === 'string'
          ? `"${new TextDecoder().decode(value.base.bytes)}"`
          : value.base.name;
    return `${place}=${base}${base !== '' && value.offset === 0n ? '' : base === '' ? '' : '+'}${base !== '' && value.offset === 0n ? '' : value.offset}`;
  });
}

export const noClang: boolean = spawnSync('clang-19', ['--version']).error !== undefined;

/** clang-19 for BPF on a text: its standard output, and what it reports, warnings without their option's name. */
export function clang(text: string, args: readonly string[]): { stdout: string; reports: string[] } {
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-sema-'));
  try {
    const file = join(directory, 'main.c');
    writeFileSync(file, text);
    const run = spawnSync(
      'clang-19',
      ['-target', 'bpf', '-std=gnu11', '-fno-caret-diagnostics', '-ferror-limit=0', ...args, file, '-o', '-'],
      { encoding: 'utf8', maxBuffer: 1 << 28 },
    );
    const reports = [...run.stderr.matchAll(/main\.c:(\d+:\d+): (?:fatal )?(error|warning): (.*)/g)].map(
      (match) => `${match[1]}: ${match[2]}: ${match[3]!.replace(/ \[-W.*\]$/, '')}`,
    );
    return { stdout: run.stdout, reports };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
