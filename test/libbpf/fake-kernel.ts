/** A kernel that takes everything and writes down what it was asked: for tests of what the front end asks for. */
import type { Fd, Kernel, KernelFeatures, MachineFiles, PerfEventAttr } from '../../src/contracts/kernel.ts';
import { BpfError } from '../../src/util/errors.ts';

export interface Call {
  readonly method: string;
  readonly attr: unknown;
}

export interface FakeOptions {
  readonly release?: string;
  readonly files?: Partial<MachineFiles> & { readonly contents?: Readonly<Record<string, Uint8Array>> };
  /** Without it the kernel has no machine below it. */
  readonly noFiles?: boolean;
  /** Refuses the n-th LINK_CREATE. */
  readonly failLink?: number;
}

export class FakeKernel {
  readonly calls: Call[] = [];
  /** Descriptors that are open. */
  readonly open = new Set<number>();
  readonly files: MachineFiles | undefined;
  readonly #options: FakeOptions;
  #next = 100;
  #links = 0;

  constructor(options: FakeOptions = {}) {
    this.#options = options;
    const contents = options.files?.contents ?? {};
    const none = (path: string) => contents[path] ?? null;
    this.files = options.noFiles
      ? undefined
      : {
          read: none,
          readTracing: none,
          resolveExecutable: (name) => (name in contents ? name : null),
          open: (path) => {
            if (!(path in contents)) throw new BpfError('ENOENT', `there is no ${path}`);
            return this.#fd('open', path);
          },
          ...options.files,
        };
  }

  /** As the contract; only what the attachers call is there. */
  get kernel(): Kernel {
    return this as unknown as Kernel;
  }

  #fd(method: string, attr: unknown): Fd {
    this.calls.push({ method, attr });
    const fd = this.#next++;
    this.open.add(fd);
    return fd as Fd;
  }

  linkCreate(attr: unknown): Fd {
    if (++this.#links === this.#options.failLink) throw new BpfError('EBUSY', 'refused');
    return this.#fd('linkCreate', attr);
  }
  rawTracepointOpen(attr: unknown): Fd {
    return this.#fd('rawTracepointOpen', attr);
  }
  perfEventOpen(attr: PerfEventAttr): Fd {
    return this.#fd('perfEventOpen', attr);
  }
  iterCreate(attr: unknown): Fd {
    return this.#fd('iterCreate', attr);
  }
  progAttach(attr: unknown): void {
    this.calls.push({ method: 'progAttach', attr });
  }
  progDetach(attr: unknown): void {
    this.calls.push({ method: 'progDetach', attr });
  }
  linkUpdate(attr: unknown): void {
    this.calls.push({ method: 'linkUpdate', attr });
  }
  mapUpdateElem(attr: unknown): void {
    this.calls.push({ method: 'mapUpdateElem', attr });
  }
  mapDeleteElem(attr: unknown): void {
    this.calls.push({ method: 'mapDeleteElem', attr });
  }
  /** Only maps are asked for: each is itself. */
  objGetInfoByFd({ bpfFd }: { bpfFd: Fd }): { kind: 'map'; id: number } {
    return { kind: 'map', id: bpfFd };
  }
  ifNameToIndex(name: string): number | null {
    return name === 'eth0' ? 3 : null;
  }
  features(): KernelFeatures {
    return {
      kind: 'host',
      release: this.#options.release ?? '6.18.1',
      arch: 'x86_64',
      possibleCpus: 2,
      progTypes: new Set(),
      mapTypes: new Set(),
      helpers: new Set(),
    };
  }
  close(fd: Fd): void {
    if (!this.open.delete(fd)) throw new BpfError('EBADF', `descriptor ${fd} is not open`);
  }
}
