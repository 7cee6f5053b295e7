/**
 * Tables that outlive or are older than a program: pinned ones, those that programs of one process lend each other (BPF_TABLE_PUBLIC and
 * BPF_TABLE_SHARED; the kind `extern` takes them), and maps of maps, whose shape is another table's.
 *
 * Tables are lent by name, on one kernel. Who lends one takes the name back when it ends; borrowers keep the map itself.
 */
import type { TableNote } from '../compiler/index.ts';
import type { Fd, Kernel, MapInfoAttr } from '../contracts/kernel.ts';
import { type BpfObject, MapSettings } from '../libbpf/index.ts';
import type { ObjectSpec } from '../object/index.ts';
import { BpfError } from '../util/errors.ts';

const LENT = new WeakMap<Kernel, Map<string, { readonly fd: Fd; readonly owner: SharedTables }>>();

export class SharedTables {
  readonly #kernel: Kernel;
  readonly #spec: ObjectSpec;
  readonly #notes: ReadonlyMap<string, TableNote>;
  /** Descriptors of the object's own: closed at the end. */
  readonly #own: Fd[] = [];

  constructor(kernel: Kernel, spec: ObjectSpec, notes: ReadonlyMap<string, TableNote>) {
    this.#kernel = kernel;
    this.#spec = spec;
    this.#notes = notes;
  }

  /** Before the maps are made. Errors: ENOENT for a table that nobody lends, or an inner table that is not there. */
  adopt(object: BpfObject): void {
    for (const [name, note] of this.#notes) {
      const settings = object.mapSettings(name);
      if (!(settings instanceof MapSettings)) continue;
      if (note.inner !== undefined) settings.setInnerMap({ fd: this.#innerOf(name, note.inner) });
      if (note.pinned !== undefined) this.#adoptPinned(settings, note.pinned);
      if (note.sharing === 'extern') this.#adoptLent(settings);
    }
  }

  /** After they are made: those that others may take. */
  publish(object: BpfObject): void {
    for (const [name, { sharing }] of this.#notes) {
      if (sharing !== 'public' && sharing !== 'shared') continue;
      const lent = LENT.get(this.#kernel) ?? new Map();
      LENT.set(this.#kernel, lent);
      lent.set(name, { fd: object.findMap(name).fd, owner: this });
    }
  }

  close(): void {
    const lent = LENT.get(this.#kernel);
    for (const [name, { owner }] of lent ?? []) if (owner === this) lent?.delete(name);
    for (const fd of this.#own.splice(0)) this.#kernel.close(fd);
  }

  #innerOf(name: string, inner: string): Fd {
    const spec = this.#spec.maps.find((one) => one.name === inner);
    if (spec === undefined)
      throw new BpfError('ENOENT', `table '${name}' holds tables like '${inner}', which is not there`);
    const { type, keySize, valueSize, maxEntries, flags } = spec;
    return this.#keep(
      this.#kernel.mapCreate({ mapType: type, keySize, valueSize, maxEntries, mapFlags: flags }),
    );
  }

  #keep(fd: Fd): Fd {
    this.#own.push(fd);
    return fd;
  }

  #adoptPinned(settings: MapSettings, path: string): void {
    let fd: Fd;
    try {
      fd = this.#keep(this.#kernel.objGet({ pathname: path }));
    } catch (error) {
      if (!(error instanceof BpfError) || error.code !== 'ENOENT') throw error;
      settings.setPinPath(path);
      return;
    }
    this.#take(settings, fd, `what is pinned at ${path}`);
  }

  #adoptLent(settings: MapSettings): void {
    const found = LENT.get(this.#kernel)?.get(settings.name);
    if (found === undefined)
      throw new BpfError('ENOENT', `no program of this process lends a table '${settings.name}'`, {
        hint: 'declare it there with BPF_TABLE_PUBLIC or BPF_TABLE_SHARED, and keep that program',
      });
    const { id } = this.#info(found.fd);
    const fd = this.#keep(this.#kernel.objGetFdById({ kind: 'map', id }));
    this.#take(settings, fd, `the table '${settings.name}' of another program`);
  }

  #info(fd: Fd): MapInfoAttr {
    const info = this.#kernel.objGetInfoByFd({ bpfFd: fd });
    if (info.kind !== 'map') throw new BpfError('EINVAL', `it is a ${info.kind}, not a map`);
    return info;
  }

  /** Its kind and size are what they are; the program must mean the same keys and values. */
  #take(settings: MapSettings, fd: Fd, what: string): void {
    const info = this.#info(fd);
    const { keySize, valueSize } = settings.current;
    if (info.keySize !== keySize || info.valueSize !== valueSize)
      throw new BpfError(
        'EINVAL',
        `table '${settings.name}': ${what} has keys of ${info.keySize} and values of ${info.valueSize} bytes, not ${keySize} and ${valueSize}`,
      );
    settings.setType(info.type).setMaxEntries(info.maxEntries).setFlags(info.mapFlags);
    settings.setMapExtra(info.mapExtra).reuse({ fd });
  }
}
