/** Runs our preprocessor and clang's on a text, and gives both in one form: the spelled tokens, and the errors with their places. */
import { spawnSync } from 'node:child_process';
import { IdentifierTable } from '../../src/compiler/preprocess/identifiers.ts';
import { Preprocessor, type PreprocessorOptions } from '../../src/compiler/preprocess/index.ts';
import { Lexer } from '../../src/compiler/preprocess/lexer.ts';
import {
  DiagnosticSink,
  formatDiagnostics,
  makeSourceText,
  SourceManager,
} from '../../src/compiler/source/index.ts';

export interface Preprocessed {
  readonly tokens: readonly string[];
  /** `line:column: error: message`, and with warnings asked for, those too. */
  readonly reports: readonly string[];
  /** All that would be printed. */
  readonly printed: string;
}

/** `files` besides the main one, by path. */
export function preprocess(
  text: string,
  files: Readonly<Record<string, string>> = {},
  options: Partial<PreprocessorOptions> & { warnings?: readonly string[]; errorLimit?: number } = {},
): Preprocessed {
  const sources = new SourceManager();
  const sink = new DiagnosticSink(sources, {
    errorLimit: options.errorLimit ?? 20,
    ...(options.warnings === undefined ? {} : { warnings: options.warnings }),
  });
  const table = new Map(Object.entries(files));
  const preprocessor = new Preprocessor(sink, 'main.c', text, {
    resolver: { read: (path) => table.get(path) },
    ...options,
  });
  const tokens: string[] = [];
  for (let token = preprocessor.next(); token.kind !== 'eof'; token = preprocessor.next())
    tokens.push(token.kind === 'pragma' ? `#pragma ${token.text}` : token.text);
  const reports = sink.diagnostics.map((one) => {
    const place = sources.position(one.location);
    return `${place?.line ?? 0}:${place?.column ?? 0}: ${one.severity === 'fatal' ? 'fatal error' : one.severity}: ${one.message}`;
  });
  return { tokens, reports, printed: formatDiagnostics(sources, sink.diagnostics) };
}

/** The tokens that a preprocessed text consists of; line markers and pragmas left out. */
export function plainTokens(text: string): string[] {
  const sources = new SourceManager();
  const file = sources.addFile(makeSourceText('out.c', text.replace(/^#(?:pragma| \d+ ").*$/gm, '')));
  const lexer = new Lexer(file, new IdentifierTable(), { error() {}, warning() {} });
  const tokens: string[] = [];
  for (let token = lexer.lex(); token.kind !== 'eof'; token = lexer.lex()) tokens.push(token.text);
  return tokens;
}

/** clang's answer for a text on its standard input, or null where this machine has no clang-19. */
export function clangPreprocess(text: string): { tokens: string[]; reports: string[] } | null {
  const run = spawnSync(
    'clang-19',
    ['-target', 'bpf', '-O2', '-E', '-P', '-nostdinc', '-ferror-limit=0', '-w', '-x', 'c', '-'],
    { input: text, encoding: 'utf8', maxBuffer: 1 << 28 },
  );
  if (run.error !== undefined) return null;
  const reports = [...run.stderr.matchAll(/^<stdin>:(\d+:\d+: (?:fatal )?error: .*)$/gm)].map(
    (match) => match[1]!,
  );
  return { tokens: plainTokens(run.stdout), reports };
}
