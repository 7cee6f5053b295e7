/**
 * A map as an object: keys and values are bytes, or JavaScript values as the map's BTF types say. One class for both
 * kernels and for every map type; per-CPU maps give one value a CPU.
 */
import { type Btf, type BtfInput, type BtfValue, encodeValue, formatValue } from '../btf/index.ts';
import type { Fd, Kernel, MappedMemory } from '../contracts/kernel.ts';
import { type MapTypeRow, mapTypeById } from '../spec/index.ts';
import { BPF_UPDATE_FLAGS } from '../uapi/index.ts';
import { alignUp } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';

export interface MapDefinition {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly btf: Btf | undefined;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
}

/** A key or value to be written: bytes as they are, or a value that BTF (or a plain integer size) tells how to lay out. */
export type MapInput = BtfInput;

const BATCH = 256;

export class BpfMap {
  readonly fd: Fd;
  readonly name: string;
  readonly definition: MapDefinition;
  readonly type: MapTypeRow;
  readonly #kernel: Kernel;
  #memory: MappedMemory | undefined;

  constructor(kernel: Kernel, fd: Fd, definition: MapDefinition) {
    this.#kernel = kernel;
    this.fd = fd;
    this.name = definition.name;
    this.definition = definition;
    const type = mapTypeById(definition.type);
    if (type === undefined)
      throw new BpfError('EINVAL', `map '${definition.name}' has the unknown type ${definition.type}`);
    this.type = type;
  }

  /** Opens a map by descriptor: its shape is what the kernel says, its types are those of the BTF it was made with. */
  static fromFd(kernel: Kernel, fd: Fd, btf?: Btf): BpfMap {
    const info = kernel.objGetInfoByFd({ bpfFd: fd });
    if (info.kind !== 'map') throw new BpfError('EINVAL', `descriptor ${fd} is a ${info.kind}, not a map`);
    return new BpfMap(kernel, fd, {
      name: info.name,
      type: info.type,
      keySize: info.keySize,
      valueSize: info.valueSize,
      maxEntries: info.maxEntries,
      flags: info.mapFlags,
      btf,
      btfKeyTypeId: info.btfKeyTypeId,
      btfValueTypeId: info.btfValueTypeId,
    });
  }

  /**
   * The map in this process's memory (mmap(2)): the values of an array made with BPF_F_MMAPABLE, or an arena, whose pages come as they
   * are touched. Mapped until the object is closed.
   */
  memory(): MappedMemory {
    const memory = this.#memory ?? this.#kernel.mapMemory?.(this.fd);
    if (memory === undefined) throw new BpfError('EOPNOTSUPP', `this kernel cannot map '${this.name}'`);
    this.#memory = memory;
    return memory;
  }

  /** Gives up what `memory` gave. */
  unmap(): void {
    this.#memory?.unmap();
    this.#memory = undefined;
  }

  /** The value under a key, undefined where there is none. Per-CPU maps: one value a CPU. */
  get(key: MapInput): BtfValue | BtfValue[] | undefined {
    const bytes = this.getBytes(this.encodeKey(key));
    return bytes === undefined ? undefined : this.decodeStored(bytes);
  }

  getBytes(key: Uint8Array): Uint8Array | undefined {
    return this.#kernel.mapLookupElem({ mapFd: this.fd, key }) ?? undefined;
  }

  has(key: MapInput): boolean {
    return this.getBytes(this.encodeKey(key)) !== undefined;
  }

  /** Writes a value; `mode` as BPF_NOEXIST and BPF_EXIST. Per-CPU maps: one value for all CPUs, or an array with one a CPU. */
  set(key: MapInput, value: MapInput, mode: 'any' | 'noexist' | 'exist' = 'any'): void {
    const flags = {
      any: BPF_UPDATE_FLAGS.BPF_ANY,
      noexist: BPF_UPDATE_FLAGS.BPF_NOEXIST,
      exist: BPF_UPDATE_FLAGS.BPF_EXIST,
    }[mode];
    this.#kernel.mapUpdateElem({
      mapFd: this.fd,
      key: this.encodeKey(key),
      value: this.encodeStored(value),
      flags,
    });
  }

  /** False where there was no such key. */
  delete(key: MapInput): boolean {
    return this.#remove(this.encodeKey(key));
  }

  #remove(key: Uint8Array): boolean {
    try {
      this.#kernel.mapDeleteElem({ mapFd: this.fd, key });
      return true;
    } catch (error) {
      if (error instanceof BpfError && error.code === 'ENOENT') return false;
      throw error;
    }
  }

  /** Takes a value out: of a queue or stack (no key), or a hash map. Undefined where there is none. */
  take(key?: MapInput): BtfValue | BtfValue[] | undefined {
    const bytes = this.#kernel.mapLookupAndDeleteElem({
      mapFd: this.fd,
      key: key === undefined ? new Uint8Array() : this.encodeKey(key),
    });
    return bytes === null ? undefined : this.decodeStored(bytes);
  }

  /** Puts a value into a queue or stack. */
  push(value: MapInput): void {
    this.#kernel.mapUpdateElem({
      mapFd: this.fd,
      key: new Uint8Array(),
      value: this.encodeStored(value),
      flags: 0,
    });
  }

  *keys(): Generator<BtfValue> {
    for (const key of this.keyBytes()) yield this.decodeKey(key);
  }

  *entries(): Generator<[BtfValue, BtfValue | BtfValue[]]> {
    for (const [key, value] of this.entryBytes()) yield [this.decodeKey(key), this.decodeStored(value)];
  }

  *values(): Generator<BtfValue | BtfValue[]> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): Generator<[BtfValue, BtfValue | BtfValue[]]> {
    return this.entries();
  }

  /**
   * All keys at the time of the call as far as the kernel gives them: a map that changes while it is walked may show a key
   * twice or not at all, as with bpf(2). A walk ends after twice `maxEntries` steps whatever happens.
   */
  *keyBytes(): Generator<Uint8Array> {
    let key: Uint8Array | null = null;
    const limit = 2 * this.definition.maxEntries + 16;
    for (let steps = 0; steps < limit; steps++) {
      key = this.#kernel.mapGetNextKey({ mapFd: this.fd, key });
      if (key === null) return;
      yield key;
    }
  }

  *entryBytes(): Generator<[Uint8Array, Uint8Array]> {
    for (const key of this.keyBytes()) {
      const value = this.getBytes(key);
      if (value !== undefined) yield [key, value];
    }
  }

  /** Number of entries, by walking. */
  count(): number {
    let count = 0;
    for (const _ of this.keyBytes()) count++;
    return count;
  }

  /** Removes all entries that are there at the time of the call (array values become 0). */
  clear(): void {
    if (this.definition.keySize === 0) {
      for (let i = 0; i < this.definition.maxEntries && this.take() !== undefined; i++);
      return;
    }
    if (this.#zeroable) {
      const zero = new Uint8Array(this.storedSize);
      for (const key of [...this.keyBytes()])
        this.#kernel.mapUpdateElem({ mapFd: this.fd, key, value: zero, flags: 0 });
      return;
    }
    // Programs may put entries in all the while: what was there at the time of the call goes, and no more than fits.
    for (let seen = 0; seen <= this.definition.maxEntries; ) {
      const keys: Uint8Array[] = [];
      for (const key of this.keyBytes()) {
        keys.push(key);
        if (keys.length === BATCH) break;
      }
      let deleted = 0;
      for (const key of keys) if (this.#remove(key)) deleted++;
      if (keys.length < BATCH) return;
      // Slots of arrays have keys though they are empty.
      if (deleted === 0) {
        for (const key of [...this.keyBytes()]) this.#remove(key);
        return;
      }
      seen += keys.length;
    }
  }

  /** Sum over the CPUs of each member that is a number; the value itself where it is one. For per-CPU maps. */
  sum(key: MapInput): BtfValue | undefined {
    const values = this.get(key);
    if (values === undefined || !Array.isArray(values)) return values as BtfValue | undefined;
    return values.reduce((total, value) => addValues(total, value));
  }

  encodeKey(key: MapInput): Uint8Array {
    return this.#encode(key, this.definition.btfKeyTypeId, this.definition.keySize, 'key');
  }

  decodeKey(bytes: Uint8Array): BtfValue {
    return this.#decode(bytes, this.definition.btfKeyTypeId);
  }

  /** One value (of one CPU). */
  decodeValue(bytes: Uint8Array): BtfValue {
    return this.#decode(bytes, this.definition.btfValueTypeId);
  }

  /** Bytes of a value as bpf(2) moves it. */
  get storedSize(): number {
    const { valueSize } = this.definition;
    return this.type.perCpu ? alignUp(valueSize, 8) * this.#kernel.features().possibleCpus : valueSize;
  }

  pin(pathname: string): void {
    this.#kernel.objPin({ pathname, bpfFd: this.fd });
  }

  freeze(): void {
    this.#kernel.mapFreeze({ mapFd: this.fd });
  }

  get #zeroable(): boolean {
    return this.type.name === 'array' || this.type.name === 'percpu_array';
  }

  /** A value as bpf(2) moves it: per-CPU maps have one a CPU. */
  decodeStored(bytes: Uint8Array): BtfValue | BtfValue[] {
    if (!this.type.perCpu) return this.decodeValue(bytes);
    const { valueSize } = this.definition;
    const step = alignUp(valueSize, 8);
    const values: BtfValue[] = [];
    for (let at = 0; at + valueSize <= bytes.length; at += step)
      values.push(this.decodeValue(bytes.subarray(at, at + valueSize)));
    return values;
  }

  private encodeStored(value: MapInput): Uint8Array {
    const { valueSize, btfValueTypeId } = this.definition;
    if (value instanceof Uint8Array && value.length === this.storedSize) return value;
    const one = (input: MapInput) => this.#encode(input, btfValueTypeId, valueSize, 'value');
    if (!this.type.perCpu) return one(value);
    const step = alignUp(valueSize, 8);
    const cpus = this.#kernel.features().possibleCpus;
    const perCpu =
      Array.isArray(value) && value.length === cpus
        ? (value as readonly MapInput[])
        : new Array(cpus).fill(value);
    const bytes = new Uint8Array(step * cpus);
    perCpu.forEach((input, cpu) => {
      bytes.set(one(input), cpu * step);
    });
    return bytes;
  }

  #encode(value: MapInput, typeId: number, size: number, what: string): Uint8Array {
    const { btf, name } = this.definition;
    if (value instanceof Uint8Array) {
      if (value.length !== size)
        throw new BpfError('EINVAL', `map '${name}' has ${what}s of ${size} bytes, not ${value.length}`);
      return value;
    }
    if (btf !== undefined && typeId !== 0) return encodeValue(btf, typeId, value);
    if (size > 8 || (typeof value !== 'number' && typeof value !== 'bigint')) {
      throw new BpfError('EINVAL', `map '${name}' has no BTF type for its ${what}s: give ${size} bytes`, {
        hint: 'a Uint8Array, or an integer where it has at most 8 bytes',
      });
    }
    const bits = 8 * size;
    const held = typeof value === 'bigint' || Number.isInteger(value) ? BigInt(value) : undefined;
    if (held === undefined || (BigInt.asUintN(bits, held) !== held && BigInt.asIntN(bits, held) !== held))
      throw new BpfError('ERANGE', `map '${name}': ${value} is no integer of ${size} bytes`);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigInt64(0, held, true);
    return bytes.slice(0, size);
  }

  #decode(bytes: Uint8Array, typeId: number): BtfValue {
    const { btf } = this.definition;
    if (btf !== undefined && typeId !== 0) return formatValue(btf, typeId, bytes);
    if (bytes.length === 4) return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    if (bytes.length === 8) {
      const value = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
      return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
    }
    return Array.from(bytes);
  }
}

function addValues(a: BtfValue, b: BtfValue): BtfValue {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  if ((typeof a === 'bigint' || typeof a === 'number') && (typeof b === 'bigint' || typeof b === 'number'))
    return BigInt(a) + BigInt(b);
  if (Array.isArray(a) && Array.isArray(b)) return a.map((value, i) => addValues(value, b[i]));
  if (isRecord(a) && isRecord(b)) {
    return Object.fromEntries(Object.entries(a).map(([name, value]) => [name, addValues(value, b[name])]));
  }
  return a;
}

function isRecord(value: BtfValue): value is { readonly [name: string]: BtfValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
