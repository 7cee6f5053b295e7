/**
 * Bytes that arrive in pieces and are taken in records. Holds no more than what was pushed and not yet taken; a record within
 * one piece is a view of it, only one that spans pieces is copied.
 */
export class ByteQueue {
  private readonly pieces: Uint8Array[] = [];
  /** Bytes of the first piece that are already taken. */
  private taken = 0;
  private size = 0;
  private toSkip = 0;
  /** Bytes taken or skipped since the beginning, for messages. */
  position = 0;

  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    // A plain view: Buffer.slice would not copy.
    this.pieces.push(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
    this.size += piece.length;
    this.drop();
  }

  get available(): number {
    return this.size;
  }

  /** Bytes that a `skip` still waits for. */
  get pendingSkip(): number {
    return this.toSkip;
  }

  /** The next `count` bytes without taking them, or undefined where they have not arrived. */
  peek(count: number): Uint8Array | undefined {
    if (this.toSkip > 0 || count > this.size) return undefined;
    const first = this.pieces[0] ?? new Uint8Array(0);
    if (first.length - this.taken >= count) return first.subarray(this.taken, this.taken + count);
    const whole = new Uint8Array(count);
    let at = 0;
    let from = this.taken;
    for (const piece of this.pieces) {
      const part = piece.subarray(from, Math.min(piece.length, from + count - at));
      whole.set(part, at);
      at += part.length;
      from = 0;
      if (at === count) break;
    }
    return whole;
  }

  take(count: number): Uint8Array | undefined {
    const bytes = this.peek(count);
    if (bytes !== undefined) this.skip(count);
    return bytes;
  }

  /** Takes `count` bytes without looking at them, also those that are still to arrive. */
  skip(count: number): void {
    this.toSkip += count;
    this.position += count;
    this.drop();
  }

  private drop(): void {
    let pieces = 0;
    while (this.toSkip > 0 && pieces < this.pieces.length) {
      const left = this.pieces[pieces]!.length - this.taken;
      const count = Math.min(left, this.toSkip);
      this.toSkip -= count;
      this.size -= count;
      this.taken += count;
      if (count === left) {
        pieces++;
        this.taken = 0;
      }
    }
    if (pieces > 0) this.pieces.splice(0, pieces);
  }
}
