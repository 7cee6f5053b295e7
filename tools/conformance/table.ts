/** Tables of cases: one JSON record a line. */
import { readFileSync } from 'node:fs';

/** Records of a table. Ends the process with status 2 and one line where it cannot be read. */
export function readTable<T>(path: string): T[] {
  let line = 0;
  try {
    const records: T[] = [];
    for (const text of readFileSync(path, 'utf8').split('\n')) {
      line++;
      if (text.trim() !== '') records.push(JSON.parse(text) as T);
    }
    return records;
  } catch (error) {
    const where = error instanceof SyntaxError ? `${path}, line ${line}` : path;
    process.stderr.write(`conformance: ${where}: ${(error as Error).message}\n`);
    process.exit(2);
  }
}

export interface TableOptions {
  readonly json?: boolean;
  /** Percent of the cases that must agree for status 0 (default: all). */
  readonly require?: string;
}

/** The last line, on standard error where standard output is JSON; and the exit status. */
export function conclude(agreed: number, judged: number, options: TableOptions): void {
  const summary = `agree ${agreed} of ${judged}`;
  if (options.json) process.stderr.write(`${summary}\n`);
  else console.log(summary);
  const required = Number(options.require ?? 100);
  if (!(required >= 0 && required <= 100)) {
    process.stderr.write(`conformance: --require takes a percentage, not '${options.require}'\n`);
    process.exitCode = 2;
  } else if (agreed * 100 < required * judged) process.exitCode = 1;
}
