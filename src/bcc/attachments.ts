/** What a program has attached, by the place: `kprobe vfs_read`. Everything goes with `clear`. */
import type { BpfLink } from '../libbpf/index.ts';
import { BpfError } from '../util/errors.ts';

interface Attachment {
  readonly key: string;
  readonly fnName: string;
  readonly link: BpfLink;
}

export class Attachments {
  #list: Attachment[] = [];

  add(key: string, fnName: string, link: BpfLink): void {
    this.#list.push({ key, fnName, link });
  }

  /** All at that place, or of those one function's. Errors: ENOENT. */
  detach(key: string, fnName?: string): void {
    const isGone = (one: Attachment) => one.key === key && (fnName === undefined || one.fnName === fnName);
    const gone = this.#list.filter(isGone);
    if (gone.length === 0)
      throw new BpfError(
        'ENOENT',
        `${fnName === undefined ? 'nothing' : `function '${fnName}'`} is not attached to ${key}`.replace(
          'nothing is not',
          'nothing is',
        ),
      );
    this.#list = this.#list.filter((one) => !isGone(one));
    for (const { link } of gone) link.destroy();
  }

  /** How many there are of some kinds: `kprobe`. */
  count(...kinds: readonly string[]): number {
    return this.#list.filter(({ key }) => kinds.some((kind) => key.startsWith(`${kind} `))).length;
  }

  clear(): void {
    for (const { link } of this.#list.splice(0)) link.destroy();
  }
}
