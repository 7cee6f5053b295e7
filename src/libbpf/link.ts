/** What keeps a program attached: closing it detaches, pinning lets it outlive the process. */
import type { Fd, Kernel } from '../contracts/kernel.ts';
import { BpfError } from '../util/errors.ts';

/** A loaded program, as far as a link looks at it. */
interface HasFd {
  readonly fd: Fd;
}

export class BpfLink {
  readonly fd: Fd;
  /** What it is attached to, for people: `tracepoint syscalls/sys_enter_execve`. */
  readonly target: string;
  readonly #kernel: Kernel;
  /** Descriptors that the link needs and that end with it (perf events). */
  readonly #owned: readonly Fd[];
  #closed = false;

  constructor(kernel: Kernel, fd: Fd, target: string, owned: readonly Fd[] = []) {
    this.#kernel = kernel;
    this.fd = fd;
    this.target = target;
    this.#owned = owned;
  }

  /** Replaces the program in place; no event falls between the old and the new one. */
  update(program: HasFd, options: { expect?: HasFd } = {}): void {
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
    this.#kernel.close(this.fd);
    for (const fd of this.#owned) this.#kernel.close(fd);
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
