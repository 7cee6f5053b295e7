/** Preprocessed text for `-E`, and the list of macros for `-dM`. */
import type { SourceManager } from '../source/index.ts';
import type { Macro, PPToken } from './macro.ts';
import type { Token, TokenSource } from './token.ts';

/** Tokens that would read as one, or as another, without white space: two words, or operators that join. */
function joins(before: Token, after: Token): boolean {
  const left = before.text.at(-1)!;
  const right = after.text[0]!;
  if (/[\w$.\u0080-\uffff]/.test(left) && /[\w$."'\u0080-\uffff]/.test(right)) return true;
  return /[-+*/%&|^<>=!#.:]/.test(left) && /[-+*/%&|^<>=#.:]/.test(right);
}

/** All tokens as text, line for line as in the source where that is near; `markers`: with `# 12 "file"` lines (no `-P`). */
export function printPreprocessed(tokens: TokenSource, sources: SourceManager, markers: boolean): string {
  const lines: string[] = [];
  let line = '';
  let path = '';
  let number = 0;
  let before: Token | null = null;
  const flush = (): void => {
    if (line !== '') {
      lines.push(line);
      number++;
    }
    line = '';
    before = null;
  };
  for (let token = tokens.next(); token.kind !== 'eof'; token = tokens.next()) {
    if (token.startOfLine || token.kind === 'pragma') {
      flush();
      const place = markers ? sources.position(sources.expansion(token.location)) : null;
      if (place !== null && (place.path !== path || place.line !== number)) {
        if (place.path === path && place.line > number && place.line - number < 8)
          for (; number < place.line; number++) lines.push('');
        else lines.push(`# ${place.line} "${place.path.replace(/["\\]/g, '\\$&')}"`);
        path = place.path;
        number = place.line;
      }
      if (place !== null && token.kind !== 'pragma') line = ' '.repeat(Math.min(place.column - 1, 80));
    }
    if (token.kind === 'pragma') {
      lines.push(`#pragma ${token.text}`);
      number++;
      continue;
    }
    if (before !== null && (token.leadingSpace || joins(before, token))) line += ' ';
    line += token.text;
    before = token;
  }
  flush();
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function spelled(tokens: readonly PPToken[]): string {
  return tokens.map((token, i) => (i > 0 && token.leadingSpace ? ' ' : '') + token.text).join('');
}

/** `#define` lines of macros, by name. */
export function printMacros(macros: Iterable<Macro>): string {
  const lines = [...macros].map((macro) => {
    const names = macro.parameters?.map((name, i) => {
      if (!macro.variadic || i < macro.parameters!.length - 1) return name;
      return name === '__VA_ARGS__' ? '...' : `${name}...`;
    });
    const head = names === undefined ? macro.name : `${macro.name}(${names.join(',')})`;
    return `#define ${head} ${spelled(macro.tokens)}\n`;
  });
  return lines.sort().join('');
}
