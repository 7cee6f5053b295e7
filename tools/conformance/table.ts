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
