/**
 * Types by name without an index of all names: the name is searched in the string section, and the types that begin at its
 * offset are chained in typed arrays. An index of the 60 000 names of a vmlinux BTF takes longer than some dozens of searches;
 * who looks up more gets one (btf.ts).
 */
import type { BtfSections } from './parse.ts';

/** Ends of other names that a search may meet, and the length of names: beyond, an index bounds the work. */
const MAX_MEETINGS = 4096;
const MAX_NAME = 1024;

export class BtfNames {
  private readonly sections: BtfSections;
  private readonly text: string;
  private readonly mask: number;
  /** Index of the first own type of each bucket of name offsets, and of the next one behind each; -1 ends a chain. */
  private readonly heads: Int32Array;
  private readonly next: Int32Array;

  /** `text`: the string section, one character a byte. */
  constructor(sections: BtfSections, text: string) {
    this.sections = sections;
    this.text = text;
    const { offsets } = sections;
    let size = 16;
    while (size < offsets.length) size *= 2;
    this.mask = size - 1;
    this.heads = new Int32Array(size).fill(-1);
    this.next = new Int32Array(offsets.length);
    for (let i = offsets.length - 1; i >= 0; i--) {
      const bucket = this.nameOffset(i) & this.mask;
      this.next[i] = this.heads[bucket]!;
      this.heads[bucket] = i;
    }
  }

  private nameOffset(index: number): number {
    return this.sections.view.getUint32(this.sections.offsets[index]!, this.sections.littleEndian);
  }

  private collect(offset: number, found: number[]): void {
    for (let i = this.heads[offset & this.mask]!; i >= 0; i = this.next[i]!) {
      if (this.nameOffset(i) === offset) found.push(i);
    }
  }

  /**
   * Indexes of the own types of that name, in order; undefined where the search would take too long. Names may share their
   * ends with others.
   */
  find(name: string): number[] | undefined {
    const found: number[] = [];
    let meetings = 0;
    const wanted = `${name}\0`;
    for (let at = this.text.indexOf(wanted); at >= 0; at = this.text.indexOf(wanted, at + 1)) {
      if (++meetings > MAX_MEETINGS) return undefined;
      this.collect(at, found);
    }
    return found.sort((a, b) => a - b);
  }

  /** Types in whose name the text stands, by name; undefined where the search would take too long. */
  containing(part: string): Map<string, number[]> | undefined {
    let meetings = 0;
    const result = new Map<string, number[]>();
    for (let at = this.text.indexOf(part); at >= 0; ) {
      const start = this.text.lastIndexOf('\0', at) + 1;
      const end = this.text.indexOf('\0', at);
      if (++meetings > MAX_MEETINGS || end - start > MAX_NAME) return undefined;
      const last = this.text.lastIndexOf(part, end);
      for (let offset = start; offset <= last; offset++) {
        const found: number[] = [];
        this.collect(offset, found);
        if (found.length === 0) continue;
        const name = this.text.slice(offset, end);
        result.set(
          name,
          [...(result.get(name) ?? []), ...found].sort((a, b) => a - b),
        );
      }
      at = this.text.indexOf(part, end);
    }
    return result;
  }
}
