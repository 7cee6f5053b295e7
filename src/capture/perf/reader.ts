/** Bytes of a perf.data file, read in order: numbers are little-endian, and nothing is read behind the end. */
import { BpfError } from '../../util/errors.ts';

export class PerfBytes {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Where the next number is read. */
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = at;
    this.end = end;
    if (at < 0 || end > bytes.length || at > end)
      throw new BpfError(
        'EINVAL',
        `perf.data: a part from byte ${at} to ${end}; the file has ${bytes.length}`,
      );
  }

  get left(): number {
    return this.end - this.at;
  }

  #take(size: number): number {
    if (!(size <= this.end - this.at))
      throw new BpfError('EINVAL', `perf.data: ${size} bytes at ${this.at}, behind the end of their part`);
    const at = this.at;
    this.at += size;
    return at;
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }
  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }
  /** A 64-bit number that is an offset or a size. */
  size(): number {
    const value = this.u64();
    if (value > 0xffff_ffff_ffffn) throw new BpfError('EINVAL', `perf.data: a size of ${value} bytes`);
    return Number(value);
  }
  skip(size: number): void {
    this.#take(size);
  }
  bytes(size: number): Uint8Array {
    const at = this.#take(size);
    return this.#bytes.subarray(at, at + size);
  }
  /** Up to a NUL, which is passed over. */
  text(): string {
    const found = this.#bytes.indexOf(0, this.at);
    const end = found < 0 || found >= this.end ? this.end : found;
    const text = new TextDecoder().decode(this.#bytes.subarray(this.at, end));
    this.at = Math.min(this.end, end + 1);
    return text;
  }
  part(offset: number, size: number): PerfBytes {
    return new PerfBytes(this.#bytes, offset, offset + size);
  }
}
