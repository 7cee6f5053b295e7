/**
 * The controlling expression of `#if` (C11 6.10.1): integer constants of intmax_t and uintmax_t, 64 bits on BPF. Parts that `&&`, `||`
 * and `?:` leave out are parsed, and not complained about.
 */
import type { DiagnosticSink } from '../source/index.ts';
import { characterValue, numberValue } from './literals.ts';
import type { PPToken } from './macro.ts';

interface Value {
  readonly bits: bigint;
  readonly unsigned: boolean;
}

const ZERO: Value = { bits: 0n, unsigned: false };
const DEEPEST = 256;

const PRECEDENCE: Readonly<Record<string, number>> = {
  ',': 1,
  '?': 2,
  ':': -1,
  '||': 4,
  '&&': 5,
  '|': 6,
  '^': 7,
  '&': 8,
  '==': 9,
  '!=': 9,
  '<': 10,
  '<=': 10,
  '>': 10,
  '>=': 10,
  '<<': 11,
  '>>': 11,
  '+': 12,
  '-': 12,
  '*': 13,
  '/': 13,
  '%': 13,
};

/** `tokens` are expanded, `defined` is already worked out; `end` is the token after them, for places. False where it is wrong. */
export function evaluateCondition(tokens: readonly PPToken[], end: PPToken, sink: DiagnosticSink): boolean {
  const parser = new ConditionParser(tokens, end, sink);
  return parser.run();
}

class ConditionError extends Error {}

class ConditionParser {
  private readonly tokens: readonly PPToken[];
  private readonly end: PPToken;
  private readonly sink: DiagnosticSink;
  private at = 0;
  private depth = 0;

  constructor(tokens: readonly PPToken[], end: PPToken, sink: DiagnosticSink) {
    this.tokens = tokens;
    this.end = end;
    this.sink = sink;
  }

  run(): boolean {
    try {
      const value = this.binary(this.unary(true), 1, true);
      const rest = this.peek();
      if (rest.kind !== 'eof') {
        if (rest.text === ':' || rest.text === ')')
          this.fail('expected end of line in preprocessor expression', rest);
        this.fail('token is not a valid binary operator in a preprocessor subexpression', rest);
      }
      return value.bits !== 0n;
    } catch (error) {
      if (!(error instanceof ConditionError)) throw error;
      return false;
    }
  }

  private peek(): PPToken {
    return this.tokens[this.at] ?? this.end;
  }

  private take(): PPToken {
    const token = this.peek();
    this.at++;
    return token;
  }

  private fail(message: string, token: PPToken): never {
    this.sink.error('condition', message, token.location);
    throw new ConditionError(message);
  }

  private unary(live: boolean): Value {
    const token = this.take();
    if (++this.depth > DEEPEST) this.fail('preprocessor expression is nested too deeply', token);
    const value = this.unaryOf(token, live);
    this.depth--;
    return value;
  }

  private unaryOf(token: PPToken, live: boolean): Value {
    switch (token.kind) {
      case 'number': {
        const errors = this.sink.errors;
        const literal = numberValue(token.text, token.location, this.sink);
        if (literal === null || this.sink.errors > errors) throw new ConditionError('literal');
        if (literal.kind === 'float') this.fail('floating point literal in preprocessor expression', token);
        let { unsigned } = literal;
        if (!unsigned && literal.value > 0x7fff_ffff_ffff_ffffn) {
          if (literal.decimal && live)
            this.sink.warning(
              'implicitly-unsigned-literal',
              'integer literal is too large to be represented in a signed integer type, interpreting as unsigned',
              token.location,
            );
          unsigned = true;
        }
        return make(literal.value, unsigned);
      }
      case 'char':
        return make(characterValue(token.text, token.location, this.sink), /^[uU]/.test(token.text));
      case 'identifier':
        if (this.peek().kind === 'punct' && this.peek().text === '(')
          this.fail(`function-like macro '${token.text}' is not defined`, token);
        if (live)
          this.sink.warning('undef', `'${token.text}' is not defined, evaluates to 0`, token.location);
        return ZERO;
      case 'eof':
        return this.fail('expected value in expression', token);
      case 'punct':
        break;
      default:
        return this.fail('invalid token at start of a preprocessor expression', token);
    }
    switch (token.text) {
      case '(': {
        const value = this.binary(this.unary(live), 1, live);
        const close = this.take();
        if (close.kind !== 'punct' || close.text !== ')') {
          if (close.kind !== 'eof' && close.text !== ':')
            this.fail('token is not a valid binary operator in a preprocessor subexpression', close);
          this.sink.error('condition', "expected ')' in preprocessor expression", close.location, {
            notes: [{ message: "to match this '('", location: token.location }],
          });
          throw new ConditionError('parenthesis');
        }
        return value;
      }
      case '+':
        return this.unary(live);
      case '-': {
        const value = this.unary(live);
        if (live && !value.unsigned && value.bits === -0x8000_0000_0000_0000n) this.overflow(token);
        return make(-value.bits, value.unsigned);
      }
      case '~': {
        const value = this.unary(live);
        return make(~value.bits, value.unsigned);
      }
      case '!':
        return make(this.unary(live).bits === 0n ? 1n : 0n, false);
      default:
        return this.fail('invalid token at start of a preprocessor expression', token);
    }
  }

  private overflow(token: PPToken): void {
    this.sink.warning('integer-overflow', 'integer overflow in preprocessor expression', token.location);
  }

  /** Operators that bind at least as tightly as `least`. */
  private binary(first: Value, least: number, live: boolean): Value {
    let left = first;
    for (;;) {
      const operator = this.peek();
      const precedence = operator.kind === 'punct' ? (PRECEDENCE[operator.text] ?? 0) : 0;
      if (operator.kind === 'eof' || (operator.kind === 'punct' && /^[):]$/.test(operator.text))) return left;
      if (precedence === 0)
        this.fail('token is not a valid binary operator in a preprocessor subexpression', operator);
      if (precedence < least) return left;
      this.at++;
      if (operator.text === '?') {
        left = this.conditional(left, operator, live);
        continue;
      }
      const rightLive =
        live &&
        !(operator.text === '&&' && left.bits === 0n) &&
        !(operator.text === '||' && left.bits !== 0n);
      const right = this.binary(this.unary(rightLive), precedence + 1, rightLive);
      left = this.apply(operator, left, right, live);
    }
  }

  private conditional(condition: Value, question: PPToken, live: boolean): Value {
    const chosen = condition.bits !== 0n;
    if (++this.depth > DEEPEST) this.fail('preprocessor expression is nested too deeply', question);
    const yes = this.binary(this.unary(live && chosen), 1, live && chosen);
    const colon = this.take();
    if (colon.text !== ':') {
      this.sink.error('condition', "expected ':'", colon.location, {
        notes: [{ message: "to match this '?'", location: question.location }],
      });
      throw new ConditionError('colon');
    }
    const no = this.binary(this.unary(live && !chosen), 2, live && !chosen);
    this.depth--;
    const unsigned = yes.unsigned || no.unsigned;
    return make(chosen ? yes.bits : no.bits, unsigned);
  }

  private apply(operator: PPToken, left: Value, right: Value, live: boolean): Value {
    const unsigned = left.unsigned || right.unsigned;
    const a = unsigned ? BigInt.asUintN(64, left.bits) : left.bits;
    const b = unsigned ? BigInt.asUintN(64, right.bits) : right.bits;
    const truth = (value: boolean): Value => make(value ? 1n : 0n, false);
    const arithmetic = (value: bigint): Value => {
      if (live && !unsigned && BigInt.asIntN(64, value) !== value) this.overflow(operator);
      return make(value, unsigned);
    };
    switch (operator.text) {
      case ',':
        return right;
      case '||':
        return truth(a !== 0n || b !== 0n);
      case '&&':
        return truth(a !== 0n && b !== 0n);
      case '|':
        return make(a | b, unsigned);
      case '^':
        return make(a ^ b, unsigned);
      case '&':
        return make(a & b, unsigned);
      case '==':
        return truth(a === b);
      case '!=':
        return truth(a !== b);
      case '<':
        return truth(a < b);
      case '<=':
        return truth(a <= b);
      case '>':
        return truth(a > b);
      case '>=':
        return truth(a >= b);
      case '<<':
      case '>>':
        return this.shift(operator, left, right, live);
      case '+':
        return arithmetic(a + b);
      case '-':
        return arithmetic(a - b);
      case '*':
        return arithmetic(a * b);
      default:
        if (b === 0n) {
          if (!live) return make(0n, unsigned);
          const what = operator.text === '/' ? 'division' : 'remainder';
          this.fail(`${what} by zero in preprocessor expression`, operator);
        }
        return operator.text === '/' ? arithmetic(a / b) : make(a % b, unsigned);
    }
  }

  /** The type is that of the left side; what amounts beyond 63 give is clang's choice. */
  private shift(operator: PPToken, left: Value, right: Value, live: boolean): Value {
    const amount = BigInt.asUintN(64, right.bits);
    const large = amount > 63n;
    const leftwards = operator.text === '<<';
    const value = leftwards ? left.bits << (large ? 63n : amount) : left.bits >> (large ? 63n : amount);
    const lost = leftwards && !left.unsigned && (large || BigInt.asIntN(64, value) !== value);
    if (live && (large || lost)) this.overflow(operator);
    return make(leftwards && large ? 0n : value, left.unsigned);
  }
}

function make(bits: bigint, unsigned: boolean): Value {
  return { bits: unsigned ? BigInt.asUintN(64, bits) : BigInt.asIntN(64, bits), unsigned };
}
