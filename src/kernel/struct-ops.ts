/**
 * struct_ops: maps that hold a struct whose functions are programs, registered with the kernel and called by it
 * (kernel/bpf/bpf_struct_ops.c of 6.18). A map is filled once; without BPF_F_LINK that registers it, else a link does.
 */
import { type Btf, type BtfComposite, type BtfMember, formatValue } from '../btf/index.ts';
import type { KernelArg } from '../contracts/events.ts';
import type { LinkInfo } from '../contracts/kernel.ts';
import type { RegisteredStruct, StructCall, StructCallResult } from '../contracts/simulator.ts';
import { type StructOpsRow, structOpsRow } from '../spec/index.ts';
import { BPF_LINK_TYPE, BPF_MAP_FLAGS } from '../uapi/index.ts';
import { fromUtf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { EventObjects } from './kernel-objects.ts';
import { LinkObject } from './links.ts';
import type { Machine } from './machine.ts';
import { type MapObject, ProgObject, type StructContents } from './objects.ts';
import { runProgram } from './run.ts';

const POINTER = 8;

/** As `enum bpf_struct_ops_state` has them. */
const STATES = ['init', 'in use', 'to be freed', 'ready'] as const;
type State = (typeof STATES)[number];

interface Value {
  readonly size: number;
  /** `struct bpf_struct_ops_common_value`, and where the struct itself lies. */
  readonly common: { readonly at: number; readonly size: number };
  readonly data: number;
  readonly struct: BtfComposite;
  readonly structId: number;
}

/** What a struct_ops map holds. */
export class StructOps implements RegisteredStruct, StructContents {
  readonly struct: string;
  readonly #machine: Machine;
  readonly #types: Btf;
  readonly #value: Value;
  readonly #row: Partial<StructOpsRow>;
  readonly #linked: boolean;
  readonly #programs = new Map<string, ProgObject>();
  #state: State = 'init';
  #bytes: Uint8Array;

  /** `typeId`: `struct bpf_struct_ops_NAME` of the kernel's types. Throws BpfError EINVAL where that is none. */
  constructor(machine: Machine, typeId: number, flags: number) {
    const types = machine.kernelBtf!;
    this.#machine = machine;
    this.#types = types;
    this.#value = layoutOf(types, typeId);
    this.struct = this.#value.struct.name;
    this.#row = structOpsRow(this.struct) ?? {};
    this.#linked = (flags & BPF_MAP_FLAGS.BPF_F_LINK) !== 0;
    this.#bytes = new Uint8Array(this.#value.size);
  }

  get name(): string {
    const { named } = this.#row;
    const member = this.#value.struct.members.find(({ name }) => name === named);
    if (member === undefined) return '';
    return fromUtf8(this.#memberBytes(this.#bytes, member)).split('\0')[0]!;
  }

  get data(): Uint8Array {
    return this.#bytes.slice(this.#value.data);
  }

  get members(): readonly string[] {
    return [...this.#programs.keys()];
  }

  // Commands on the map.

  update(key: Uint8Array, value: Uint8Array, flags: number): void {
    if (flags !== 0) throw this.#error('EINVAL', 'its update takes no flags');
    if (key.some((byte) => byte !== 0)) throw this.#error('E2BIG', 'it has one element, 0');
    const { common } = this.#value;
    if (value.subarray(common.at, common.at + common.size).some((byte) => byte !== 0))
      throw this.#error('EINVAL', 'state and reference count are not to be given');
    if (this.#state !== 'init') throw this.#error('EBUSY', `it is filled already (${this.#state})`);
    const programs = this.#check(value);
    for (const [name, program] of programs) this.#programs.set(name, program.get() as ProgObject);
    this.#bytes = value.slice();
    try {
      this.#validate();
      if (this.#linked) this.#state = 'ready';
      else this.register();
    } catch (error) {
      this.#empty();
      throw error;
    }
  }

  lookup(key: Uint8Array): Uint8Array | null {
    if (key.some((byte) => byte !== 0)) return null;
    const bytes = this.#bytes.slice();
    const { common } = this.#value;
    // {references that are nobody's descriptor, state}
    const view = new DataView(bytes.buffer);
    view.setUint32(common.at, this.#machine.structOps.has(this) ? 1 : 0, true);
    view.setUint32(common.at + 4, STATES.indexOf(this.#state), true);
    return bytes;
  }

  nextKey(key: Uint8Array | null): Uint8Array | null {
    return key?.every((byte) => byte === 0) ? null : new Uint8Array(4);
  }

  /** Linux does not look at the key. */
  delete(): void {
    if (this.#linked) throw this.#error('EOPNOTSUPP', 'it is registered by a link: close that');
    if (this.#state === 'to be freed') throw this.#error('EINPROGRESS', 'it has been deleted already');
    if (this.#state === 'init') throw this.#error('ENOENT', 'it is not filled');
    this.unregister();
    this.#state = 'to be freed';
  }

  // Registration.

  /** Registered by itself: until it is deleted, it stays without anybody's descriptor. */
  get holdsMap(): boolean {
    return this.#state === 'in use';
  }

  get canBeLinked(): boolean {
    return this.#linked && this.#state === 'ready';
  }

  /** Throws BpfError EEXIST where one of that name is registered. */
  register(): void {
    const { structOps } = this.#machine;
    const { name, struct } = this;
    if (name !== '' && [...structOps].some((other) => other.struct === struct && other.name === name))
      throw this.#error('EEXIST', `a ${struct} '${name}' is registered already`);
    structOps.add(this);
    if (!this.#linked) this.#state = 'in use';
  }

  unregister(): void {
    this.#machine.structOps.delete(this);
  }

  /** The map goes. */
  free(): void {
    this.unregister();
    this.#empty();
  }

  // Calls.

  call(member: string, args: readonly KernelArg[], options: StructCall = {}): StructCallResult {
    const machine = this.#machine;
    const program = this.#programs.get(member);
    if (program === undefined) {
      throw this.#error('ENOENT', `no program implements ${member}`, `there are ${this.members.join(', ')}`);
    }
    if (!machine.structOps.has(this)) throw this.#error('ENODEV', 'it is not registered');
    const proto = protoOf(this.#types, this.#member(member).type)!;
    if (args.length !== proto.params.length)
      throw this.#error('EINVAL', `${member} takes ${proto.params.length} arguments, not ${args.length}`);
    const { memory } = machine;
    const objects = new EventObjects(memory, machine.processes, () => this.#types);
    const before = { current: machine.current, cpu: machine.cpu };
    const ctx = memory.allocate(Math.max(POINTER, args.length * POINTER), `arguments of ${member}`, POINTER);
    try {
      const words = args.map((arg) => objects.place(arg));
      words.forEach((word, i) => {
        memory.view.setBigUint64(ctx + i * POINTER, word, true);
      });
      if (options.process !== undefined) machine.current = machine.processes.mention(options.process);
      const { cpu = before.cpu } = options;
      if (!Number.isInteger(cpu) || cpu < 0 || cpu >= machine.possibleCpus)
        throw new BpfError('ENXIO', `there is no CPU ${cpu}`);
      if (machine.cpus?.runs(cpu)) throw new BpfError('EBUSY', `CPU ${cpu} runs programs`);
      machine.cpu = cpu;
      const result = runProgram(machine, program, ctx, 0n);
      if (result === null) {
        throw this.#error('EFAULT', `the program of ${member} was stopped: ${program.fault?.message ?? ''}`);
      }
      return {
        value: this.#returned(proto.returnType, result),
        args: args.map((arg, i) =>
          typeof arg === 'object' && arg.kind === 'object' ? this.#object(arg.struct, words[i]!) : undefined,
        ),
      };
    } finally {
      machine.current = before.current;
      machine.cpu = before.cpu;
      memory.free(ctx);
      objects.release();
    }
  }

  /** The low half of R0 as what the prototype says. */
  #returned(type: number, low: number): number {
    if (type === 0) return 0;
    const resolved = this.#types.resolved(type);
    const bits = Math.min(32, 8 * this.#types.sizeOf(type));
    const shift = 32 - bits;
    const signed = resolved.kind === 'int' && resolved.signed;
    return signed ? (low << shift) >> shift : (low << shift) >>> shift;
  }

  #object(struct: string, address: bigint): ReturnType<typeof formatValue> {
    const id = this.#types.find(struct, 'struct')!;
    const at = Number(address & 0xffff_ffffn);
    return formatValue(this.#types, id, this.#machine.memory.read(at, this.#types.sizeOf(id)));
  }

  // What a value may be.

  /** The programs by member; throws where a member cannot be what it is. */
  #check(value: Uint8Array): Map<string, ProgObject> {
    const { notRegistered, data, flags = {} } = this.#row;
    if (notRegistered) throw this.#error('EOPNOTSUPP', `struct ${this.struct} is there to be tested only`);
    const programs = new Map<string, ProgObject>();
    this.#value.struct.members.forEach((member, index) => {
      const bytes = this.#memberBytes(value, member);
      if (bytes.every((byte) => byte === 0)) return;
      if (protoOf(this.#types, member.type) !== undefined)
        programs.set(member.name, this.#program(bytes, member.name, index));
      else if (data !== undefined && !data.includes(member.name))
        throw this.#error('EINVAL', `member ${member.name} must be zero`);
      const known = flags[member.name];
      if (known !== undefined && (wordOf(bytes) & ~known) !== 0)
        throw this.#error('EINVAL', `member ${member.name} has flags that there are not`);
    });
    return programs;
  }

  #program(bytes: Uint8Array, member: string, index: number): ProgObject {
    const fd = wordOf(bytes);
    const program = this.#machine.fds.object(fd);
    if (program === undefined) throw new BpfError('EBADF', `member ${member}: descriptor ${fd} is not open`);
    const fits =
      program instanceof ProgObject &&
      program.type.implementsStructs === true &&
      program.parts.attachBtfId === this.#value.structId &&
      program.parts.expectedAttachType === index;
    if (!fits) throw this.#error('EINVAL', `descriptor ${fd} is no program for member ${member}`);
    return program;
  }

  #validate(): void {
    const { named, required = [] } = this.#row;
    if (named !== undefined && !/^[A-Za-z0-9_.]+$/.test(this.name))
      throw this.#error('EINVAL', `member ${named}, its name, is made of letters, digits, _ and .`);
    for (const names of required)
      if (!names.some((name) => this.#programs.has(name)))
        throw this.#error('EINVAL', `it needs a program for ${names.join(' or ')}`);
  }

  #empty(): void {
    this.#bytes = new Uint8Array(this.#value.size);
    for (const program of this.#programs.values()) program.put();
    this.#programs.clear();
  }

  #member(name: string): BtfMember {
    return this.#value.struct.members.find((member) => member.name === name)!;
  }

  #memberBytes(value: Uint8Array, { type, bitOffset }: BtfMember): Uint8Array {
    const at = this.#value.data + Math.floor(bitOffset / 8);
    return value.subarray(at, at + this.#types.sizeOf(type));
  }

  #error(code: ConstructorParameters<typeof BpfError>[0], what: string, hint?: string): BpfError {
    return new BpfError(code, `struct_ops ${this.struct}: ${what}`, hint === undefined ? {} : { hint });
  }
}

const wordOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);

function layoutOf(types: Btf, typeId: number): Value {
  const value = types.type(typeId);
  const members = value.kind === 'struct' ? value.members : [];
  const common = members.find(({ name }) => name === 'common');
  const data = members.find(({ name }) => name === 'data');
  const struct = data === undefined ? undefined : types.resolved(data.type);
  if (common === undefined || struct?.kind !== 'struct' || types.sizeOf(common.type) < 8)
    throw new BpfError('EINVAL', `type ${typeId} of the kernel is not made of common and data`);
  return {
    size: types.sizeOf(typeId),
    common: { at: common.bitOffset / 8, size: types.sizeOf(common.type) },
    data: data!.bitOffset / 8,
    struct,
    structId: types.find(struct.name, 'struct')!,
  };
}

/** The prototype behind a pointer to a function; undefined for anything else. */
function protoOf(types: Btf, type: number) {
  const pointer = types.resolved(type);
  const target = pointer.kind === 'ptr' && pointer.type !== 0 ? types.resolved(pointer.type) : undefined;
  return target?.kind === 'func_proto' ? target : undefined;
}

/** Registers the struct of a map for as long as it is there (bpf_struct_ops_link_create). */
export class StructOpsLink extends LinkObject {
  readonly #map: MapObject;
  readonly #ops: StructContents;

  /** Throws BpfError: EINVAL where the map is not to be linked or not filled yet, EEXIST as `register`. */
  static open(machine: Machine, map: MapObject): StructOpsLink {
    const { structOps } = map;
    if (!structOps?.canBeLinked) {
      throw new BpfError('EINVAL', `map '${map.map.info.name}' holds no struct that a link registers`, {
        hint: 'a struct_ops map with BPF_F_LINK, filled with MAP_UPDATE_ELEM',
      });
    }
    structOps.register();
    return new StructOpsLink(machine, map.get() as MapObject, structOps);
  }

  private constructor(machine: Machine, map: MapObject, ops: StructContents) {
    super(machine.links);
    this.#map = map;
    this.#ops = ops;
  }

  info(): LinkInfo {
    return {
      type: BPF_LINK_TYPE.BPF_LINK_TYPE_STRUCT_OPS,
      id: this.id,
      progId: 0,
      details: { mapId: this.attached ? this.#map.id : 0 },
    };
  }

  override forceDetach(): void {
    this.release();
  }

  protected override detach(): void {
    this.#ops.unregister();
  }

  protected override destroy(): void {
    super.destroy();
    this.#map.put();
  }
}
