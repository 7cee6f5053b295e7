/**
 * Memory that one call hands to the kernel: blocks at fixed addresses, given back together when the call is over.
 *
 * Invariant: blocks start as zeros and are valid only inside of the `scope` that made them.
 */
import { utf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { mapAnonymous, type Native, type NativeBlock } from './native.ts';

const SIZE = 1 << 18;
const MAX_BLOCK = 2 ** 31;

export interface Block {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** What one scope allocates from. */
export class Frame {
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Zeros. */
  room(size: number): Block {
    return this.#arena.allocate(size);
  }

  /** A copy of `bytes`. */
  put(bytes: Uint8Array): Block {
    const block = this.#arena.allocate(bytes.length);
    block.bytes.set(bytes);
    return block;
  }

  /** With its NUL. */
  text(text: string): Block {
    // The kernel would read up to there, and take it for all.
    if (text.includes('\0')) throw new BpfError('EINVAL', `'${text.replaceAll('\0', '\\0')}' contains a NUL`);
    return this.put(utf8(`${text}\0`));
  }

  /** 64-bit words: pointers, addresses, cookies. */
  words(values: readonly (number | bigint)[]): Block {
    return this.put(wordsOf(values));
  }
}

export class Arena {
  readonly #native: Native;
  readonly #frame = new Frame(this);
  #base: NativeBlock | undefined;
  #top = 0;
  /** Blocks that did not fit, each with pages of its own, oldest first. */
  readonly #large: NativeBlock[] = [];

  constructor(native: Native) {
    this.#native = native;
  }

  /** Scopes nest: an inner one ends before the outer one. */
  scope<T>(body: (frame: Frame) => T): T {
    const top = this.#top;
    const large = this.#large.length;
    try {
      return body(this.#frame);
    } finally {
      this.#top = top;
      while (this.#large.length > large) {
        const block = this.#large.pop()!;
        this.#native.call('munmap', block.address, block.buffer.byteLength);
      }
    }
  }

  allocate(size: number): Block {
    if (!Number.isInteger(size) || size < 0) throw new BpfError('EINVAL', `${size} is no number of bytes`);
    if (size > MAX_BLOCK)
      throw new BpfError('ENOMEM', `${size} bytes for one call are more than ${MAX_BLOCK}`);
    if (this.#top + size > SIZE) {
      const block = mapAnonymous(this.#native, Math.max(size, 1));
      this.#large.push(block);
      return { address: block.address, bytes: new Uint8Array(block.buffer, 0, size) };
    }
    this.#base ??= mapAnonymous(this.#native, SIZE);
    const bytes = new Uint8Array(this.#base.buffer, this.#top, size).fill(0);
    const address = this.#base.address + this.#top;
    this.#top = (this.#top + size + 7) & ~7;
    return { address, bytes };
  }
}

function wordsOf(values: readonly (number | bigint)[]): Uint8Array {
  const words = new BigUint64Array(values.length);
  values.forEach((value, index) => {
    words[index] = BigInt.asUintN(64, BigInt(value));
  });
  return new Uint8Array(words.buffer);
}
