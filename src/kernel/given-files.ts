/** Files of the machine around an embedded kernel, as its user has given them: read only, by absolute path. */
import type { Fd, MachineFiles } from '../contracts/kernel.ts';
import { fromUtf8, utf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';

const TRACEFS = '/sys/kernel/tracing';

export class GivenFiles implements MachineFiles {
  readonly #files: ReadonlyMap<string, Uint8Array>;

  /** Errors: EINVAL for a path that is not absolute. */
  constructor(files: Readonly<Record<string, Uint8Array | string>>) {
    const list = Object.entries(files).map(([path, content]): [string, Uint8Array] => {
      if (!path.startsWith('/'))
        throw new BpfError('EINVAL', `'${path}' is no absolute path: files of the kernel's machine have one`);
      return [path, typeof content === 'string' ? utf8(content) : content];
    });
    this.#files = new Map(list);
  }

  read(path: string): Uint8Array | null {
    return this.#files.get(path) ?? null;
  }

  readTracing(path: string): Uint8Array | null {
    return this.read(`${TRACEFS}/${path}`);
  }

  resolveExecutable(name: string, pid?: number): string | null {
    const maps = pid === undefined ? null : this.read(`/proc/${pid}/maps`);
    const mapped = maps === null ? [] : fromUtf8(maps).match(/\/\S+$/gm);
    const isNamed = (path: string) => path.slice(path.lastIndexOf('/') + 1) === name;
    return [...(mapped ?? []), ...this.#files.keys()].find(isNamed) ?? null;
  }

  open(path: string): Fd {
    throw new BpfError('ENOENT', `there is no ${path} on the machine of the embedded kernel to be opened`);
  }
}
