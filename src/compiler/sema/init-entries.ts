/**
 * The places of one initialiser in the making. Offsets are bits from the start of the object. What a later designator
 * says about a place replaces what stood there: settled once at the end, in time linear to the number of places.
 */
import type { InitEntry } from '../ast/index.ts';

/** More places than this in one initialiser are refused. */
const MAX_ENTRIES = 1 << 20;

interface Place {
  readonly start: number;
  readonly end: number;
  /** Null: whatever was said about these bits before is void. */
  readonly entry: InitEntry | null;
}

export class Entries {
  private readonly places: Place[] = [];
  private end = 0;
  /** Something came back to a place before the last one. */
  private disorder = false;
  /** Bytes that nothing is said about are zero. */
  zero = false;
  /** Elements of an array without length. */
  length = 0;
  /** The limit is reached; nothing more is taken. */
  full = false;

  add(start: number, bits: number, entry: InitEntry): void {
    this.push({ start, end: start + bits, entry });
  }

  /** Takes away what was said about a range of bits. */
  clear(start: number, end: number): void {
    if (start < this.end) this.push({ start, end, entry: null });
  }

  private push(place: Place): void {
    if (this.places.length >= MAX_ENTRIES) {
      this.full = true;
      return;
    }
    if (place.start < this.end) this.disorder = true;
    if (place.end > this.end) this.end = place.end;
    this.places.push(place);
  }

  /** In order of place, none overlapping another. */
  sorted(): InitEntry[] {
    const kept = this.disorder ? this.settle() : this.places;
    const result: InitEntry[] = [];
    for (const place of kept) if (place.entry !== null) result.push(place.entry);
    return result;
  }

  /** From the last place to the first: one survives when nothing later lies on its bits. */
  private settle(): Place[] {
    const edges = [...new Set(this.places.flatMap((place) => [place.start, place.end]))].sort(
      (a, b) => a - b,
    );
    const indexOf = new Map(edges.map((edge, i) => [edge, i]));
    // next[i]: the first segment from i on that nothing lies on; paths are shortened as they are walked.
    const next = new Int32Array(edges.length + 1).map((_, i) => i);
    const find = (from: number): number => {
      let root = from;
      while (next[root] !== root) root = next[root]!;
      let at = from;
      while (next[at] !== root) {
        const step = next[at]!;
        next[at] = root;
        at = step;
      }
      return root;
    };
    const kept: Place[] = [];
    for (let i = this.places.length - 1; i >= 0; i--) {
      const place = this.places[i]!;
      const first = indexOf.get(place.start)!;
      const last = indexOf.get(place.end)!;
      let free = 0;
      for (let at = find(first); at < last; at = find(at + 1)) {
        next[at] = at + 1;
        free++;
      }
      if (free === last - first && free > 0) kept.push(place);
    }
    return kept.sort((a, b) => a.start - b.start);
  }
}
