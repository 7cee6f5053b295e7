/** Reads what follows `#define` (C11 6.10.3): name, parameters, body with its operators; and compares two definitions. */
import type { DiagnosticSink } from '../source/index.ts';
import type { BodyElement, Macro, PPToken } from './macro.ts';

const VA_ARGS = '__VA_ARGS__';
const VA_OPT = '__VA_OPT__';

/** Most parameters of a macro; C asks for 127, and nobody needs this many. */
const MOST_PARAMETERS = 0xffff;

interface Parameters {
  readonly names: string[];
  readonly variadic: boolean;
}

/** `read` gives the tokens of the line without expanding them, then `eof`. Null when the definition is wrong; that was reported. */
export function readMacro(name: PPToken, read: () => PPToken, sink: DiagnosticSink): Macro | null {
  let token = read();
  let parameters: Parameters | null = null;
  if (token.kind === 'punct' && token.text === '(' && !token.leadingSpace) {
    parameters = readParameters(read, sink);
    if (parameters === null) return null;
    token = read();
  } else if (token.kind !== 'eof' && !token.leadingSpace)
    sink.warning('c99-compat', 'whitespace required after macro name', token.location);
  const tokens: PPToken[] = [];
  for (; token.kind !== 'eof'; token = read()) tokens.push(token);
  if (tokens[0] !== undefined) tokens[0].leadingSpace = false;
  const body = readBody(tokens, token, parameters, sink);
  if (body === null) return null;
  return {
    name: name.text,
    location: name.location,
    parameters: parameters?.names ?? null,
    variadic: parameters?.variadic ?? false,
    body,
    tokens,
    builtin: null,
    plain: !body.some((element) => element.kind === 'paste' || element.kind === 'optional'),
    active: false,
    used: false,
  };
}

function readParameters(read: () => PPToken, sink: DiagnosticSink): Parameters | null {
  const names: string[] = [];
  const fail = (message: string, at: PPToken): null => {
    sink.error('macro-parameters', message, at.location);
    return null;
  };
  let token = read();
  if (token.text === ')' && token.kind === 'punct') return { names, variadic: false };
  for (;;) {
    if (token.kind === 'eof') return fail("missing ')' in macro parameter list", token);
    if (token.kind === 'punct' && token.text === '...') {
      names.push(VA_ARGS);
      const close = read();
      if (close.text !== ')') return fail("missing ')' in macro parameter list", close);
      return { names, variadic: true };
    }
    if (token.name === null)
      return fail(
        token.text === ')'
          ? 'expected identifier in macro parameter list'
          : 'invalid token in macro parameter list',
        token,
      );
    if (token.text === VA_ARGS)
      sink.warning(
        'pedantic',
        `${VA_ARGS} can only appear in the expansion of a C99 variadic macro`,
        token.location,
      );
    if (names.includes(token.text)) return fail(`duplicate macro parameter name '${token.text}'`, token);
    if (names.length >= MOST_PARAMETERS) return fail('too many macro parameters', token);
    names.push(token.text);
    const next = read();
    if (next.kind === 'punct' && next.text === ')') return { names, variadic: false };
    if (next.kind === 'punct' && next.text === '...') {
      const close = read();
      if (close.text !== ')') return fail("missing ')' in macro parameter list", close);
      return { names, variadic: true };
    }
    if (next.kind === 'eof') return fail("missing ')' in macro parameter list", next);
    if (next.text !== ',') return fail('expected comma in macro parameter list', next);
    token = read();
  }
}

function readBody(
  tokens: readonly PPToken[],
  end: PPToken,
  parameters: Parameters | null,
  sink: DiagnosticSink,
): BodyElement[] | null {
  const index = new Map((parameters?.names ?? []).map((name, at) => [name, at]));
  const elements = readElements(tokens, end, parameters, index, sink);
  if (elements === null) return null;
  const first = tokens[0];
  const last = tokens.at(-1);
  if (first !== undefined && isPaste(first)) {
    sink.error('macro-paste', "'##' cannot appear at start of macro expansion", first.location);
    return null;
  }
  if (last !== undefined && isPaste(last)) {
    sink.error('macro-paste', "'##' cannot appear at end of macro expansion", last.location);
    return null;
  }
  return elements;
}

function readElements(
  tokens: readonly PPToken[],
  end: PPToken,
  parameters: Parameters | null,
  index: ReadonlyMap<string, number>,
  sink: DiagnosticSink,
): BodyElement[] | null {
  const elements: BodyElement[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (isPaste(token)) {
      elements.push({ kind: 'paste', token, parameter: -1 });
      continue;
    }
    if (parameters !== null && token.kind === 'punct' && token.text === '#') {
      const next = tokens[i + 1];
      const parameter = next?.name == null ? undefined : index.get(next.text);
      if (parameter !== undefined) {
        elements.push({ kind: 'stringify', token, parameter });
        i++;
        continue;
      }
      if (!parameters.variadic || next?.text !== VA_OPT) {
        sink.error('macro-stringify', "'#' is not followed by a macro parameter", (next ?? end).location);
        return null;
      }
    }
    const stringified = parameters !== null && token.kind === 'punct' && token.text === '#';
    if (parameters?.variadic === true && (stringified || (token.name !== null && token.text === VA_OPT))) {
      const start = stringified ? i + 2 : i + 1;
      const close = closing(tokens, start);
      if (close < 0) {
        const missing = tokens[start]?.text === '(';
        sink.error(
          'macro-va-opt',
          missing ? 'unterminated __VA_OPT__' : "missing '(' following __VA_OPT__",
          token.location,
        );
        return null;
      }
      const inside = tokens.slice(start + 1, close);
      const wrong = [inside[0], inside.at(-1)].find((one) => one !== undefined && isPaste(one));
      if (wrong !== undefined || inside.some((one) => one.name !== null && one.text === VA_OPT)) {
        sink.error(
          'macro-va-opt',
          wrong === undefined
            ? '__VA_OPT__ cannot be nested within its own replacement tokens'
            : `'##' cannot appear at ${wrong === inside[0] ? 'start' : 'end'} of __VA_OPT__ argument`,
          (wrong ?? token).location,
        );
        return null;
      }
      const body = readElements(inside, tokens[close]!, parameters, index, sink);
      if (body === null) return null;
      elements.push({ kind: 'optional', token, parameter: -1, body, stringified });
      i = close;
      continue;
    }
    const parameter = token.name === null ? undefined : index.get(token.text);
    if (parameter !== undefined) elements.push({ kind: 'parameter', token, parameter });
    else {
      if (token.name !== null && token.text === VA_ARGS)
        sink.warning(
          'pedantic',
          `${VA_ARGS} can only appear in the expansion of a C99 variadic macro`,
          token.location,
        );
      elements.push({ kind: 'token', token, parameter: -1 });
    }
  }
  return elements;
}

/** Index of the `)` that closes the `(` at `open`; -1 when there is none. */
function closing(tokens: readonly PPToken[], open: number): number {
  if (tokens[open]?.text !== '(' || tokens[open]?.kind !== 'punct') return -1;
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    if (tokens[i]!.kind !== 'punct') continue;
    if (tokens[i]!.text === '(') depth++;
    else if (tokens[i]!.text === ')' && --depth === 0) return i;
  }
  return -1;
}

function isPaste(token: PPToken): boolean {
  return token.kind === 'punct' && token.text === '##';
}

/** Equal as C11 6.10.3p2 asks: same parameters, same tokens, white space in the same places. */
export function sameMacro(one: Macro, other: Macro): boolean {
  if (one.builtin !== null || other.builtin !== null) return one.builtin === other.builtin;
  if (one.variadic !== other.variadic || one.tokens.length !== other.tokens.length) return false;
  if ((one.parameters === null) !== (other.parameters === null)) return false;
  if (one.parameters?.join() !== other.parameters?.join()) return false;
  return one.tokens.every((token, i) => {
    const second = other.tokens[i]!;
    return (
      token.kind === second.kind && token.text === second.text && token.leadingSpace === second.leadingSpace
    );
  });
}
