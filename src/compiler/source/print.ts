/**
 * Diagnostics as text, laid out as clang lays them out: `path:line:column: error: message [-Wflag]`, the line with its number, a caret
 * line with the ranges underlined, fix-its below, notes with the macros that the place came through.
 */
import type { Diagnostic, FixIt, Severity } from './diagnostic.ts';
import { isMacroLocation, type Location, NO_LOCATION, type SourceRange } from './location.ts';
import { lineStarts, type SourceFile, type SourceManager, tokenLength } from './manager.ts';

export interface PrintOptions {
  /** ANSI colours as clang uses them. */
  readonly color?: boolean;
}

/** Longest line that is shown, and most macro notes under one diagnostic: clang's figures. */
const LONGEST_LINE = 4096;
const MOST_MACRO_NOTES = 6;
const TAB = 8;

const PAINT: Readonly<Record<Severity, string>> = {
  note: '\x1b[0;1;36m',
  warning: '\x1b[0;1;35m',
  error: '\x1b[0;1;31m',
  fatal: '\x1b[0;1;31m',
};
const BOLD = '\x1b[1m';
const RESET = '\x1b[0m';
const CARET = '\x1b[0;1;32m';
const FIX = '\x1b[0;32m';

/** All diagnostics and the closing count; the empty string when there are none. */
export function formatDiagnostics(
  sources: SourceManager,
  diagnostics: readonly Diagnostic[],
  options: PrintOptions = {},
): string {
  const printer = new Printer(sources, options.color ?? false);
  for (const diagnostic of diagnostics) printer.diagnostic(diagnostic);
  return printer.text + summary(diagnostics);
}

/** One diagnostic with its notes. */
export function formatDiagnostic(
  sources: SourceManager,
  diagnostic: Diagnostic,
  options: PrintOptions = {},
): string {
  const printer = new Printer(sources, options.color ?? false);
  printer.diagnostic(diagnostic);
  return printer.text;
}

function summary(diagnostics: readonly Diagnostic[]): string {
  const errors = diagnostics.filter(
    (one) => (one.severity === 'error' || one.severity === 'fatal') && one.code !== 'too-many-errors',
  ).length;
  const warnings = diagnostics.filter((one) => one.severity === 'warning').length;
  const parts: string[] = [];
  if (warnings > 0) parts.push(`${warnings} warning${warnings === 1 ? '' : 's'}`);
  if (errors > 0) parts.push(`${errors} error${errors === 1 ? '' : 's'}`);
  return parts.length === 0 ? '' : `${parts.join(' and ')} generated.\n`;
}

class Printer {
  text = '';
  private readonly sources: SourceManager;
  private readonly color: boolean;
  private shownInclude: Location = NO_LOCATION;

  constructor(sources: SourceManager, color: boolean) {
    this.sources = sources;
    this.color = color;
  }

  diagnostic(one: Diagnostic): void {
    let flag = '';
    if (one.flag !== null) flag = ` [${one.upgraded ? '-Werror,' : ''}-W${one.flag}]`;
    this.emit(one.severity, one.message + flag, one.location, one.ranges, one.fixits);
    for (const note of one.notes)
      this.emit('note', note.message, note.location, note.ranges ?? [], note.fixits ?? []);
  }

  private emit(
    severity: Severity,
    message: string,
    location: Location,
    ranges: readonly SourceRange[],
    fixits: readonly FixIt[],
  ): void {
    const { sources } = this;
    const position = sources.position(location);
    const file = sources.file(location);
    if (severity !== 'note') this.includeStack(file);
    const where =
      position === null
        ? ''
        : `${this.paint(BOLD, `${position.path}:${position.line}:${position.column}:`)} `;
    const label = severity === 'fatal' ? 'fatal error' : severity;
    const body = severity === 'note' ? message : this.paint(BOLD, message);
    this.text += `${where}${this.paint(PAINT[severity], `${label}: `)}${body}\n`;
    if (position === null || file === null) return;
    const caret = sources.fileLocation(location);
    const spans = ranges.map((range) => ({
      begin: sources.fileLocation(range.begin),
      end: sources.fileLocation(range.end),
    }));
    this.snippet(file, caret, spans, fixits);
    if (isMacroLocation(location)) this.macroNotes(location, ranges);
  }

  private includeStack(file: SourceFile | null): void {
    const from = file?.includedFrom ?? NO_LOCATION;
    if (from === this.shownInclude) return;
    this.shownInclude = from;
    if (from === NO_LOCATION) return;
    const stack: string[] = [];
    for (let at = from; at !== NO_LOCATION; ) {
      const position = this.sources.position(at);
      if (position === null) break;
      stack.push(`In file included from ${position.path}:${position.line}:\n`);
      at = this.sources.file(at)?.includedFrom ?? NO_LOCATION;
    }
    this.text += stack.reverse().join('');
  }

  /** The line, the carets, the replacements. */
  private snippet(
    file: SourceFile,
    caret: Location,
    ranges: readonly SourceRange[],
    fixits: readonly FixIt[],
  ): void {
    const { text } = file.source;
    const lines = lineStarts(file.source);
    const offset = caret - file.base;
    const position = this.sources.position(caret)!;
    const start = lines[position.physicalLine - 1]!;
    const line = position.text;
    if (line.length > LONGEST_LINE) return;
    const end = start + line.length;
    const columns = visualColumns(line);
    const marks: string[] = new Array<string>(columns[line.length]! + 1).fill(' ');
    for (const range of ranges) {
      if (this.sources.file(range.begin) !== file || this.sources.file(range.end) !== file) continue;
      const first = range.begin - file.base;
      const last = range.end - file.base;
      const stop = last + tokenLength(text, last);
      if (stop <= start || first > end || stop < first) continue;
      let from = columns[Math.max(0, first - start)]!;
      const to = columns[Math.min(line.length, stop - start)]!;
      while (first < start && from < to && /\s/.test(line[from] ?? '')) from++;
      for (let column = from; column < to; column++) marks[column] = '~';
    }
    marks[columns[Math.min(offset - start, line.length)]!] = '^';
    const number = String(position.line).padStart(5);
    this.text += `${number} | ${expandTabs(line)}\n`;
    const carets = marks.join('').trimEnd();
    this.text += `${' '.repeat(5)} | ${this.paint(CARET, carets)}\n`;
    const inserted = this.fixLine(file, start, line, columns, fixits);
    if (inserted !== '') this.text += `${' '.repeat(5)} | ${this.paint(FIX, inserted)}\n`;
  }

  private fixLine(
    file: SourceFile,
    start: number,
    line: string,
    columns: readonly number[],
    fixits: readonly FixIt[],
  ): string {
    let text = '';
    for (const fixit of fixits) {
      if (isMacroLocation(fixit.range.begin) || this.sources.file(fixit.range.begin) !== file) continue;
      const offset = fixit.range.begin - file.base - start;
      if (offset < 0 || offset > line.length || fixit.text.includes('\n')) continue;
      const column = columns[offset]!;
      if (text !== '' && column <= text.length) text += ' ';
      text = text.padEnd(column) + fixit.text;
    }
    return text.trimEnd();
  }

  /** The macros that a place came through, outermost last; a macro's argument needs no explanation. */
  private macroNotes(location: Location, ranges: readonly SourceRange[]): void {
    const { sources } = this;
    const stack: Location[] = [];
    let ignored = 0;
    let at = location;
    do {
      const argument = sources.isArgument(at);
      stack.push(argument ? sources.immediateExpansion(at) : at);
      if (argument && ranges.every((range) => this.throughArgument(range, at))) ignored = stack.length;
      at = sources.callerLocation(at);
      if (!isMacroLocation(at)) at = sources.callerLocation(stack.at(-1)!);
    } while (isMacroLocation(at));
    const shown = stack.slice(ignored).reverse();
    const skip = shown.length > MOST_MACRO_NOTES ? shown.length - MOST_MACRO_NOTES : 0;
    const head = MOST_MACRO_NOTES / 2;
    shown.forEach((place, index) => {
      if (skip > 0 && index >= head && index < head + skip) {
        if (index === head)
          this.text += `note: (skipping ${skip} expansions in backtrace; use -fmacro-backtrace-limit=0 to see all)\n`;
        return;
      }
      this.macroNote(place, ranges);
    });
  }

  private macroNote(place: Location, ranges: readonly SourceRange[]): void {
    const { sources } = this;
    const spelling = sources.spelling(place);
    let inside = place;
    while (sources.isArgument(inside)) inside = sources.immediateExpansion(inside);
    const name = isMacroLocation(inside) ? sources.spelledText(sources.immediateExpansion(inside)) : '';
    const message = name === '' ? 'expanded from here' : `expanded from macro '${name}'`;
    const mapped: SourceRange[] = [];
    for (const range of ranges) {
      const begin = this.sameExpansion(range.begin, place);
      const end = this.sameExpansion(range.end, place);
      if (begin !== null && end !== null)
        mapped.push({ begin: sources.spelling(begin), end: sources.spelling(end) });
    }
    this.emit('note', message, spelling, mapped, []);
  }

  private throughArgument(range: SourceRange, argument: Location): boolean {
    return (
      this.sameExpansion(range.begin, argument) !== null && this.sameExpansion(range.end, argument) !== null
    );
  }

  /** Walks outwards from `location` until it lies in the same expansion as `place`. */
  private sameExpansion(location: Location, place: Location): Location | null {
    const { sources } = this;
    const wanted = sources.immediateExpansion(place);
    let at = location;
    while (isMacroLocation(at)) {
      if (sources.immediateExpansion(at) === wanted && sources.isArgument(at) === sources.isArgument(place))
        return at;
      at = sources.immediateExpansion(at);
    }
    return null;
  }

  private paint(code: string, text: string): string {
    return this.color ? `${code}${text}${RESET}` : text;
  }
}

/** The screen column of each character of a line, and of its end. */
function visualColumns(line: string): number[] {
  const columns: number[] = [];
  let column = 0;
  for (let i = 0; i < line.length; i++) {
    columns.push(column);
    column += line[i] === '\t' ? TAB - (column % TAB) : 1;
  }
  columns.push(column);
  return columns;
}

function expandTabs(line: string): string {
  let text = '';
  for (const character of line)
    text += character === '\t' ? ' '.repeat(TAB - (text.length % TAB)) : character;
  return text;
}
