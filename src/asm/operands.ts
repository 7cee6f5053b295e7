/**
 * The operands of instruction text: how each placeholder of a template is read, what it captures, and what it says it
 * expected. A reader looks at tokens from `at` on and either returns the position behind what it took, or reports.
 */
import type { Token } from './lexer.ts';

/** Where a value is filled in once the slots of labels are known, or by whom reads the result. */
export type SymbolUse =
  | { readonly kind: 'jump'; readonly field: 'off' | 'imm'; readonly name: string; readonly token: Token }
  | { readonly kind: 'func'; readonly name: string; readonly token: Token }
  | { readonly kind: 'map'; readonly name: string; readonly token: Token; readonly index: boolean }
  | { readonly kind: 'data'; readonly name: string; readonly token: Token };

export interface Captures {
  readonly dst?: number;
  readonly src?: number;
  readonly off?: number;
  readonly imm?: number;
  readonly imm2?: number;
  readonly symbol?: SymbolUse;
}

/** What the readers know besides the tokens. */
export interface ReadContext {
  readonly tokens: readonly Token[];
  /** The opcode byte that the text names in front of the instruction, `(b7)`. */
  readonly opcode: number | undefined;
  readonly isLabel: (name: string) => boolean;
  readonly helperId: (name: string) => number | undefined;
  readonly kfuncId: (name: string) => number | undefined;
  /** A better message than "expected …" for the token at `at`. */
  readonly complain: (at: number, message: string, hint?: string) => void;
}

export type ReadResult = { readonly next: number; readonly captures: Captures } | null;
type Reader = (c: ReadContext, at: number, captures: Captures) => ReadResult;

export interface Operand {
  /** For error messages: `a register r0 to r10`. */
  readonly expected: string;
  readonly read: Reader;
}

const MAX_REGISTER = 10;

/** Adds a field; the same operand written twice must be written the same. */
function capture(
  c: ReadContext,
  at: number,
  next: number,
  captures: Captures,
  field: 'dst' | 'src' | 'off' | 'imm' | 'imm2',
  value: number,
): ReadResult {
  const before = captures[field];
  if (before !== undefined && before !== value) {
    c.complain(at, `"${c.tokens[at]!.text}" must be the register that the other side names`);
    return null;
  }
  return { next, captures: { ...captures, [field]: value } };
}

function register(prefix: 'r' | 'w', field: 'dst' | 'src'): Operand {
  return {
    expected: `a ${prefix === 'r' ? '64' : '32'}-bit register ${prefix}0 to ${prefix}${MAX_REGISTER}`,
    read: (c, at, captures) => {
      const token = c.tokens[at];
      if (token?.kind !== 'word' || token.text.charAt(0) !== prefix || !/^.\d{1,3}$/.test(token.text))
        return null;
      const number = Number(token.text.slice(1));
      if (number > MAX_REGISTER) {
        c.complain(
          at,
          `there is no register ${token.text}`,
          `registers are ${prefix}0 to ${prefix}${MAX_REGISTER}`,
        );
        return null;
      }
      return capture(c, at, at + 1, captures, field, number);
    },
  };
}

/** An integer with an optional sign (or a demanded one), as bigint. Digits beyond 64 bits are refused early. */
function integer(
  c: ReadContext,
  at: number,
  sign: 'optional' | 'required' | 'none',
): { value: bigint; next: number; hex: boolean; signed: boolean } | null {
  let next = at;
  let negative = false;
  const first = c.tokens[next];
  const signed = first?.kind === 'punct' && (first.text === '-' || first.text === '+');
  if (signed) {
    if (sign === 'none') return null;
    negative = first.text === '-';
    next++;
  } else if (sign === 'required') return null;
  const token = c.tokens[next];
  if (token?.kind !== 'number') return null;
  if (token.text.length > 22) {
    c.complain(next, `the number ${token.text.slice(0, 20)}… is longer than 64 bits`);
    return null;
  }
  const magnitude = BigInt(token.text);
  return { value: negative ? -magnitude : magnitude, next: next + 1, hex: /^0x/i.test(token.text), signed };
}

function inRange(
  c: ReadContext,
  at: number,
  value: bigint,
  min: bigint,
  max: bigint,
  what: string,
  hint?: string,
) {
  if (value >= min && value <= max) return true;
  c.complain(at, `${value} does not fit ${what} (${min} to ${max})`, hint);
  return false;
}

const IMM32: Operand = {
  expected: 'a number of 32 bits',
  read: (c, at, captures) => {
    const n = integer(c, at, 'optional');
    if (n === null) return null;
    const hint = 'a 64-bit constant is loaded with: r1 = 0x123456789 ll';
    if (!inRange(c, at, n.value, -0x8000_0000n, 0xffff_ffffn, 'a 32-bit immediate', hint)) return null;
    return { next: n.next, captures: { ...captures, imm: Number(BigInt.asIntN(32, n.value)) } };
  },
};

const OFFSET: Operand = {
  expected: 'an offset with its sign, as +8',
  read: (c, at, captures) => {
    const n = integer(c, at, 'required');
    if (n === null || !inRange(c, at, n.value, -0x8000n, 0x7fffn, 'a 16-bit offset')) return null;
    return { next: n.next, captures: { ...captures, off: Number(n.value) } };
  },
};

/** `pc+3`, `+3`, a label, `1f`. */
function jump(field: 'off' | 'imm', distanceOnly = false): Operand {
  const bits = field === 'off' ? 16 : 32;
  const limit = 1n << BigInt(bits - 1);
  return {
    expected: distanceOnly ? 'pc+N' : 'a label or a distance, as pc+3',
    read: (c, at, captures) => {
      const token = c.tokens[at];
      const following = c.tokens[at + 1]?.text;
      const pc = token?.kind === 'word' && token.text === 'pc' && (following === '+' || following === '-');
      if (pc || (token?.kind === 'punct' && !distanceOnly)) {
        const n = integer(c, pc ? at + 1 : at, 'required');
        const hint = field === 'off' ? 'gotol has a distance of 32 bits' : undefined;
        if (n === null || !inRange(c, at, n.value, -limit, limit - 1n, `a jump of ${bits} bits`, hint))
          return null;
        return { next: n.next, captures: { ...captures, [field]: Number(n.value) } };
      }
      if (token?.kind !== 'word') return null;
      if (!c.isLabel(token.text)) {
        if (!distanceOnly) c.complain(at, `there is no label "${token.text}"`, 'define it: a line "name:"');
        return null;
      }
      return {
        next: at + 1,
        captures: { ...captures, symbol: { kind: 'jump', field, name: token.text, token } },
      };
    },
  };
}

function wide(captures: Captures, value: bigint): Captures {
  return {
    ...captures,
    imm: Number(BigInt.asIntN(32, value)),
    imm2: Number(BigInt.asIntN(32, value >> 32n)),
  };
}

const WIDE_MIN = -(1n << 63n);
const WIDE_MAX = (1n << 64n) - 1n;

/** Without `ll` behind it: an unsigned hexadecimal number, which is how the kernel writes a 64-bit load. */
const IMM64: Operand = {
  expected: 'a 64-bit number in hexadecimal',
  read: (c, at, captures) => {
    const n = integer(c, at, 'optional');
    if (n === null || ((!n.hex || n.signed) && c.opcode === undefined)) return null;
    return inRange(c, at, n.value, WIDE_MIN, WIDE_MAX, '64 bits')
      ? { next: n.next, captures: wide(captures, n.value) }
      : null;
  },
};

/** Before `ll`: any number, or a name (a map, or a function of the program). */
const WIDE: Operand = {
  expected: 'a 64-bit number or a name',
  read: (c, at, captures) => {
    const token = c.tokens[at];
    if (c.tokens[at + 1]?.text === 'll' && token?.kind === 'word') {
      const symbol: SymbolUse = c.isLabel(token.text)
        ? { kind: 'func', name: token.text, token }
        : { kind: 'data', name: token.text, token };
      return { next: at + 1, captures: { ...captures, imm: 0, imm2: 0, symbol } };
    }
    const n = integer(c, at, 'optional');
    if (n === null) return null;
    return inRange(c, at, n.value, WIDE_MIN, WIDE_MAX, '64 bits')
      ? { next: n.next, captures: wide(captures, n.value) }
      : null;
  },
};

/** `fd:5`, `idx:0`, or the map's name. */
function mapReference(tag: 'fd' | 'idx'): Operand {
  return {
    expected: tag === 'fd' ? 'fd:N, idx:N or the name of a map' : 'idx:N',
    read: (c, at, captures) => {
      const token = c.tokens[at];
      if (token?.kind !== 'word') return null;
      if (c.tokens[at + 1]?.text === ':') return token.text === tag ? IMM32.read(c, at + 2, captures) : null;
      if (tag === 'idx') return null;
      const symbol: SymbolUse = { kind: 'map', name: token.text, token, index: false };
      return { next: at + 1, captures: { ...captures, imm: 0, symbol } };
    },
  };
}

const MAP_OFFSET: Operand = {
  expected: 'an offset into the value, as +8',
  read: (c, at, captures) => {
    const n = integer(c, at, 'required');
    if (n === null || !inRange(c, at, n.value, 0n, 0xffff_ffffn, 'an offset into a map value')) return null;
    return { next: n.next, captures: { ...captures, imm2: Number(BigInt.asIntN(32, n.value)) } };
  },
};

const BTF_ID: Operand = {
  expected: 'a BTF id',
  read: (c, at, captures) => {
    const id = IMM32.read(c, at, captures);
    if (id === null || c.tokens[id.next]?.text !== ',') return id;
    if (c.tokens[id.next + 1]?.text !== 'fd' || c.tokens[id.next + 2]?.text !== ':') return null;
    const fd = IMM32.read(c, id.next + 3, {});
    return fd === null ? null : { next: fd.next, captures: { ...id.captures, imm2: fd.captures.imm! } };
  },
};

const FUNC: Operand = {
  expected: 'a label or a distance, as +3',
  read: (c, at, captures) => {
    const token = c.tokens[at];
    if (token?.kind === 'word') {
      if (!c.isLabel(token.text)) {
        c.complain(at, `there is no label "${token.text}"`, 'define it: a line "name:"');
        return null;
      }
      return { next: at + 1, captures: { ...captures, symbol: { kind: 'func', name: token.text, token } } };
    }
    return IMM32.read(c, at, captures);
  },
};

function addressSpace(high: boolean): Operand {
  return {
    expected: 'an address space, 0 to 65535',
    read: (c, at, captures) => {
      const n = integer(c, at, 'none');
      if (n === null || !inRange(c, at, n.value, 0n, 0xffffn, 'an address space')) return null;
      const value = Number(n.value);
      const imm = (high ? value << 16 : (captures.imm ?? 0) | value) | 0;
      return { next: n.next, captures: { ...captures, imm } };
    },
  };
}

/** `name#id`, as the kernel writes a call: name, position behind it, and the id where there is one. */
function callee(c: ReadContext, at: number): { name: string; next: number; id: number | undefined } | null {
  const token = c.tokens[at];
  if (token?.kind !== 'word') return null;
  let name = token.text;
  let next = at + 1;
  // "kernel-function" is how the kernel writes a kfunc whose name it does not know.
  if (name === 'kernel' && c.tokens[next]?.text === '-' && c.tokens[next + 1]?.text === 'function') {
    name = 'kernel-function';
    next += 2;
  }
  if (c.tokens[next]?.text !== '#') return { name, next, id: undefined };
  const id = IMM32.read(c, next + 1, {});
  return id === null ? null : { name, next: id.next, id: id.captures.imm };
}

const HELPER: Operand = {
  expected: 'a helper by name or number',
  read: (c, at, captures) => {
    if (c.tokens[at]?.kind === 'number') return IMM32.read(c, at, captures);
    const call = callee(c, at);
    if (call === null || c.isLabel(call.name)) return null;
    const known = c.helperId(call.name);
    if (call.id === undefined) {
      if (known === undefined && c.kfuncId(call.name) === undefined) {
        c.complain(
          at,
          `"${call.name}" is neither a label nor a helper`,
          'helpers are called by name or number: call bpf_ktime_get_ns, call 5',
        );
      }
      return known === undefined ? null : { next: call.next, captures: { ...captures, imm: known } };
    }
    if (known !== undefined && known !== call.id) {
      c.complain(at, `${call.name} is helper ${known}, not ${call.id}`);
      return null;
    }
    if (known === undefined && call.name !== 'unknown') return null;
    return { next: call.next, captures: { ...captures, imm: call.id } };
  },
};

const KFUNC: Operand = {
  expected: 'a kfunc as name#id',
  read: (c, at, captures) => {
    const call = callee(c, at);
    if (call === null || call.name === 'unknown' || c.helperId(call.name) !== undefined) return null;
    const id = call.id ?? (c.isLabel(call.name) ? undefined : c.kfuncId(call.name));
    return id === undefined ? null : { next: call.next, captures: { ...captures, imm: id } };
  },
};

/** How each placeholder of the table's templates is read. */
export const OPERANDS: Readonly<Record<string, Operand>> = {
  'r.dst': register('r', 'dst'),
  'w.dst': register('w', 'dst'),
  'r.src': register('r', 'src'),
  'w.src': register('w', 'src'),
  dec: IMM32,
  hex: IMM32,
  shex: IMM32,
  off: OFFSET,
  soff: OFFSET,
  pc: jump('off'),
  rel: jump('off'),
  pc32: jump('imm'),
  rel32: jump('imm'),
  imm64: IMM64,
  s64: WIDE,
  fd: mapReference('fd'),
  idx: mapReference('idx'),
  add: MAP_OFFSET,
  btf: BTF_ID,
  func: FUNC,
  'as.to': addressSpace(true),
  'as.from': addressSpace(false),
  helper: HELPER,
  sub: jump('imm', true),
  kfunc: KFUNC,
};
