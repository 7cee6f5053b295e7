/**
 * The kernel's address space: one `WebAssembly.Memory` with a heap on it. Only this class caches views, since they detach
 * when the memory grows: others read `memory.u8` & co. afresh each time, never keep one over a call that may allocate.
 */
import { alignUp, readCString } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { joinHalves } from '../util/u64.ts';
import { Allocator, type Block } from './allocator.ts';
import { HEAP_START, MACHINE_STATE, PAGE } from './layout.ts';
import { givePiece, takePiece } from './shared-pieces.ts';

export interface GuestMemoryOptions {
  /** Pages of 64 KiB to start with (default 64 = 4 MiB). */
  readonly initialPages?: number;
  /** Pages it may grow to (default 32768 = 2 GiB; shared: 16384). Growing past it is ENOMEM. */
  readonly maximumPages?: number;
  /**
   * Other threads use it as well. A shared memory has its largest size from the start, so that no thread's views ever grow short; the
   * host gives it pages as they are touched.
   */
  readonly shared?: boolean;
}

/** The seat of another thread at a shared memory. */
export interface MemorySeat {
  readonly wasm: WebAssembly.Memory;
  readonly cpuDelta: number;
}

/** Shared memory is taken in pieces of at least this many bytes. */
const FRESH_PIECE = 1 << 20;
const SHARED_PAGES = 16384;

export class GuestMemory {
  readonly wasm: WebAssembly.Memory;
  readonly shared: boolean;
  /** How far run state and stacks of the CPU that this thread is lie from their fixed places (see CPU_AREA). */
  readonly cpuDelta: number;
  readonly #heap: Allocator;
  readonly #maximumPages: number;
  #buffer: ArrayBuffer;
  #u8: Uint8Array;
  #i32: Int32Array;
  #u32: Uint32Array;
  #u64: BigUint64Array;
  #view: DataView;
  #frees = 0;
  #freshBytes = 0;

  constructor(options: GuestMemoryOptions = {}, seat?: MemorySeat) {
    this.shared = options.shared === true || seat !== undefined;
    this.cpuDelta = seat?.cpuDelta ?? 0;
    this.#maximumPages = options.maximumPages ?? (this.shared ? SHARED_PAGES : 32768);
    const initial = this.shared ? this.#maximumPages : (options.initialPages ?? 64);
    this.wasm = seat?.wasm ?? sharedOrOwn(initial, this.#maximumPages, this.shared);
    this.#heap = new Allocator(HEAP_START, this.shared ? HEAP_START : initial * PAGE);
    this.#buffer = this.wasm.buffer as ArrayBuffer;
    this.#u8 = new Uint8Array(this.#buffer);
    this.#i32 = new Int32Array(this.#buffer);
    this.#u32 = new Uint32Array(this.#buffer);
    this.#u64 = new BigUint64Array(this.#buffer);
    this.#view = new DataView(this.#buffer);
    if (this.shared && seat === undefined) this.#i32[MACHINE_STATE.fresh >>> 2] = HEAP_START;
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
      this.#enlarge(size, label, align);
      start = this.#heap.allocate(size, label, align);
    }
    this.u8.fill(0, start, start + size);
    return start;
  }

  /** Gives the heap more memory. */
  #enlarge(size: number, label: string, align: number): void {
    if (this.shared) {
      const wanted = Math.max(size + align + 16, FRESH_PIECE);
      const fresh = this.takeFresh(wanted) || this.takeFresh(size + align + 16);
      if (fresh === 0) {
        throw new BpfError(
          'ENOMEM',
          `no room for ${size} bytes (${label}): the kernel's memory has ${this.size >>> 10} KiB`,
          { hint: 'give the kernel more with memory.maximumPages' },
        );
      }
      this.#heap.add(fresh, this.#freshBytes);
      return;
    }
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
  }

  /**
   * Takes at least `size` zeroed bytes of a shared memory that nobody has; 0 where none are left. Any thread may: what it has taken is its own,
   * until it is given back.
   */
  takeFresh(size: number): number {
    const bytes = alignUp(size, 16);
    const piece = takePiece(this.#u32, bytes);
    if (piece !== 0) {
      this.#u8.fill(0, piece, piece + bytes);
      this.#freshBytes = bytes;
      return piece;
    }
    const at = MACHINE_STATE.fresh >>> 2;
    for (;;) {
      const before = Atomics.load(this.#u32, at);
      if (before + bytes > this.size) return 0;
      if (Atomics.compareExchange(this.#u32, at, before, before + bytes) !== before) continue;
      this.#freshBytes = bytes;
      return before;
    }
  }

  /** Gives back what `takeFresh(size)` gave to somebody, for any thread. */
  giveBack(start: number, size: number): void {
    givePiece(this.#u32, start, alignUp(size, 16));
  }

  free(start: number): void {
    this.#heap.free(start);
    this.#frees++;
  }

  /** Blocks freed so far: whoever remembers where a block lies forgets it when this number has changed. */
  get frees(): number {
    return this.#frees;
  }

  /**
   * The allocated block around an offset; undefined for the fixed areas and for free memory. Of memory that another thread has taken
   * nobody knows the blocks here: all of it is one.
   */
  blockAt(offset: number): Block | undefined {
    const block = this.#heap.blockAt(offset);
    if (block !== undefined || !this.shared) return block;
    const end = Atomics.load(this.#u32, MACHINE_STATE.fresh >>> 2);
    if (offset < HEAP_START || offset >= end || this.#heap.hasAdded(offset)) return undefined;
    return { start: HEAP_START, size: end - HEAP_START, label: 'memory of another CPU' };
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
    const end = Math.min(offset + limit, this.size);
    // Decoders do not take bytes that others may write to.
    return this.shared ? readCString(this.u8.slice(offset, end)) : readCString(this.u8, offset, end);
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

function sharedOrOwn(initial: number, maximum: number, shared: boolean): WebAssembly.Memory {
  if (!shared) return new WebAssembly.Memory({ initial, maximum });
  if (typeof SharedArrayBuffer === 'undefined') {
    throw new BpfError('ENOSYS', 'this host lets no two threads share memory', {
      hint: 'browsers do on pages that are cross-origin isolated (headers COOP and COEP)',
    });
  }
  try {
    return new WebAssembly.Memory({ initial, maximum, shared: true });
  } catch (cause) {
    throw new BpfError('ENOMEM', `the host has no room for a shared memory of ${initial * 64} KiB`, {
      cause,
      hint: 'ask for less with memory.maximumPages',
    });
  }
}
