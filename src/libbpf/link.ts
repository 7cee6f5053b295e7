/** What keeps a program attached: closing it detaches, pinning lets it outlive the process. */
import type { Fd, Kernel } from '../contracts/kernel.ts';
import { BpfError } from '../util/errors.ts';

/** A loaded program, as far as a link looks at it. */
interface HasFd {
  readonly fd: Fd;
}

/** What goes with a link besides its own descriptor. */
export interface LinkBelongings {
  /** Descriptors that the link needs and that end with it (perf events). */
  readonly owned?: readonly Fd[];
  /** Links that are this one together (a sampling event a CPU, the places of a USDT probe); it has then no descriptor itself. */
  readonly parts?: readonly BpfLink[];
  /** Runs after it is detached; for places without links it is what detaches. */
  readonly onDestroy?: () => void;
}

export class BpfLink {
  /** What it is attached to, for people: `tracepoint syscalls/sys_enter_execve`. */
  readonly target: string;
  readonly parts: readonly BpfLink[];
  readonly #kernel: Kernel;
  readonly #fd: Fd | undefined;
  readonly #owned: readonly Fd[];
  readonly #onDestroy: (() => void) | undefined;
  #closed = false;

  constructor(kernel: Kernel, fd: Fd | undefined, target: string, belongings: LinkBelongings = {}) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.target = target;
    this.parts = belongings.parts ?? [];
    this.#owned = belongings.owned ?? [];
    this.#onDestroy = belongings.onDestroy;
  }

  /** Throws EOPNOTSUPP where the attachment is not one link of the kernel. */
  get fd(): Fd {
    if (this.#fd !== undefined) return this.#fd;
    throw new BpfError(
      'EOPNOTSUPP',
      this.parts.length > 0
        ? `${this.target} is ${this.parts.length} links of the kernel together: take one of 'parts'`
        : `${this.target} is attached without a link of the kernel`,
    );
  }

  /** Replaces the program in place; no event falls between the old and the new one. */
  update(program: HasFd, options: { expect?: HasFd } = {}): void {
    if (this.#fd === undefined && this.parts.length > 0) {
      for (const part of this.parts) part.update(program, options);
      return;
    }
    const expected = options.expect;
    this.#kernel.linkUpdate({
      linkFd: this.fd,
      newProgFd: program.fd,
      ...(expected === undefined ? {} : { oldProgFd: expected.fd, flags: 4 }),
    });
  }

  pin(pathname: string): void {
    this.#kernel.objPin({ pathname, bpfFd: this.fd });
  }

  /** Detaches, as far as nobody else holds the link. Idempotent. */
  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const part of this.parts) part.destroy();
    if (this.#fd !== undefined) this.#kernel.close(this.#fd);
    for (const fd of this.#owned) this.#kernel.close(fd);
    this.#onDestroy?.();
  }

  /** Detaches even where the link is pinned or held by others (LINK_DETACH). */
  detach(): void {
    if (this.#closed) throw new BpfError('EBADF', `the link to ${this.target} is closed`);
    this.#kernel.linkDetach({ linkFd: this.fd });
  }

  [Symbol.dispose](): void {
    this.destroy();
  }
}

/** Makes the parts of a link one by one; where one fails, those before are taken away again. */
export function linkParts<T>(items: readonly T[], make: (item: T) => BpfLink): BpfLink[] {
  const parts: BpfLink[] = [];
  try {
    for (const item of items) parts.push(make(item));
    return parts;
  } catch (error) {
    for (const part of parts) part.destroy();
    throw error;
  }
}
