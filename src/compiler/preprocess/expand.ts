/**
 * Macro expansion (C11 6.10.3.1 to 6.10.3.4), with the rules clang follows where the standard leaves room.
 *
 * Tokens come from a stack of lists over the file. A macro is `active` while its list is on the stack; its name met meanwhile is
 * painted (`noExpand`) for good. A list is left only when the token after its end is asked for, so `f` at the end of an expansion of
 * `f` stays painted even when its `(` follows outside. Arguments are expanded on a list of their own that nothing reads across.
 */
import type { DiagnosticSink, Location, SourceManager } from '../source/index.ts';
import { isMacroLocation } from '../source/index.ts';
import { type BodyElement, type Macro, PPToken } from './macro.ts';

/** Most tokens that all expansions of a compilation may make together, and deepest nesting of calls in arguments. */
const MOST_MACRO_TOKENS = 4_000_000;
const DEEPEST_ARGUMENTS = 400;

interface TokenList {
  readonly tokens: readonly PPToken[];
  at: number;
  readonly macro: Macro | null;
  /** Nothing is read from below: the list is an argument. */
  readonly barrier: boolean;
  /** White space stood before the macro's end that no token took. */
  readonly trailingSpace: boolean;
}

interface Argument {
  readonly tokens: PPToken[];
  expanded: PPToken[] | null;
}

interface Arguments {
  readonly list: readonly Argument[];
  /** The variadic argument was left out altogether. */
  readonly elided: boolean;
  readonly close: Location;
}

/** The token that pasting made, or null where the text is not exactly one. */
export type LexOne = (text: string, location: Location) => PPToken | null;

export abstract class MacroExpander {
  protected readonly sources: SourceManager;
  protected readonly sink: DiagnosticSink;
  private readonly lists: TokenList[] = [];
  private made = 0;
  private depth = 0;
  private pendingSpace = false;
  private pendingLine = false;

  constructor(sources: SourceManager, sink: DiagnosticSink) {
    this.sources = sources;
    this.sink = sink;
  }

  /** The next token of the file, directives carried out; `eof` at the end, and at the end of the line in a directive. */
  protected abstract fileToken(): PPToken;
  protected abstract fileNextIsParenthesis(): boolean;
  protected abstract lexOne(text: string, location: Location): PPToken | null;

  /** No macro's tokens are left: what comes next comes from the file. */
  protected get atFile(): boolean {
    for (let i = this.lists.length - 1; i >= 0; i--) {
      const list = this.lists[i]!;
      if (list.at < list.tokens.length || list.barrier) return false;
    }
    return true;
  }

  /** Nothing stands between the file and who asks for tokens. */
  protected get untouched(): boolean {
    return this.lists.length === 0 && !this.pendingSpace && !this.pendingLine && !this.sink.stopped;
  }

  /** Forgets what is left of expansions: they belonged to the line of a directive. */
  protected dropMacros(): void {
    for (const list of this.lists.splice(0)) if (list.macro !== null) list.macro.active = false;
    this.pendingSpace = false;
    this.pendingLine = false;
  }

  /** Tokens to be read before anything else; macros in them are expanded. */
  protected pushTokens(tokens: readonly PPToken[]): void {
    this.lists.push({ tokens, at: 0, macro: null, barrier: false, trailingSpace: false });
  }

  /** The next token as it is, not expanded. */
  protected raw(): PPToken {
    const { lists } = this;
    if (this.sink.stopped) return this.end();
    while (lists.length > 0) {
      const top = lists[lists.length - 1]!;
      if (top.at < top.tokens.length) return this.spaced(top.tokens[top.at++]!);
      if (top.barrier) return this.end();
      lists.pop();
      if (top.macro !== null) top.macro.active = false;
      if (top.trailingSpace) this.pendingSpace = true;
    }
    const token = this.fileToken();
    return this.pendingSpace || this.pendingLine ? this.spaced(token) : token;
  }

  private end(): PPToken {
    return new PPToken('eof', '', 0, false, false, null);
  }

  /** Gives the white space before a macro that came to nothing to the token after it. */
  private spaced(token: PPToken): PPToken {
    if (this.pendingSpace) token.leadingSpace = true;
    if (this.pendingLine) token.startOfLine = true;
    this.pendingSpace = false;
    this.pendingLine = false;
    return token;
  }

  /** The next token with macros expanded. */
  protected expanded(): PPToken {
    for (;;) {
      const token = this.raw();
      const { name } = token;
      if (name === null) return token;
      if (name.poisoned) this.reportPoisoned(token);
      const { macro } = name;
      if (macro === null || token.noExpand) return token;
      if (macro.active) {
        token.noExpand = true;
        return token;
      }
      if (macro.builtin !== null) {
        const value = macro.builtin(token);
        if (value === null) continue;
        if (value === token) return token;
        value.leadingSpace = token.leadingSpace;
        value.startOfLine = token.startOfLine;
        return value;
      }
      if (macro.parameters !== null && !this.nextIsParenthesis()) return token;
      const single = this.enter(token, macro);
      if (single !== null) return single;
    }
  }

  private reportPoisoned(token: PPToken): void {
    if (isMacroLocation(token.location)) return;
    this.sink.error('poisoned', 'attempt to use a poisoned identifier', token.location);
  }

  protected nextIsParenthesis(): boolean {
    for (let i = this.lists.length - 1; i >= 0; i--) {
      const list = this.lists[i]!;
      const next = list.tokens[list.at];
      if (next !== undefined) return next.kind === 'punct' && next.text === '(';
      if (list.barrier) return false;
    }
    return this.fileNextIsParenthesis();
  }

  /** Replaces a macro's name by its body. Gives a token back when the call is wrong. */
  private enter(name: PPToken, macro: Macro): PPToken | null {
    macro.used = true;
    let args: Arguments | null = null;
    if (macro.parameters !== null) {
      const read = this.readArguments(name, macro);
      if (read === null) return name;
      if (read instanceof PPToken) return read;
      args = read;
    }
    const substitution = new Substitution(
      this.sources,
      name.location,
      macro,
      args,
      this.preExpand,
      this.paste,
    );
    const tokens = substitution.run();
    this.charge(substitution.cost, name);
    const first = tokens[0];
    if (first === undefined) {
      if (name.leadingSpace || substitution.space) this.pendingSpace = true;
      if (name.startOfLine) this.pendingLine = true;
      // An empty list has to be left like any other: until then the macro is active.
    } else {
      first.leadingSpace = name.leadingSpace;
      first.startOfLine = name.startOfLine;
    }
    macro.active = true;
    this.lists.push({
      tokens,
      at: 0,
      macro,
      barrier: false,
      trailingSpace: first !== undefined && substitution.space,
    });
    return null;
  }

  private charge(tokens: number, at: PPToken): void {
    this.made += tokens + 1;
    if (this.made > MOST_MACRO_TOKENS)
      this.sink.fatal('macro-expansion-limit', 'macro expansion makes too many tokens', at.location);
  }

  /** The end of the text where the call is open, null where the number of arguments is wrong; both were reported. */
  private readArguments(name: PPToken, macro: Macro): Arguments | PPToken | null {
    const parameters = macro.parameters!;
    const list: Argument[] = [];
    let close = this.raw();
    let left = parameters.length;
    const defined = { message: `macro '${macro.name}' defined here`, location: macro.location };
    let extra: PPToken | null = null;
    while (!(close.kind === 'punct' && close.text === ')')) {
      const tokens: PPToken[] = [];
      let depth = 0;
      for (;;) {
        close = this.raw();
        if (close.kind === 'eof') {
          if (!this.sink.stopped)
            this.sink.error(
              'macro-unterminated',
              'unterminated function-like macro invocation',
              name.location,
              macro.location === 0 ? {} : { notes: [defined] },
            );
          // What was swallowed is gone.
          return close;
        }
        if (close.kind === 'punct') {
          if (close.text === '(') depth++;
          else if (close.text === ')') {
            if (depth === 0) break;
            depth--;
          } else if (close.text === ',' && depth === 0 && (!macro.variadic || left > 1)) break;
        } else if (close.name?.macro?.active === true) close.noExpand = true;
        if (close.startOfLine) {
          // Lines mean nothing inside of a call: a new line is white space.
          close.startOfLine = false;
          close.leadingSpace = true;
        }
        tokens.push(close);
      }
      if (list.length === 0 && tokens.length === 0 && close.text === ')') break;
      if (left === 0 && !macro.variadic && extra === null) extra = tokens[0] ?? close;
      list.push({ tokens, expanded: null });
      this.charge(tokens.length, name);
      left--;
    }
    const wanted = parameters.length;
    let elided = false;
    if (list.length < wanted) {
      if (list.length === 0 && wanted === 1) elided = macro.variadic;
      else if (macro.variadic && (list.length + 1 === wanted || (list.length === 0 && wanted === 2)))
        elided = true;
      else {
        this.sink.error(
          'macro-arguments',
          'too few arguments provided to function-like macro invocation',
          close.location,
          { notes: [defined] },
        );
        return null;
      }
      while (list.length < wanted) list.push({ tokens: [], expanded: null });
    } else if (list.length > wanted) {
      this.sink.error(
        'macro-arguments',
        'too many arguments provided to function-like macro invocation',
        (extra ?? close).location,
        { notes: [defined] },
      );
      return null;
    }
    return { list, elided, close: close.location };
  }

  private readonly preExpand = (argument: Argument): PPToken[] => {
    if (argument.expanded !== null) return argument.expanded;
    if (!argument.tokens.some((token) => token.name?.macro != null && !token.noExpand)) {
      argument.expanded = argument.tokens;
      return argument.tokens;
    }
    const expanded: PPToken[] = [];
    argument.expanded = expanded;
    if (this.depth >= DEEPEST_ARGUMENTS) {
      this.sink.fatal(
        'macro-nesting',
        `macro calls nested in arguments deeper than ${DEEPEST_ARGUMENTS}`,
        argument.tokens[0]!.location,
      );
      return expanded;
    }
    this.depth++;
    const space = this.pendingSpace;
    const line = this.pendingLine;
    this.pendingSpace = false;
    this.pendingLine = false;
    // The tokens are copied: `noExpand` painted here must not show in `#` and `##` of the same argument.
    const tokens = argument.tokens.map((token) => token.copy(token.location));
    const floor = this.lists.length;
    this.lists.push({ tokens, at: 0, macro: null, barrier: true, trailingSpace: false });
    for (;;) {
      const token = this.expanded();
      if (token.kind === 'eof') break;
      expanded.push(token);
      if (this.sink.stopped) break;
    }
    while (this.lists.length > floor) {
      const list = this.lists.pop()!;
      if (list.macro !== null) list.macro.active = false;
    }
    this.pendingSpace = space;
    this.pendingLine = line;
    this.depth--;
    return expanded;
  };

  private readonly paste = (left: PPToken, right: PPToken, at: Location): PPToken | null => {
    const text = written(this.sources, left) + written(this.sources, right);
    const token = this.lexOne(text, left.location);
    if (token === null) {
      this.sink.error('macro-paste', `pasting formed '${text}', an invalid preprocessing token`, at);
      return null;
    }
    token.leadingSpace = left.leadingSpace;
    token.startOfLine = left.startOfLine;
    return token;
  };
}

/** One expansion of one macro: the body with arguments put in, strings made and tokens pasted. */
class Substitution {
  /** Tokens made, with long strings and names counted for more. */
  cost = 0;
  /** White space after the last token, from arguments that came to nothing. */
  space = false;
  private readonly sources: SourceManager;
  private readonly at: Location;
  private readonly macro: Macro;
  private readonly args: Arguments | null;
  private readonly preExpand: (argument: Argument) => PPToken[];
  private readonly pasteTokens: (left: PPToken, right: PPToken, at: Location) => PPToken | null;

  constructor(
    sources: SourceManager,
    at: Location,
    macro: Macro,
    args: Arguments | null,
    preExpand: (argument: Argument) => PPToken[],
    paste: (left: PPToken, right: PPToken, at: Location) => PPToken | null,
  ) {
    this.sources = sources;
    this.at = at;
    this.macro = macro;
    this.args = args;
    this.preExpand = preExpand;
    this.pasteTokens = paste;
  }

  run(): PPToken[] {
    return this.pasted(this.elements(this.macro.body), this.macro.plain);
  }

  private bodyLocation(token: PPToken): Location {
    this.cost++;
    return this.sources.addMacroToken(token.location, this.at, false, this.args?.close ?? this.at);
  }

  /** The body with arguments in place of parameters; `##` operators stay, as tokens of the kind `other`. */
  private elements(body: readonly BodyElement[]): PPToken[] {
    const result: PPToken[] = [];
    let space = false;
    for (let i = 0; i < body.length; i++) {
      const element = body[i]!;
      const { token } = element;
      const pasteBefore = i > 0 && body[i - 1]!.kind === 'paste';
      const pasteAfter = body[i + 1]?.kind === 'paste';
      if (i > 0 && !pasteBefore && token.leadingSpace) space = true;
      switch (element.kind) {
        case 'paste':
          space = false;
          result.push(new PPToken('other', PASTE, this.bodyLocation(token), false, false, null));
          continue;
        case 'token': {
          const lone = pasteBefore && !endsInPaste(result);
          const made = token.copy(this.bodyLocation(token));
          made.startOfLine = false;
          if (space) made.leadingSpace = true;
          else if (lone) made.leadingSpace = false;
          space = false;
          result.push(made);
          continue;
        }
        case 'stringify': {
          const made = this.string(this.args!.list[element.parameter]!.tokens, token);
          made.leadingSpace = space;
          space = false;
          result.push(made);
          continue;
        }
        case 'parameter': {
          const argument = this.args!.list[element.parameter]!;
          if (!pasteBefore && !pasteAfter) {
            const first = result.length;
            this.append(result, this.preExpand(argument), token);
            if (result.length > first) {
              result[first]!.leadingSpace = space;
              space = false;
            }
            continue;
          }
          const kept = this.raw(result, argument.tokens, element, pasteAfter, space);
          if (kept === SKIP_PASTE) i++;
          if (kept !== NOTHING && kept !== SKIP_PASTE) space = false;
          continue;
        }
        case 'optional': {
          const variadic = this.args!.list.at(-1)!;
          const present = this.preExpand(variadic).length > 0;
          let inner: PPToken[] = [];
          if (present) inner = this.pasted(this.elements(element.body!), false);
          if (element.stringified === true) {
            const made = this.string(inner, token);
            made.leadingSpace = space;
            space = false;
            result.push(made);
            continue;
          }
          if (inner.length > 0) {
            inner[0]!.leadingSpace = space;
            space = false;
            for (const one of inner) result.push(one);
          } else if (pasteAfter) i++;
          else if (pasteBefore && endsInPaste(result)) result.pop();
          continue;
        }
      }
    }
    if (space) this.space = true;
    return result;
  }

  /** An argument next to `##`: as written. An empty one takes the operator with it. */
  private raw(
    result: PPToken[],
    tokens: readonly PPToken[],
    element: BodyElement,
    pasteAfter: boolean,
    space: boolean,
  ): typeof NOTHING | typeof SKIP_PASTE | typeof KEPT {
    const variadic = this.macro.variadic && element.parameter === this.macro.parameters!.length - 1;
    if (tokens.length > 0) {
      // `, ## __VA_ARGS__` of GNU: nothing is pasted, the comma stays.
      if (variadic && endsInPaste(result) && isComma(result[result.length - 2])) result.pop();
      const first = result.length;
      this.append(result, tokens, element.token);
      result[first]!.leadingSpace = space;
      return KEPT;
    }
    if (pasteAfter) return SKIP_PASTE;
    if (endsInPaste(result)) result.pop();
    if (variadic && this.args!.elided && isComma(result.at(-1))) {
      result.pop();
      if (endsInPaste(result)) result.pop();
      return KEPT;
    }
    return NOTHING;
  }

  private append(result: PPToken[], tokens: readonly PPToken[], parameter: PPToken): void {
    if (tokens.length === 0) return;
    const place = this.bodyLocation(parameter);
    for (const token of tokens) {
      this.cost++;
      result.push(token.copy(this.sources.addMacroToken(token.location, place, true)));
    }
  }

  /** `#`: the tokens as a string literal, white space between them as one space. */
  private string(tokens: readonly PPToken[], operator: PPToken): PPToken {
    let text = '"';
    tokens.forEach((token, i) => {
      if (i > 0 && (token.leadingSpace || token.startOfLine)) text += ' ';
      const { sources } = this;
      if (token.kind === 'string' || token.kind === 'char') text += token.text.replace(/["\\]/g, '\\$&');
      // A backslash outside of literals stays as it is (C11 6.10.3.2p2).
      else if (token.kind === 'other') text += token.text.replace(/"/g, '\\"');
      else text += written(sources, token);
    });
    // A backslash before the closing quote would swallow it.
    const slashes = /\\*$/.exec(text)![0].length;
    if (slashes % 2 === 1) text = text.slice(0, -1);
    this.cost += text.length >>> 4;
    return new PPToken('string', `${text}"`, this.bodyLocation(operator), false, false, null);
  }

  /** Carries out the `##` between tokens. */
  private pasted(tokens: PPToken[], plain: boolean): PPToken[] {
    if (plain) return tokens;
    const result: PPToken[] = [];
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i]!;
      if (token.text !== PASTE) {
        result.push(token);
        continue;
      }
      const left = result.pop();
      let right = tokens[i + 1];
      // The right side of `## ##` is the operator itself.
      if (right?.text === PASTE) right = new PPToken('punct', '##', right.location, false, false, null);
      if (left === undefined || right === undefined) {
        if (left !== undefined) result.push(left);
        continue;
      }
      i++;
      this.cost += (left.text.length + right.text.length) >>> 4;
      const made = this.pasteTokens(left, right, token.location);
      if (made !== null) result.push(made);
      else result.push(left, right);
    }
    return result;
  }
}

/** The text of a `##` that operates, unlike any token's. */
const PASTE = '\0##';
const NOTHING = 0;
const SKIP_PASTE = 1;
const KEPT = 2;

const DIGRAPHS: Readonly<Record<string, string>> = {
  '[': '<:',
  ']': ':>',
  '{': '<%',
  '}': '%>',
  '#': '%:',
  '##': '%:%:',
};

/** Digraphs are written out as they are spelled (C11 6.4.6p3). */
function written(sources: SourceManager, token: PPToken): string {
  const digraph = token.kind === 'punct' ? DIGRAPHS[token.text] : undefined;
  if (digraph === undefined) return token.text;
  const written = sources.spelledText(token.location);
  return written[0] === digraph[0] ? digraph : token.text;
}

function endsInPaste(tokens: readonly PPToken[]): boolean {
  return tokens.length > 0 && tokens[tokens.length - 1]!.text === PASTE;
}

function isComma(token: PPToken | undefined): boolean {
  return token !== undefined && token.kind === 'punct' && token.text === ',';
}
