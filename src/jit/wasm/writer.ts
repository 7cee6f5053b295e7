/**
 * Bytes of WebAssembly code: LEB128 numbers (WebAssembly core specification section 5.2.2) and instructions with their
 * immediates. 64-bit constants are given as two halves, so that no bigint is made while compiling.
 */
import { OP } from './opcodes.ts';

const encoder = new TextEncoder();

/** A growing byte buffer; small ones are cheap, as their bytes lie in the host's own heap. */
export class ByteWriter {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacity = 64) {
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** The bytes written so far; a view that is valid until the next write. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.#length++] = value;
  }

  bytes(values: Uint8Array | readonly number[]): void {
    if (this.#length + values.length > this.#bytes.length) this.#grow(values.length);
    this.#bytes.set(values, this.#length);
    this.#length += values.length;
  }

  /** Unsigned LEB128 of a number below 2^32. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of a signed 32-bit number; as an i64 immediate it is the sign-extended value. */
  s32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** Signed LEB128 of the 64-bit number with these halves. */
  s64(low: number, high: number): void {
    let lo = low | 0;
    let hi = high | 0;
    for (;;) {
      const part = lo & 0x7f;
      lo = (lo >>> 7) | (hi << 25);
      hi >>= 7;
      const sign = (part & 0x40) !== 0;
      if ((hi === 0 && lo === 0 && !sign) || (hi === -1 && lo === -1 && sign)) {
        this.byte(part);
        return;
      }
      this.byte(part | 0x80);
    }
  }

  name(text: string): void {
    const encoded = encoder.encode(text);
    this.u32(encoded.length);
    this.bytes(encoded);
  }

  /** Takes back the last bytes. */
  protected shorten(by: number): void {
    this.#length -= by;
  }

  /** Replaces a byte already written. */
  protected patch(at: number, value: number): void {
    this.#bytes[at] = value;
  }

  #grow(more: number): void {
    const next = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    next.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = next;
  }
}

/** An imported i64 global and its value, by halves. */
export interface Blinding {
  readonly global: number;
  readonly low: number;
  readonly high: number;
}

/** Instructions of one function body. */
export class CodeWriter extends ByteWriter {
  #blinding: Blinding | undefined;
  /** The last instruction, if it is a `local.set` of a local below 128: the local, and where the instruction ends. */
  #setLocal = -1;
  #setEnd = -1;
  /** Where the last instruction ends, if it is an extension of an i32. */
  #extended = -1;

  /** An instruction without immediates; an i32 that was extended just now is there again when it is wrapped. */
  op(code: number): void {
    if (code === OP.i32WrapI64 && this.#extended === this.length) {
      this.shorten(1);
      this.#extended = -1;
      this.#setEnd = -1;
      return;
    }
    if (code === OP.i64ExtendI32U || code === OP.i64ExtendI32S) this.#extended = this.length + 1;
    if (code > 0xffff) this.byte(code >> 16);
    if (code > 0xff) this.byte((code >> 8) & 0xff);
    this.byte(code & 0xff);
  }

  /** An instruction with one index (local, label, function, global). */
  index(code: number, index: number): void {
    this.byte(code);
    this.u32(index);
  }

  /** `local.set x` and `local.get x` become one `local.tee x`; what begins a scope or ends one stands in between. */
  get(local: number): void {
    if (this.#setEnd === this.length && this.#setLocal === local) {
      this.patch(this.length - 2, OP.localTee);
      this.#setEnd = -1;
    } else this.index(OP.localGet, local);
  }

  set(local: number): void {
    this.index(OP.localSet, local);
    if (local < 128) {
      this.#setLocal = local;
      this.#setEnd = this.length;
    }
  }

  tee(local: number): void {
    this.index(OP.localTee, local);
  }

  /** From now on, constants of more than 16 bits come as the exclusive or of another number and an i64 global. */
  blindWith(blinding: Blinding): void {
    this.#blinding = blinding;
  }

  #isBlinded(low: number, high: number): boolean {
    return this.#blinding !== undefined && (high !== low >> 31 || low < -0x8000 || low > 0x7fff);
  }

  i32(value: number): void {
    if (this.#isBlinded(value, value >> 31)) {
      const { global, low } = this.#blinding!;
      this.byte(OP.i32Const);
      this.s32(value ^ low);
      this.index(OP.globalGet, global);
      this.op(OP.i32WrapI64);
      this.op(OP.i32Xor);
      return;
    }
    this.byte(OP.i32Const);
    this.s32(value);
  }

  /** The 64-bit constant of a safe integer; a negative one in two's complement. */
  i64(value: number): void {
    this.i64Halves(value | 0, Math.floor(value / 0x1_0000_0000));
  }

  i64Halves(low: number, high: number): void {
    this.byte(OP.i64Const);
    if (this.#isBlinded(low | 0, high | 0)) {
      const { global, low: keyLow, high: keyHigh } = this.#blinding!;
      this.s64(low ^ keyLow, high ^ keyHigh);
      this.index(OP.globalGet, global);
      this.op(OP.i64Xor);
    } else this.s64(low, high);
  }

  /** An instruction on one lane of a vector. */
  lane(code: number, lane: number): void {
    this.op(code);
    this.byte(lane);
  }

  /** A load or store. `align` is the exponent of the promised alignment; atomics need their natural one. */
  memory(code: number, offset: number, align = 0): void {
    this.op(code);
    this.u32(align);
    this.u32(offset);
  }

  /** `block`, `loop` or `if`; `type` is TYPE.empty or a value type. */
  block(code: number, type: number): void {
    this.byte(code);
    this.byte(type);
  }

  brTable(labels: readonly number[], otherwise: number): void {
    this.byte(OP.brTable);
    this.u32(labels.length);
    for (const label of labels) this.u32(label);
    this.u32(otherwise);
  }

  indirect(code: number, type: number, table: number): void {
    this.byte(code);
    this.u32(type);
    this.u32(table);
  }
}
