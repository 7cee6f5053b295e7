/**
 * File descriptors and the objects behind them. An object dies with its last reference: a descriptor, a pin, a link, a
 * program that uses a map, a slot of a map that holds it.
 */
import type { Fd } from '../contracts/kernel.ts';
import { BpfError, InternalError } from '../util/errors.ts';

/** Anything a descriptor can stand for. Made with one reference, that of its maker. */
export abstract class KernelObject {
  /** `bpf-map`, `bpf-prog`: how messages call it. */
  abstract readonly what: string;
  #references = 1;

  get references(): number {
    return this.#references;
  }

  get(): this {
    if (this.#references === 0) throw new InternalError(`${this.what} used after its last reference`);
    this.#references++;
    return this;
  }

  put(): void {
    if (this.#references === 0) throw new InternalError(`${this.what} released once too often`);
    if (--this.#references === 0) this.destroy();
  }

  /** References that user space holds: descriptors and pins. Programs and other maps are not counted. */
  #users = 0;

  get users(): number {
    return this.#users;
  }

  addUser(): void {
    this.#users++;
  }

  removeUser(): void {
    if (--this.#users === 0) this.lastUserGone();
  }

  /** Program arrays let go of their programs here, as those hold the array in turn and would never die. */
  protected lastUserGone(): void {}

  /** The last reference has gone: give back memory, ids and what the object itself holds. */
  protected abstract destroy(): void;
}

/** Access that a descriptor of a map gives (BPF_F_RDONLY, BPF_F_WRONLY). */
export interface FdMode {
  readonly read: boolean;
  readonly write: boolean;
}

const READ_WRITE: FdMode = { read: true, write: true };

export class FdTable {
  readonly #entries = new Map<number, { object: KernelObject; mode: FdMode }>();
  readonly #limit: number;
  /** Lowest number that may be free; 0..2 belong to the standard streams. */
  #lowest = 3;

  constructor(limit = 1 << 20) {
    this.#limit = limit;
  }

  /** Takes over one reference. */
  install(object: KernelObject, mode: FdMode = READ_WRITE): Fd {
    let fd = this.#lowest;
    while (this.#entries.has(fd)) fd++;
    if (fd >= this.#limit) {
      object.put();
      throw new BpfError('EMFILE', `too many open descriptors: the limit is ${this.#limit}`);
    }
    this.#entries.set(fd, { object, mode });
    object.addUser();
    this.#lowest = fd + 1;
    return fd as Fd;
  }

  object(fd: number): KernelObject | undefined {
    return this.#entries.get(fd)?.object;
  }

  mode(fd: number): FdMode {
    return this.#entries.get(fd)?.mode ?? READ_WRITE;
  }

  /** The object of a class behind `fd`: EBADF where nothing is open, EINVAL where it is something else. */
  expect<T extends KernelObject>(fd: number, type: abstract new (...args: never[]) => T, what: string): T {
    const object = this.object(fd);
    if (object === undefined)
      throw new BpfError('EBADF', `descriptor ${fd} is not open; a ${what} was expected`);
    if (!(object instanceof type))
      throw new BpfError('EINVAL', `descriptor ${fd} is a ${object.what}, not a ${what}`);
    return object;
  }

  close(fd: number): void {
    const entry = this.#entries.get(fd);
    if (entry === undefined) throw new BpfError('EBADF', `descriptor ${fd} is not open`);
    this.#entries.delete(fd);
    if (fd < this.#lowest) this.#lowest = fd;
    entry.object.removeUser();
    entry.object.put();
  }

  closeAll(): void {
    for (const fd of [...this.#entries.keys()]) this.close(fd);
  }
}

/** Object ids as *_GET_NEXT_ID walks them: rising from 1, never reused at once. */
export class IdTable<T> {
  readonly #byId = new Map<number, T>();
  #next = 1;

  /** Reserves the next id. */
  allocate(object: T): number {
    const id = this.#next++;
    this.#byId.set(id, object);
    return id;
  }

  /** Fills an id that was reserved before its object existed. */
  reserve(): number {
    return this.#next++;
  }

  set(id: number, object: T): void {
    this.#byId.set(id, object);
  }

  find(id: number): T | undefined {
    return this.#byId.get(id);
  }

  /** The lowest id greater than `start`. */
  after(start: number): number | null {
    let best: number | null = null;
    for (const id of this.#byId.keys()) if (id > start && (best === null || id < best)) best = id;
    return best;
  }

  remove(id: number): void {
    this.#byId.delete(id);
  }

  values(): IterableIterator<T> {
    return this.#byId.values();
  }
}
