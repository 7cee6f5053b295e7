/**
 * The bpf file system: a tree of directories whose leaves are pins. A pin holds a reference, so that pinned objects
 * outlive their descriptors. Several mounts, hard links and symbolic links are supported; `/sys/fs/bpf` is mounted at first.
 */
import type { TokenInfo } from '../contracts/kernel.ts';
import { BpfError } from '../util/errors.ts';
import type { KernelObject } from './fd-table.ts';

/** `device`: number of the mount, which hard links cannot leave. */
type Node =
  | { readonly kind: 'directory'; readonly device: number; readonly entries: Map<string, Node> }
  | { readonly kind: 'pin'; readonly device: number; readonly object: KernelObject; links: number }
  | { readonly kind: 'symlink'; readonly target: string };

type Directory = Extract<Node, { kind: 'directory' }>;

/** Whose mount it is, and what it lets them do (`token.ts`). */
export interface MountOptions {
  readonly userNamespace: number;
  readonly delegation: TokenInfo;
}

const PLAIN: MountOptions = {
  userNamespace: 0,
  delegation: { allowedCmds: 0n, allowedMaps: 0n, allowedProgs: 0n, allowedAttachs: 0n },
};

const MAX_SYMLINKS = 40;
const NAME_MAX = 255;

export class Bpffs {
  readonly #mounts = new Map<string, Directory>();
  /** By the number of the mount. */
  readonly #options = new Map<number, MountOptions>();
  #devices = 0;

  constructor() {
    this.mount('/sys/fs/bpf');
  }

  /** An empty bpffs at an absolute path. */
  mount(path: string, options: MountOptions = PLAIN): void {
    const at = normalize(path);
    if (this.#mounts.has(at)) throw new BpfError('EBUSY', `a bpffs is already mounted on ${at}`);
    const device = ++this.#devices;
    this.#mounts.set(at, { kind: 'directory', device, entries: new Map() });
    this.#options.set(device, options);
  }

  /** The mount that a directory is on, and whether it is its root. */
  mountOf(path: string): MountOptions & { readonly isRoot: boolean } {
    const node = this.#resolve(path);
    if (node.kind !== 'directory') throw new BpfError('ENOTDIR', `${path} is not a directory`);
    const isRoot = [...this.#mounts.values()].includes(node);
    return { ...this.#options.get(node.device)!, isRoot };
  }

  /** Unmounting drops every pin of the mount. */
  unmount(path: string): void {
    const at = normalize(path);
    const root = this.#mounts.get(at);
    if (root === undefined) throw new BpfError('EINVAL', `no bpffs is mounted on ${at}`);
    this.#mounts.delete(at);
    this.#options.delete(root.device);
    dropTree(root);
  }

  unmountAll(): void {
    for (const path of [...this.#mounts.keys()]) this.unmount(path);
  }

  /** Takes a reference of its own. EEXIST where the name is taken, EPERM outside of every bpffs. */
  pin(path: string, object: KernelObject): void {
    const { directory, name } = this.#parent(path);
    checkName(name, path);
    if (name.includes('.'))
      throw new BpfError('EPERM', `cannot pin to ${path}: names with a dot are reserved`);
    if (directory.entries.has(name)) throw new BpfError('EEXIST', `${path} exists already`);
    directory.entries.set(name, { kind: 'pin', device: directory.device, object: object.get(), links: 1 });
    object.addUser();
  }

  object(path: string): KernelObject {
    const node = this.#resolve(path);
    if (node.kind !== 'pin') throw new BpfError('EACCES', `${path} is a directory, not a pinned object`);
    return node.object;
  }

  /** A second name of the same pin. */
  link(existing: string, path: string): void {
    const node = this.#resolve(existing);
    if (node.kind !== 'pin')
      throw new BpfError('EPERM', `${existing} is a directory: it cannot have a second name`);
    const { directory, name } = this.#parent(path);
    checkName(name, path);
    if (directory.entries.has(name)) throw new BpfError('EEXIST', `${path} exists already`);
    if (node.device !== directory.device)
      throw new BpfError('EXDEV', `${existing} and ${path} lie on different mounts`);
    node.links++;
    directory.entries.set(name, node);
  }

  symlink(target: string, path: string): void {
    const { directory, name } = this.#parent(path);
    checkName(name, path);
    if (directory.entries.has(name)) throw new BpfError('EEXIST', `${path} exists already`);
    directory.entries.set(name, { kind: 'symlink', target });
  }

  unlink(path: string): void {
    const { directory, name } = this.#parent(path);
    const node = directory.entries.get(name);
    if (node === undefined) throw new BpfError('ENOENT', `${path} does not exist`);
    if (node.kind === 'directory') {
      if (node.entries.size > 0) throw new BpfError('ENOTEMPTY', `${path} is not empty`);
    }
    directory.entries.delete(name);
    dropTree(node);
  }

  mkdir(path: string): void {
    const { directory, name } = this.#parent(path);
    checkName(name, path);
    if (directory.entries.has(name)) throw new BpfError('EEXIST', `${path} exists already`);
    directory.entries.set(name, { kind: 'directory', device: directory.device, entries: new Map() });
  }

  readdir(path: string): string[] {
    const node = this.#resolve(path);
    if (node.kind !== 'directory') throw new BpfError('ENOTDIR', `${path} is not a directory`);
    return [...node.entries.keys()].sort();
  }

  /** Every pin below every mount with its path. */
  *pins(): Generator<{ path: string; object: KernelObject }> {
    const queue: { path: string; node: Node }[] = [...this.#mounts].map(([path, node]) => ({ path, node }));
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (next.node.kind === 'pin') yield { path: next.path, object: next.node.object };
      if (next.node.kind === 'directory') {
        for (const [name, node] of next.node.entries) queue.push({ path: `${next.path}/${name}`, node });
      }
    }
  }

  #parent(path: string): { directory: Directory; name: string } {
    const whole = normalize(path);
    const cut = whole.lastIndexOf('/');
    const name = whole.slice(cut + 1);
    if (this.#mounts.has(whole)) throw new BpfError('EBUSY', `${path} is a mount point`);
    const directory = this.#resolve(whole.slice(0, cut) || '/');
    if (directory.kind !== 'directory')
      throw new BpfError('ENOTDIR', `${whole.slice(0, cut)} is not a directory`);
    return { directory, name };
  }

  #resolve(path: string): Node {
    let whole = normalize(path);
    for (let hops = 0; hops <= MAX_SYMLINKS; hops++) {
      const step = this.#walk(whole, path);
      if (typeof step !== 'string') return step;
      whole = step;
    }
    throw new BpfError('ELOOP', `${path}: too many symbolic links`);
  }

  /** The node at a path, or the path to go on with after a symbolic link. */
  #walk(whole: string, asked: string): Node | string {
    const mount = [...this.#mounts.keys()]
      .filter((at) => whole === at || whole.startsWith(at === '/' ? '/' : `${at}/`))
      .sort((a, b) => b.length - a.length)[0];
    if (mount === undefined) {
      throw new BpfError('EPERM', `${asked} is not on a bpffs`, {
        hint: `mounted: ${[...this.#mounts.keys()].join(', ')}`,
      });
    }
    let node: Node = this.#mounts.get(mount)!;
    const names = whole.slice(mount.length).split('/').filter(Boolean);
    for (let i = 0; i < names.length; i++) {
      if (node.kind !== 'directory')
        throw new BpfError('ENOTDIR', `${asked}: ${names[i - 1]} is not a directory`);
      const next = node.entries.get(names[i]);
      if (next === undefined) throw new BpfError('ENOENT', `${asked} does not exist`);
      if (next.kind === 'symlink') {
        const base = next.target.startsWith('/') ? '' : [mount, ...names.slice(0, i)].join('/');
        return normalize([base, next.target, ...names.slice(i + 1)].join('/'));
      }
      node = next;
    }
    return node;
  }
}

/** Absolute, without `.`, `..` and doubled slashes. */
function normalize(path: string): string {
  if (!path.startsWith('/')) throw new BpfError('EINVAL', `'${path}' is not an absolute path`);
  if (path.length > 4096) throw new BpfError('ENAMETOOLONG', 'a path may have 4096 bytes');
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function checkName(name: string, path: string): void {
  if (name === '') throw new BpfError('EINVAL', `${path} names nothing`);
  if (name.length > NAME_MAX)
    throw new BpfError('ENAMETOOLONG', `${path}: a name may have ${NAME_MAX} bytes`);
}

function dropTree(root: Node): void {
  const queue = [root];
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    if (node.kind === 'directory') queue.push(...node.entries.values());
    if (node.kind === 'pin' && --node.links === 0) {
      node.object.removeUser();
      node.object.put();
    }
  }
}
