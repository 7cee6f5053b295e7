/** What a macro is: its parameters and its body, ready to be substituted. Reading one from a `#define` is `define.ts`. */
import type { Location } from '../source/index.ts';
import type { Token, TokenKind, Word } from './token.ts';

/** A name as tokens carry it; the table behind it is `identifiers.ts`. */
export interface Name extends Word {
  macro: Macro | null;
  poisoned: boolean;
}

/** A token inside the preprocessor: what the parser sees, and what macro expansion needs besides. */
export class PPToken implements Token {
  kind: TokenKind;
  text: string;
  location: Location;
  leadingSpace: boolean;
  startOfLine: boolean;
  name: Name | null;
  /** Met while its own macro was being expanded: never expanded any more (C11 6.10.3.4p2). */
  noExpand = false;
  tokens?: readonly PPToken[];

  constructor(
    kind: TokenKind,
    text: string,
    location: Location,
    leadingSpace: boolean,
    startOfLine: boolean,
    name: Name | null,
  ) {
    this.kind = kind;
    this.text = text;
    this.location = location;
    this.leadingSpace = leadingSpace;
    this.startOfLine = startOfLine;
    this.name = name;
  }

  copy(location: Location): PPToken {
    const made = new PPToken(this.kind, this.text, location, this.leadingSpace, this.startOfLine, this.name);
    made.noExpand = this.noExpand;
    if (this.tokens !== undefined) made.tokens = this.tokens;
    return made;
  }
}

/**
 * One element of a macro's body, as written: `token` stands for itself, `parameter` for an argument, `paste` is `##`, `stringify` is the
 * `#` before a parameter, `optional` a whole `__VA_OPT__( … )`.
 */
export interface BodyElement {
  readonly kind: 'token' | 'parameter' | 'paste' | 'stringify' | 'optional';
  readonly token: PPToken;
  /** Index of the parameter; -1 where there is none. */
  readonly parameter: number;
  /** Of an `optional`: what is between its parentheses, and whether `#` stands before it. */
  readonly body?: readonly BodyElement[];
  readonly stringified?: boolean;
}

/** A macro that computes its tokens: `__LINE__`, `__has_builtin`. */
export type BuiltinMacro = (name: PPToken) => PPToken | null;

export interface Macro {
  readonly name: string;
  readonly location: Location;
  /** Null for object-like macros. The last one is the variadic parameter (`__VA_ARGS__` or a name) where `variadic`. */
  readonly parameters: readonly string[] | null;
  readonly variadic: boolean;
  readonly body: readonly BodyElement[];
  /** The body as written, for comparing definitions and for `-dM`. */
  readonly tokens: readonly PPToken[];
  readonly builtin: BuiltinMacro | null;
  /** No `##` in the body. */
  readonly plain: boolean;
  /** Being expanded right now. */
  active: boolean;
  used: boolean;
}
