/** Numbers that are only added at the end: a typed array that doubles. */
export class NumberLog<T extends Uint8Array | Uint16Array | Int32Array | Uint32Array> {
  #values: T;
  length = 0;
  readonly #make: (length: number) => T;

  constructor(make: (length: number) => T) {
    this.#make = make;
    this.#values = make(256);
  }

  push(value: number): void {
    if (this.length === this.#values.length) this.#grow(this.length + 1);
    this.#values[this.length++] = value;
  }

  pushBytes(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.#values.length) this.#grow(this.length + bytes.length);
    this.#values.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** 0 beyond the end. */
  at(index: number): number {
    return this.#values[index] ?? 0;
  }

  /** A view, until something is added. */
  slice(from: number, upto: number): T {
    return this.#values.subarray(from, upto) as T;
  }

  #grow(least: number): void {
    const larger = this.#make(Math.max(least, this.#values.length * 2));
    larger.set(this.#values);
    this.#values = larger;
  }
}
