/**
 * Seeded mutations of binary and text inputs, for tests of readers with hostile input: flipped bits, interesting words, cuts,
 * copies, insertions. The same seed gives the same input everywhere.
 *
 * From the command line: npx tsx tools/mutate.ts FILE SEED > MUTATED shows one input that a test names.
 */
import { readFileSync } from 'node:fs';
import { argv, stdout } from 'node:process';
import { pathToFileURL } from 'node:url';

/** A small generator of 32-bit numbers (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    return limit <= 0 ? 0 : this.next() % limit;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Values at which readers tend to go wrong. */
const WORDS = [
  0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0xffffff, 0x7fffffff, 0x80000000,
  0xfffffff8, 0xffffffff,
];

type Mutation = (bytes: Uint8Array, random: Random) => Uint8Array;

function setWord(bytes: Uint8Array, at: number, value: number, size: number, little: boolean): void {
  for (let i = 0; i < size && at + i < bytes.length; i++) {
    bytes[at + i] = (value >>> (8 * (little ? i : size - 1 - i))) & 0xff;
  }
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const result = new Uint8Array(bytes.length - remove + insert.length);
  result.set(bytes.subarray(0, at));
  result.set(insert, at);
  result.set(bytes.subarray(at + remove), at + insert.length);
  return result;
}

const MUTATIONS: readonly Mutation[] = [
  // One bit.
  (bytes, random) => {
    bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
    return bytes;
  },
  // One byte.
  (bytes, random) => {
    bytes[random.below(bytes.length)] = random.below(256);
    return bytes;
  },
  // An aligned word becomes an interesting value, or one near the file's size.
  (bytes, random) => {
    const size = random.pick([2, 4, 4, 4]);
    const at = random.below(Math.ceil(bytes.length / size)) * size;
    const value = random.below(4) === 0 ? bytes.length - 8 + random.below(17) : random.pick(WORDS);
    setWord(bytes, at, value, size, random.below(4) !== 0);
    return bytes;
  },
  // A word grows or shrinks a little.
  (bytes, random) => {
    const at = random.below(Math.ceil(bytes.length / 4)) * 4;
    bytes[at] = ((bytes[at] ?? 0) + random.below(17) - 8) & 0xff;
    return bytes;
  },
  // A word is copied to another place.
  (bytes, random) => {
    const from = random.below(Math.ceil(bytes.length / 4)) * 4;
    const to = random.below(Math.ceil(bytes.length / 4)) * 4;
    bytes.copyWithin(to, from, from + 4);
    return bytes;
  },
  // The file ends early.
  (bytes, random) => bytes.slice(0, random.below(bytes.length)),
  // A part is missing.
  (bytes, random) => {
    const at = random.below(bytes.length);
    return splice(bytes, at, Math.min(1 + random.below(64), bytes.length - at), new Uint8Array(0));
  },
  // A part comes twice.
  (bytes, random) => {
    const from = random.below(bytes.length);
    return splice(bytes, random.below(bytes.length), 0, bytes.slice(from, from + 1 + random.below(256)));
  },
  // Noise is inserted.
  (bytes, random) => {
    const noise = Uint8Array.from({ length: 1 + random.below(16) }, () => random.below(256));
    return splice(bytes, random.below(bytes.length), 0, noise);
  },
];

/** The input with that seed: one to eight mutations of `bytes`, which is left as it is. */
export function mutate(bytes: Uint8Array, seed: number): Uint8Array {
  const random = new Random(seed);
  let result: Uint8Array = Uint8Array.from(bytes);
  const rounds = 1 + random.below(random.pick([1, 3, 8]));
  for (let i = 0; i < rounds && result.length > 0; i++) result = random.pick(MUTATIONS)(result, random);
  return result;
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) {
  const [, , file, seed] = argv;
  if (file === undefined || seed === undefined) {
    console.error('usage: npx tsx tools/mutate.ts FILE SEED > MUTATED');
    process.exitCode = 2;
  } else {
    stdout.write(mutate(readFileSync(file), Number(seed)));
  }
}
