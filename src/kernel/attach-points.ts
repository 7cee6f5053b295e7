/**
 * Where programs hang: every event has a name (`tracepoint:syscalls/sys_enter_execve`, `kprobe:__x64_sys_execve`,
 * `xdp:3`), every name a list of attachments in the order in which they came.
 */
import type { Attachment } from './objects.ts';

export type { Attachment };

const NOBODY: readonly Attachment[] = [];

export class AttachPoints {
  readonly #points = new Map<string, Attachment[]>();

  attach(point: string, attachment: Attachment): void {
    const list = this.#points.get(point);
    // A new list each time: whoever walks the old one is not disturbed.
    this.#points.set(point, list === undefined ? [attachment] : [...list, attachment]);
  }

  detach(point: string, attachment: Attachment): void {
    const rest = (this.#points.get(point) ?? []).filter((other) => other !== attachment);
    if (rest.length === 0) this.#points.delete(point);
    else this.#points.set(point, rest);
  }

  at(point: string): readonly Attachment[] {
    return this.#points.get(point) ?? NOBODY;
  }

  get size(): number {
    return this.#points.size;
  }

  *points(): Generator<[string, readonly Attachment[]]> {
    yield* this.#points;
  }
}
