/**
 * Places in source text. A `Location` is one integer, so that a token or a tree node carries it for free; the `SourceManager` that
 * handed it out says which file, line, column, include and macro expansions stand behind it.
 *
 * Below `FIRST_MACRO_LOCATION` it is a position in the concatenation of all files read (an included file appears once an inclusion);
 * from there on it is the number of a token that a macro expansion made. Add an offset only to the first kind.
 */
export type Location = number;

/** Nowhere: command line, the end of everything. */
export const NO_LOCATION: Location = 0;
/** Limit of all source text together, in UTF-16 units. */
export const FIRST_MACRO_LOCATION = 0x2000_0000;
/** Limit of the locations together; below 2^30, where engines keep integers unboxed. */
export const LAST_LOCATION = 0x3fff_ffff;

/** A range of tokens: both ends are where a token *starts*, the last token belongs to the range. */
export interface SourceRange {
  readonly begin: Location;
  readonly end: Location;
}

/** A location as people read it. `#line` directives are followed; `physicalLine` is the line of the text itself. */
export interface Position {
  readonly path: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based, in bytes of UTF-8, as clang and `.BTF.ext` count. */
  readonly column: number;
  readonly physicalLine: number;
  /** The whole line, without its newline. */
  readonly text: string;
}

export function isMacroLocation(location: Location): boolean {
  return location >= FIRST_MACRO_LOCATION;
}
