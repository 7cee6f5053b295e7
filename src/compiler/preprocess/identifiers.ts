/** The table of all identifiers of a compilation: each spelling exists once, and carries what the preprocessor knows of it. */
import type { Macro, Name } from './macro.ts';
import type { Word } from './token.ts';

export class Identifier implements Name {
  readonly text: string;
  /** The macro of that name, while it is defined. */
  macro: Macro | null = null;
  /** `#pragma GCC poison` */
  poisoned = false;
  memo: object | null = null;
  tag: Word['tag'] = null;
  readonly hash: number;

  constructor(text: string, hash: number) {
    this.text = text;
    this.hash = hash;
  }
}

/** Words that are in nearly every program: their table entries are the very constants that a parser compares with. */
const KNOWN_WORDS = [
  ...[
    'auto',
    'break',
    'case',
    'char',
    'const',
    'continue',
    'default',
    'do',
    'double',
    'else',
    'enum',
    'extern',
  ],
  ...[
    'float',
    'for',
    'goto',
    'if',
    'inline',
    'int',
    'long',
    'register',
    'restrict',
    'return',
    'short',
    'signed',
  ],
  ...['sizeof', 'static', 'struct', 'switch', 'typedef', 'union', 'unsigned', 'void', 'volatile', 'while'],
  ...['_Alignas', '_Alignof', '_Atomic', '_Bool', '_Generic', '_Noreturn', '_Static_assert', '_Thread_local'],
  ...[
    'asm',
    'typeof',
    '__asm__',
    '__asm',
    '__attribute__',
    '__attribute',
    '__typeof__',
    '__typeof',
    '__inline',
  ],
  ...['__inline__', '__const', '__const__', '__volatile__', '__volatile', '__restrict', '__extension__'],
  ...['__int128', '__signed__', '__alignof__', '__label__', '__builtin_offsetof', '__builtin_va_arg'],
];

/** Open addressing over a power of two, filled at most to half. */
export class IdentifierTable {
  private slots: (Identifier | undefined)[] = new Array(4096);
  private mask = 4095;
  private count = 0;

  constructor() {
    for (const word of KNOWN_WORDS) this.intern(word);
  }

  /** The identifier spelled by `text[start, end)`, without making a string when it is known; `hash` as `hashOf` gives it. */
  lookup(text: string, start: number, end: number, hash: number): Identifier {
    const length = end - start;
    let slot = hash & this.mask;
    for (;;) {
      const found = this.slots[slot];
      if (found === undefined) return this.add(text.slice(start, end), hash);
      if (found.hash === hash && found.text.length === length) {
        const spelling = found.text;
        let i = 0;
        while (i < length && spelling.charCodeAt(i) === text.charCodeAt(start + i)) i++;
        if (i === length) return found;
      }
      slot = (slot + 1) & this.mask;
    }
  }

  intern(text: string): Identifier {
    return this.lookup(text, 0, text.length, hashOf(text));
  }

  /** All identifiers seen, in no order. */
  *all(): Iterable<Identifier> {
    for (const entry of this.slots) if (entry !== undefined) yield entry;
  }

  private add(text: string, hash: number): Identifier {
    if (this.count * 2 >= this.slots.length) this.grow();
    const made = new Identifier(text, hash);
    this.put(made);
    this.count++;
    return made;
  }

  private put(entry: Identifier): void {
    let slot = entry.hash & this.mask;
    while (this.slots[slot] !== undefined) slot = (slot + 1) & this.mask;
    this.slots[slot] = entry;
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new Array(old.length * 2);
    this.mask = this.slots.length - 1;
    for (const entry of old) if (entry !== undefined) this.put(entry);
  }
}

export const HASH_SEED = 0x1505;

/** One step of the hash; the lexer makes it while it reads the word. */
export function hashStep(hash: number, code: number): number {
  return (Math.imul(hash, 31) + code) | 0;
}

function hashOf(text: string): number {
  let hash = HASH_SEED;
  for (let i = 0; i < text.length; i++) hash = hashStep(hash, text.charCodeAt(i));
  return hash;
}
