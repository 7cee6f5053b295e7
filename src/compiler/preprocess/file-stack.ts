/**
 * The stack of files being read, as one stream of tokens.
 *
 * A file whose whole text is one `#ifndef X … #endif`, or that has `#pragma once`, is not read again.
 */
import type { DiagnosticSink, Location, SourceManager, SourceText } from '../source/index.ts';
import { MacroExpander } from './expand.ts';
import type { IdentifierTable } from './identifiers.ts';
import type { HeaderSearch } from './includes.ts';
import { Lexer } from './lexer.ts';
import { type Name, PPToken } from './macro.ts';

export interface Conditional {
  readonly location: Location;
  /** A branch was taken already. */
  taken: boolean;
  sawElse: boolean;
  /** It is the first thing in its file, and asks that this name is not defined. */
  guard: Name | null;
}

export interface OpenFile {
  readonly lexer: Lexer;
  readonly conditionals: Conditional[];
  /** Index of the directory where it was found. */
  readonly directory: number;
  /** Something stands outside of the include guard. */
  outside: boolean;
  guard: Name | null;
}

export abstract class FileStack extends MacroExpander {
  protected readonly names: IdentifierTable;
  protected readonly search: HeaderSearch;
  protected readonly files: OpenFile[] = [];
  protected readonly guards = new Map<SourceText, Name>();
  protected readonly onlyOnce = new Set<SourceText>();
  constructor(sources: SourceManager, sink: DiagnosticSink, names: IdentifierTable, search: HeaderSearch) {
    super(sources, sink);
    this.names = names;
    this.search = search;
  }

  /** A directive: `hash` was read. May give a token for the parser. */
  protected abstract directive(lexer: Lexer, hash: PPToken): PPToken | null;
  /** For output that shows where files begin and end. */
  protected fileChanged(): void {}

  protected get file(): OpenFile | undefined {
    return this.files.at(-1);
  }

  get includeDepth(): number {
    return this.files.length - 1;
  }

  protected enterFile(source: SourceText, from: Location, system: boolean, directory: number): void {
    const file = this.sources.addFile(source, from, system);
    this.files.push({
      lexer: new Lexer(file, this.names, this.sink),
      conditionals: [],
      directory,
      outside: false,
      guard: null,
    });
    this.fileChanged();
  }

  /** Leaves the only file open, when it is at its end. */
  protected forgetFiles(): void {
    this.files.length = 0;
  }

  protected override fileNextIsParenthesis(): boolean {
    return this.files.at(-1)?.lexer.nextIsParenthesis() ?? false;
  }

  protected override fileToken(): PPToken {
    for (;;) {
      const file = this.files[this.files.length - 1]!;
      if (this.sink.stopped) return this.endToken(file.lexer);
      const { lexer } = file;
      const token = lexer.lex();
      if (token.kind === 'eof') {
        if (lexer.directive) return token;
        if (!this.leaveFile(file)) return token;
        continue;
      }
      if (token.startOfLine && token.kind === 'punct' && token.text === '#' && !lexer.directive) {
        const made = this.directive(lexer, token);
        if (made !== null) return made;
        continue;
      }
      file.outside = true;
      return token;
    }
  }

  protected endToken(lexer: Lexer): PPToken {
    return new PPToken('eof', '', lexer.location(lexer.at), false, false, null);
  }

  /** False at the end of the main file, which stays open. */
  private leaveFile(file: OpenFile): boolean {
    for (const open of file.conditionals.splice(0).reverse())
      this.sink.error('conditional', 'unterminated conditional directive', open.location);
    const { source } = file.lexer.file;
    if (file.guard !== null && !file.outside) this.guards.set(source, file.guard);
    if (this.files.length === 1) return false;
    this.files.pop();
    this.fileChanged();
    return true;
  }

  /** `#pragma once` in the file being read. */
  protected readOnce(): void {
    const file = this.file;
    if (file !== undefined) this.onlyOnce.add(file.lexer.file.source);
  }
}
