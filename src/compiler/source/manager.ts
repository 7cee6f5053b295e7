/**
 * Owns all source text of one compilation and the meaning of every `Location` in it: files with their includers, `#line` directives,
 * and for tokens that came out of macros both where they were spelled and what they replaced.
 *
 * Invariant: an expansion location is smaller than the locations made from it, so walking outwards ends.
 */
import { BpfError } from '../../util/index.ts';
import {
  FIRST_MACRO_LOCATION,
  isMacroLocation,
  LAST_LOCATION,
  type Location,
  NO_LOCATION,
  type Position,
} from './location.ts';

/** The text behind a path; several inclusions of one file share it. */
export interface SourceText {
  readonly path: string;
  readonly text: string;
  /** Offsets of the first character of each line; made on the first question. */
  lines: Int32Array | null;
}

/** One inclusion of a text. */
export interface SourceFile {
  readonly source: SourceText;
  /** Location of the text's first character. */
  readonly base: Location;
  /** The `#include` that brought it; NO_LOCATION for the main file and for what the command line includes. */
  readonly includedFrom: Location;
  /** Headers of the system and built-in ones: their warnings are not shown. */
  readonly system: boolean;
  /** `#line` directives in order: from `offset` on, the line after the directive has number `line`. */
  readonly lineDirectives: { offset: number; line: number; path: string }[];
}

/** Which end of a macro expansion a token comes from. */
const FROM_BODY = 0;
const FROM_ARGUMENT = 1;

export class SourceManager {
  private readonly files: SourceFile[] = [];
  private next: Location = 1;
  private lastFile: SourceFile | null = null;
  // One entry a token made by a macro: where it is spelled, what it replaces (begin and end of the call), and how it came.
  private spellings = new Int32Array(1024);
  private expansions = new Int32Array(1024);
  private ends = new Int32Array(1024);
  private origins = new Uint8Array(1024);
  private macroTokens = 0;

  /** @throws BpfError E2BIG when all texts together pass the limit of locations (512 Mi characters). */
  addFile(source: SourceText, includedFrom: Location = NO_LOCATION, system = false): SourceFile {
    const size = source.text.length + 1;
    if (!this.hasRoom(source))
      throw new BpfError('E2BIG', `${source.path}: too much source text in one compilation`, {
        hint: 'a header without an include guard may be included again and again',
      });
    const file: SourceFile = { source, base: this.next, includedFrom, system, lineDirectives: [] };
    this.files.push(file);
    this.next += size;
    return file;
  }

  /** Whether the locations left are enough for one more inclusion of a text. */
  hasRoom(source: SourceText): boolean {
    return this.next + source.text.length + 1 < FIRST_MACRO_LOCATION;
  }

  /** All inclusions, in order. */
  get all(): readonly SourceFile[] {
    return this.files;
  }

  /**
   * A new location for a token of a macro's body (`argument` false) or for an argument's token put in place of a parameter.
   * `end`: the `)` of a call.
   */
  addMacroToken(spelling: Location, expansion: Location, argument: boolean, end = expansion): Location {
    const index = this.macroTokens++;
    if (FIRST_MACRO_LOCATION + index >= LAST_LOCATION)
      throw new BpfError('E2BIG', 'macro expansion makes too many tokens');
    if (index === this.spellings.length) this.grow();
    this.spellings[index] = spelling;
    this.expansions[index] = expansion;
    this.ends[index] = end;
    this.origins[index] = argument ? FROM_ARGUMENT : FROM_BODY;
    return FIRST_MACRO_LOCATION + index;
  }

  private grow(): void {
    const size = this.spellings.length * 2;
    const spellings = new Int32Array(size);
    spellings.set(this.spellings);
    this.spellings = spellings;
    const expansions = new Int32Array(size);
    expansions.set(this.expansions);
    this.expansions = expansions;
    const ends = new Int32Array(size);
    ends.set(this.ends);
    this.ends = ends;
    const origins = new Uint8Array(size);
    origins.set(this.origins);
    this.origins = origins;
  }

  /** True for a token that stands in place of a macro's parameter. */
  isArgument(location: Location): boolean {
    return isMacroLocation(location) && this.origins[location - FIRST_MACRO_LOCATION] === FROM_ARGUMENT;
  }

  /** Where the characters of a token are written: one step inwards. */
  immediateSpelling(location: Location): Location {
    return isMacroLocation(location) ? this.spellings[location - FIRST_MACRO_LOCATION]! : location;
  }

  /** What the token replaces: the macro's name in the text around it, or the parameter's name in the macro's body. */
  immediateExpansion(location: Location): Location {
    return isMacroLocation(location) ? this.expansions[location - FIRST_MACRO_LOCATION]! : location;
  }

  /** Where the characters are written in a file. */
  spelling(location: Location): Location {
    let at = location;
    while (isMacroLocation(at)) at = this.spellings[at - FIRST_MACRO_LOCATION]!;
    return at;
  }

  /** The outermost macro name in a file; the location itself outside of macros. */
  expansion(location: Location): Location {
    let at = location;
    while (isMacroLocation(at)) at = this.expansions[at - FIRST_MACRO_LOCATION]!;
    return at;
  }

  /** Where the outermost call ends in a file: `__LINE__` in a macro is the line of that. */
  expansionEnd(location: Location): Location {
    let at = location;
    while (isMacroLocation(at)) at = this.ends[at - FIRST_MACRO_LOCATION]!;
    return at;
  }

  /** Where a person would point: an argument where it is written, anything else of a macro at the macro's name. */
  fileLocation(location: Location): Location {
    let at = location;
    while (isMacroLocation(at)) at = this.callerLocation(at);
    return at;
  }

  /** One step outwards to the text that calls the macro: an argument's own text, or the macro's name. */
  callerLocation(location: Location): Location {
    return this.isArgument(location) ? this.immediateSpelling(location) : this.immediateExpansion(location);
  }

  /** The inclusion that a file location lies in; null for NO_LOCATION. */
  file(location: Location): SourceFile | null {
    const at = this.fileLocation(location);
    if (at === NO_LOCATION) return null;
    const last = this.lastFile;
    if (last !== null && at >= last.base && at <= last.base + last.source.text.length) return last;
    let low = 0;
    let high = this.files.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.files[middle]!.base <= at) low = middle;
      else high = middle - 1;
    }
    const found = this.files[low];
    if (found === undefined) return null;
    this.lastFile = found;
    return found;
  }

  /** In a header of the system or a built-in one. */
  isSystem(location: Location): boolean {
    return this.file(location)?.system === true;
  }

  /** Path, line and column; macro locations as `fileLocation` puts them. Null for NO_LOCATION. */
  position(location: Location): Position | null {
    const at = this.fileLocation(location);
    const file = this.file(at);
    if (file === null) return null;
    const offset = at - file.base;
    const { text } = file.source;
    const lines = lineStarts(file.source);
    const index = lineIndex(lines, offset);
    const start = lines[index]!;
    const lineText = lineAt(text, start);
    let line = index + 1;
    let path = file.source.path;
    for (let i = file.lineDirectives.length - 1; i >= 0; i--) {
      const directive = file.lineDirectives[i]!;
      if (directive.offset > offset) continue;
      line = directive.line + (index - lineIndex(lines, directive.offset) - 1);
      path = directive.path;
      break;
    }
    return {
      path,
      line,
      column: utf8Length(text, start, offset) + 1,
      physicalLine: index + 1,
      text: lineText,
    };
  }

  /** The line number alone, without building the rest: `__LINE__`, debug information. 0 for NO_LOCATION. */
  line(location: Location): number {
    const at = this.fileLocation(location);
    const file = this.file(at);
    if (file === null) return 0;
    if (file.lineDirectives.length > 0) return this.position(at)!.line;
    return lineIndex(lineStarts(file.source), at - file.base) + 1;
  }

  /** The identifier, number or other word that is spelled at a location; one character where it is punctuation. */
  spelledText(location: Location): string {
    const at = this.spelling(location);
    const file = this.file(at);
    if (file === null) return '';
    const { text } = file.source;
    const start = at - file.base;
    return text.slice(start, start + tokenLength(text, start));
  }
}

export function makeSourceText(path: string, text: string): SourceText {
  return { path, text, lines: null };
}

/** The length of the token at `start`, as far as carets need it: words, literals, operators. */
export function tokenLength(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (Number.isNaN(first)) return 0;
  let at = start;
  if (isWordCode(first)) {
    do at++;
    while (isWordCode(text.charCodeAt(at)) || (isDigitCode(first) && text[at] === '.'));
    const quote = text[at];
    if ((quote !== '"' && quote !== "'") || at - start > 2) return at - start;
  }
  const quote = text[at];
  if (quote === '"' || quote === "'") {
    at++;
    while (at < text.length && text[at] !== quote && text[at] !== '\n') at += text[at] === '\\' ? 2 : 1;
    return Math.min(at + 1, text.length) - start;
  }
  for (const operator of ['<<=', '>>=', '...']) if (text.startsWith(operator, start)) return 3;
  if (/^(?:->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[*/%+\-&^|]=|##)/.test(text.slice(start, start + 2)))
    return 2;
  return 1;
}

function isDigitCode(code: number): boolean {
  return code >= 48 && code <= 57;
}

function isWordCode(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 65 && code <= 90) ||
    (code >= 48 && code <= 57) ||
    code === 95 ||
    code === 36 ||
    code >= 128
  );
}

/** Offsets where lines begin; `\n`, `\r\n` and a lone `\r` end a line. */
export function lineStarts(source: SourceText): Int32Array {
  if (source.lines !== null) return source.lines;
  const { text } = source;
  let starts = new Int32Array(Math.max(16, text.length >> 4));
  let count = 1;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code !== 10 && (code !== 13 || text.charCodeAt(i + 1) === 10)) continue;
    if (count === starts.length) {
      const grown = new Int32Array(starts.length * 2);
      grown.set(starts);
      starts = grown;
    }
    starts[count++] = i + 1;
  }
  source.lines = starts.subarray(0, count);
  return source.lines;
}

function lineIndex(lines: Int32Array, offset: number): number {
  let low = 0;
  let high = lines.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (lines[middle]! <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

function lineAt(text: string, start: number): string {
  let end = start;
  while (end < text.length && text.charCodeAt(end) !== 10 && text.charCodeAt(end) !== 13) end++;
  return text.slice(start, end);
}

function utf8Length(text: string, start: number, end: number): number {
  let bytes = 0;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) bytes += 1;
    else if (code < 0x800) bytes += 2;
    else if (code >= 0xd800 && code < 0xdc00) bytes += 4;
    else if (code < 0xdc00 || code > 0xdfff) bytes += 3;
  }
  return bytes;
}
