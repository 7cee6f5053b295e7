/**
 * The kernel's address space: one `WebAssembly.Memory` with a heap on it. Only this class caches views, since they detach
 * when the memory grows: others read `memory.u8` & co. afresh each time, never keep one over a call that may allocate.
 */
import { readCString } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { joinHalves } from '../util/u64.ts';
import { Allocator, type Block } from './allocator.ts';
import { HEAP_START, PAGE } from './layout.ts';

export interface GuestMemoryOptions {
  /** Pages of 64 KiB to start with (default 64 = 4 MiB). */
  readonly initialPages?: number;
  /** Pages it may grow to (default 32768 = 2 GiB). Growing past it is ENOMEM. */
  readonly maximumPages?: number;
}

export class GuestMemory {
  readonly wasm: WebAssembly.Memory;
  readonly #heap: Allocator;
  readonly #maximumPages: number;
  #buffer: ArrayBuffer;
  #u8: Uint8Array;
  #i32: Int32Array;
  #u32: Uint32Array;
  #u64: BigUint64Array;
  #view: DataView;
  #frees = 0;

  constructor(options: GuestMemoryOptions = {}) {
    const initial = options.initialPages ?? 64;
    this.#maximumPages = options.maximumPages ?? 32768;
    this.wasm = new WebAssembly.Memory({ initial, maximum: this.#maximumPages });
    this.#heap = new Allocator(HEAP_START, initial * PAGE);
    this.#buffer = this.wasm.buffer as ArrayBuffer;
    this.#u8 = new Uint8Array(this.#buffer);
    this.#i32 = new Int32Array(this.#buffer);
    this.#u32 = new Uint32Array(this.#buffer);
    this.#u64 = new BigUint64Array(this.#buffer);
    this.#view = new DataView(this.#buffer);
  }

  /** Views on the whole memory; index 32-bit views with `offset >>> 2`, 64-bit ones with `offset >>> 3`. */
  get u8(): Uint8Array {
    if (this.#buffer !== this.wasm.buffer) this.#refresh();
    return this.#u8;
  }
  get i32(): Int32Array {
    if (this.#buffer !== this.wasm.buffer) this.#refresh();
    return this.#i32;
  }
  get u32(): Uint32Array {
    if (this.#buffer !== this.wasm.buffer) this.#refresh();
    return this.#u32;
  }
  get u64(): BigUint64Array {
    if (this.#buffer !== this.wasm.buffer) this.#refresh();
    return this.#u64;
  }
  /** For unaligned access; little-endian must be asked for (`true`). */
  get view(): DataView {
    if (this.#buffer !== this.wasm.buffer) this.#refresh();
    return this.#view;
  }

  /** Bytes that the memory has now. */
  get size(): number {
    return this.wasm.buffer.byteLength;
  }

  /** Bytes in allocated blocks. */
  get bytesUsed(): number {
    return this.#heap.bytesUsed;
  }

  /**
   * A zeroed block of at least `size` bytes. Throws BpfError ENOMEM when the memory may not grow any further.
   * `label` says in reports what lies there.
   */
  allocate(size: number, label: string, align = 16): number {
    if (!Number.isSafeInteger(size) || size < 0)
      throw new BpfError('EINVAL', `cannot allocate ${size} bytes for ${label}`);
    let start = this.#heap.allocate(size, label, align);
    if (start === 0) {
      const pages = Math.ceil(this.#heap.shortfall(size, align) / PAGE);
      const have = this.size / PAGE;
      if (have + pages > this.#maximumPages) {
        throw new BpfError(
          'ENOMEM',
          `no room for ${size} bytes (${label}): the kernel's memory is limited to ${this.#maximumPages * 64} KiB`,
        );
      }
      // Growing by a quarter keeps the number of detached views small.
      const wanted = Math.min(Math.max(pages, have >>> 2), this.#maximumPages - have);
      try {
        this.wasm.grow(wanted);
      } catch (cause) {
        throw new BpfError(
          'ENOMEM',
          `no room for ${size} bytes (${label}): the host refused to grow the memory`,
          { cause },
        );
      }
      this.#heap.extend(this.size);
      start = this.#heap.allocate(size, label, align);
    }
    this.u8.fill(0, start, start + size);
    return start;
  }

  free(start: number): void {
    this.#heap.free(start);
    this.#frees++;
  }

  /** Blocks freed so far: whoever remembers where a block lies forgets it when this number has changed. */
  get frees(): number {
    return this.#frees;
  }

  /** The allocated block around an offset; undefined for the fixed areas and for free memory. */
  blockAt(offset: number): Block | undefined {
    return this.#heap.blockAt(offset);
  }

  /** All allocated blocks, in ascending order; nothing may be allocated or freed meanwhile. */
  blocks(): IterableIterator<Block> {
    return this.#heap.blocks();
  }

  /** A copy of `size` bytes. */
  read(offset: number, size: number): Uint8Array {
    return this.u8.slice(offset, offset + size);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.u8.set(bytes, offset);
  }

  readU64(offset: number): bigint {
    return this.view.getBigUint64(offset, true);
  }

  writeU64(offset: number, value: bigint): void {
    this.view.setBigUint64(offset, BigInt.asUintN(64, value), true);
  }

  /** Stores a 64-bit value given as halves. */
  writeHalves(offset: number, low: number, high: number): void {
    this.view.setInt32(offset, low, true);
    this.view.setInt32(offset + 4, high, true);
  }

  readHalves(offset: number): bigint {
    return joinHalves(this.view.getUint32(offset, true), this.view.getUint32(offset + 4, true));
  }

  /** A NUL-terminated string of at most `limit` bytes. */
  readCString(offset: number, limit = 4096): string {
    return readCString(this.u8, offset, Math.min(offset + limit, this.size));
  }

  #refresh(): void {
    this.#buffer = this.wasm.buffer as ArrayBuffer;
    this.#u8 = new Uint8Array(this.#buffer);
    this.#i32 = new Int32Array(this.#buffer);
    this.#u32 = new Uint32Array(this.#buffer);
    this.#u64 = new BigUint64Array(this.#buffer);
    this.#view = new DataView(this.#buffer);
  }
}
