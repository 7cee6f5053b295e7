/**
 * The C source that line records speak of: from the file where it is found and still says what was compiled, else the texts of
 * the records themselves.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { LineInfo } from '../../contracts/verify.ts';

/** Sources larger than this are not read. */
const MAX_SOURCE = 16 << 20;

export interface SourceLines {
  /** Where it was read; undefined: only the texts of the records are known. */
  readonly path: string | undefined;
  /** Text of line `number` (from 1), undefined where it is not known. */
  line(number: number): string | undefined;
  readonly count: number;
}

export class Sources {
  readonly #beside: string;
  readonly #records = new Map<string, Map<number, string>>();
  readonly #files = new Map<string, SourceLines>();

  /** `object`: path of the object file; sources may lie beside it. */
  constructor(object: string, records: Iterable<LineInfo>) {
    this.#beside = dirname(object);
    for (const { file, line, text } of records) {
      const name = file.replace(/^\.\//, '');
      let lines = this.#records.get(name);
      if (lines === undefined) {
        lines = new Map();
        this.#records.set(name, lines);
      }
      if (text !== '') lines.set(line, text);
    }
  }

  of(file: string): SourceLines {
    let source = this.#files.get(file);
    if (source === undefined) {
      source = this.#read(file);
      this.#files.set(file, source);
    }
    return source;
  }

  #read(file: string): SourceLines {
    const records = this.#records.get(file) ?? new Map<number, string>();
    for (const path of [file, join(this.#beside, file), join(this.#beside, basename(file))]) {
      const lines = readLines(path);
      // A file that was changed since says nothing about this object.
      if (
        lines === undefined ||
        ![...records].every(([number, text]) => lines[number - 1]?.trim() === text.trim())
      )
        continue;
      return { path, line: (number) => lines[number - 1], count: lines.length };
    }
    return {
      path: undefined,
      line: (number) => records.get(number),
      count: Math.max(0, ...records.keys()),
    };
  }
}

function readLines(path: string): string[] | undefined {
  try {
    if (!existsSync(path)) return undefined;
    const info = statSync(path);
    if (!info.isFile() || info.size > MAX_SOURCE) return undefined;
    return readFileSync(path, 'utf8').split(/\r?\n/);
  } catch {
    // A source that cannot be read is one that is not there.
    return undefined;
  }
}
