/**
 * What may be changed about a map of an object before it is loaded (libbpf: bpf_map__set_*, bpf_map__reuse_fd): sizes, contents,
 * whether and where it is made. After load every change throws EBUSY.
 */
import type { Fd } from '../contracts/kernel.ts';
import type { MapSpec } from '../object/index.ts';
import { BpfError } from '../util/errors.ts';

type Changeable = Pick<
  MapSpec,
  'type' | 'keySize' | 'valueSize' | 'maxEntries' | 'flags' | 'mapExtra' | 'numaNode' | 'initial'
>;

export class MapSettings {
  /** As the object file says. */
  readonly spec: MapSpec;
  #changes: Partial<Changeable> & Partial<Pick<MapSpec, 'btfKeyTypeId' | 'btfValueTypeId'>> = {};
  #autocreate: boolean;
  #autoattach = true;
  #pinPath: string | undefined;
  #reused: Fd | undefined;
  #inner: Fd | undefined;
  readonly #isLoaded: () => boolean;
  readonly #resizeTypes: (name: string, size: number) => boolean;

  /** `resizeTypes` makes a data section larger or smaller in the object's BTF; false where its last variable is no array. */
  constructor(
    spec: MapSpec,
    isLoaded: () => boolean,
    resizeTypes: (section: string, size: number) => boolean = () => false,
  ) {
    this.spec = spec;
    this.#autocreate = spec.structOps?.autocreate ?? true;
    this.#isLoaded = isLoaded;
    this.#resizeTypes = resizeTypes;
  }

  get name(): string {
    return this.spec.name;
  }

  /** The map as it will be made. */
  get current(): MapSpec {
    return { ...this.spec, ...this.#changes };
  }

  /** False: the map is not made; programs that refer to it are refused where they come to use it. */
  get autocreate(): boolean {
    return this.#autocreate;
  }
  /** struct_ops: whether `attach` of the object registers it. */
  get autoattach(): boolean {
    return this.#autoattach;
  }
  get pinPath(): string | undefined {
    return this.#pinPath;
  }
  get reusedFd(): Fd | undefined {
    return this.#reused;
  }
  get innerMapFd(): Fd | undefined {
    return this.#inner;
  }

  setAutocreate(autocreate: boolean): this {
    this.#check();
    this.#autocreate = autocreate;
    return this;
  }

  setAutoattach(autoattach: boolean): this {
    this.#autoattach = autoattach;
    return this;
  }

  setMaxEntries(maxEntries: number): this {
    return this.#change({ maxEntries });
  }

  setFlags(flags: number): this {
    return this.#change({ flags });
  }

  setMapExtra(mapExtra: bigint): this {
    return this.#change({ mapExtra });
  }

  setNumaNode(numaNode: number): this {
    return this.#change({ numaNode });
  }

  /** UAPI number of the map type. */
  setType(type: number): this {
    return this.#change({ type });
  }

  setKeySize(keySize: number): this {
    return this.#change({ keySize, ...(keySize === this.current.keySize ? {} : { btfKeyTypeId: 0 }) });
  }

  /** Bytes. A data section keeps its contents as far as they fit; where its last variable is an array, that one grows or shrinks. */
  setValueSize(valueSize: number): this {
    this.#check();
    const { current } = this;
    if (valueSize === current.valueSize) return this;
    const isData = current.origin === 'data' || current.origin === 'rodata' || current.origin === 'bss';
    const typed = isData && this.#resizeTypes(current.section, valueSize);
    const initial = new Uint8Array(valueSize);
    if (current.initial !== undefined) initial.set(current.initial.subarray(0, valueSize));
    return this.#change({
      valueSize,
      ...(current.initial === undefined ? {} : { initial }),
      ...(typed ? {} : { btfValueTypeId: 0 }),
    });
  }

  /** Contents of a data section: as many bytes as it has. */
  setInitialValue(bytes: Uint8Array): this {
    const { valueSize, origin } = this.current;
    if (origin !== 'data' && origin !== 'rodata' && origin !== 'bss')
      throw new BpfError('EINVAL', `map '${this.name}' is no data section: write to it after load`);
    if (bytes.length !== valueSize)
      throw new BpfError('EINVAL', `map '${this.name}' has ${valueSize} bytes, not ${bytes.length}`);
    return this.#change({ initial: bytes.slice() });
  }

  /** Where it is pinned, or found pinned, on load. */
  setPinPath(pathname: string | undefined): this {
    this.#check();
    this.#pinPath = pathname;
    return this;
  }

  /** An existing map takes its place; the descriptor stays the caller's. */
  reuse(map: { readonly fd: Fd }): this {
    this.#check();
    this.#reused = map.fd;
    return this;
  }

  /** For maps of maps: one of the kind that they hold. The descriptor stays the caller's. */
  setInnerMap(map: { readonly fd: Fd }): this {
    this.#check();
    this.#inner = map.fd;
    return this;
  }

  #change(changes: Partial<MapSpec>): this {
    this.#check();
    this.#changes = { ...this.#changes, ...changes };
    return this;
  }

  #check(): void {
    if (this.#isLoaded()) throw new BpfError('EBUSY', `map '${this.name}' is made already`);
  }
}
