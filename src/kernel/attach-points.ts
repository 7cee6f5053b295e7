/**
 * Where programs hang: every event has a name (`tracepoint:syscalls/sys_enter_execve`, `kprobe:__x64_sys_execve`,
 * `xdp:3`), every name a list of attachments in the order in which they came.
 */
import type { ProgObject } from './objects.ts';

/** One program at one point; a link replaces `program` in place, so that no event falls between old and new. */
export interface Attachment {
  program: ProgObject;
  /** Only events of this process; undefined: all. */
  readonly pid?: number;
  /** Only events on this CPU; undefined: on all. */
  readonly cpu?: number;
  /** bpf_get_attach_cookie */
  readonly cookie: bigint;
}

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
