/**
 * Expressions of the debugger: C's, as far as they look and do not change. Operators and their order are those of C11 section 6.5;
 * `$r0` to `$r10`, `$fp` and `$pc` are registers, `map[key]` is the value of a map's key.
 */
import { BpfError } from '../../util/errors.ts';

export type Expression =
  | { readonly kind: 'number'; readonly value: bigint }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'register'; readonly name: string }
  | { readonly kind: 'unary'; readonly op: string; readonly of: Expression }
  | { readonly kind: 'binary'; readonly op: string; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'choice'; readonly if: Expression; readonly then: Expression; readonly else: Expression }
  | { readonly kind: 'member'; readonly of: Expression; readonly name: string }
  | { readonly kind: 'index'; readonly of: Expression; readonly index: Expression }
  | { readonly kind: 'cast'; readonly type: TypeName; readonly of: Expression }
  | { readonly kind: 'sizeof'; readonly type: TypeName };

/** `struct event *` */
export interface TypeName {
  readonly tag: 'struct' | 'union' | 'enum' | undefined;
  readonly name: string;
  readonly pointers: number;
}

const TOKEN =
  /\s*(?:(0[xX][0-9a-fA-F]+|\d+)[uUlL]*|'((?:\\.|[^'\\]))'|"((?:\\.|[^"\\])*)"|(\$\w+)|([A-Za-z_]\w*)|(->|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>()[\].?:]))/y;

const BINARY: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['|'],
  ['^'],
  ['&'],
  ['==', '!='],
  ['<', '>', '<=', '>='],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
];

/** Words of C's integer types; what they come to is found by `baseTypeName`. */
const TYPE_WORDS = new Set([
  ...['char', 'short', 'int', 'long', 'unsigned', 'signed', 'void', '_Bool', 'bool', 'const', 'volatile'],
]);
const MAX_DEPTH = 100;

interface Token {
  readonly kind: 'number' | 'char' | 'string' | 'register' | 'name' | 'op' | 'end';
  readonly text: string;
  readonly at: number;
}

function tokens(text: string): Token[] {
  const found: Token[] = [];
  const kinds = ['number', 'char', 'string', 'register', 'name', 'op'] as const;
  TOKEN.lastIndex = 0;
  for (let at = 0; text.slice(at).trim() !== ''; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null)
      throw new BpfError('EINVAL', `'${text.slice(at).trim()}' is no part of an expression`);
    const group = match.slice(1).findIndex((one) => one !== undefined);
    found.push({ kind: kinds[group]!, text: match[group + 1]!, at });
  }
  found.push({ kind: 'end', text: 'the end', at: text.length });
  return found;
}

/** Throws EINVAL, saying what was expected. `isType`: whether a name is one of a type (a typedef). */
export function parseExpression(text: string, isType: (name: string) => boolean = () => false): Expression {
  const parser = new Parser(tokens(text), isType);
  const expression = parser.choice(0);
  parser.end();
  return expression;
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #isType: (name: string) => boolean;
  #next = 0;

  constructor(list: readonly Token[], isType: (name: string) => boolean) {
    this.#tokens = list;
    this.#isType = isType;
  }

  get #token(): Token {
    return this.#tokens[this.#next]!;
  }

  #take(op: string): boolean {
    const { kind, text } = this.#token;
    if (kind !== 'op' || text !== op) return false;
    this.#next++;
    return true;
  }

  #expect(op: string): void {
    if (!this.#take(op)) throw new BpfError('EINVAL', `'${op}' is expected before '${this.#token.text}'`);
  }

  end(): void {
    if (this.#token.kind !== 'end')
      throw new BpfError('EINVAL', `the expression ends before '${this.#token.text}'`);
  }

  choice(depth: number): Expression {
    if (depth > MAX_DEPTH) throw new BpfError('E2BIG', 'the expression is nested too deeply');
    const condition = this.#binary(0, depth + 1);
    if (!this.#take('?')) return condition;
    const then = this.choice(depth + 1);
    this.#expect(':');
    return { kind: 'choice', if: condition, then, else: this.choice(depth + 1) };
  }

  #binary(level: number, depth: number): Expression {
    const ops = BINARY[level];
    if (ops === undefined) return this.#unary(depth);
    let left = this.#binary(level + 1, depth);
    for (;;) {
      const op = ops.find((one) => this.#take(one));
      if (op === undefined) return left;
      left = { kind: 'binary', op, left, right: this.#binary(level + 1, depth) };
    }
  }

  #unary(depth: number): Expression {
    if (depth > MAX_DEPTH) throw new BpfError('E2BIG', 'the expression is nested too deeply');
    for (const op of ['-', '+', '!', '~', '*', '&'])
      if (this.#take(op)) return { kind: 'unary', op, of: this.#unary(depth + 1) };
    if (this.#token.kind === 'name' && this.#token.text === 'sizeof') {
      this.#next++;
      this.#expect('(');
      const type = this.#typeName();
      this.#expect(')');
      return { kind: 'sizeof', type };
    }
    const after = this.#tokens[this.#next + 1];
    if (
      this.#token.text === '(' &&
      this.#token.kind === 'op' &&
      after?.kind === 'name' &&
      this.#startsType(after)
    ) {
      this.#next++;
      const type = this.#typeName();
      this.#expect(')');
      return { kind: 'cast', type, of: this.#unary(depth + 1) };
    }
    return this.#postfix(depth);
  }

  #startsType({ text }: Token): boolean {
    return TYPE_WORDS.has(text) || ['struct', 'union', 'enum'].includes(text) || this.#isType(text);
  }

  #typeName(): TypeName {
    const names: string[] = [];
    let tag: TypeName['tag'];
    while (this.#token.kind === 'name') {
      const { text } = this.#token;
      if (text === 'struct' || text === 'union' || text === 'enum') tag = text;
      else if (text !== 'const' && text !== 'volatile') names.push(text);
      this.#next++;
    }
    if (names.length === 0) throw new BpfError('EINVAL', `a type is expected before '${this.#token.text}'`);
    let pointers = 0;
    while (this.#take('*')) pointers++;
    return { tag, name: names.join(' '), pointers };
  }

  #postfix(depth: number): Expression {
    let of = this.#primary(depth);
    for (;;) {
      if (this.#take('[')) {
        of = { kind: 'index', of, index: this.choice(depth + 1) };
        this.#expect(']');
      } else if (this.#take('.') || this.#take('->')) {
        const { kind, text } = this.#token;
        if (kind !== 'name') throw new BpfError('EINVAL', `a member is expected before '${text}'`);
        this.#next++;
        of = { kind: 'member', of, name: text };
      } else return of;
    }
  }

  #primary(depth: number): Expression {
    const { kind, text } = this.#token;
    if (this.#take('(')) {
      const inner = this.choice(depth + 1);
      this.#expect(')');
      return inner;
    }
    this.#next++;
    switch (kind) {
      case 'number':
        return { kind: 'number', value: BigInt(text) };
      case 'char':
        return { kind: 'number', value: BigInt(text.at(-1)!.codePointAt(0) ?? 0) };
      case 'string':
        return { kind: 'text', value: text };
      case 'register':
        return { kind: 'register', name: text.slice(1) };
      case 'name':
        return { kind: 'name', name: text };
      default:
        throw new BpfError('EINVAL', `a value is expected before '${text}'`);
    }
  }
}
