/**
 * struct_ops maps: the object's struct is carried over to the kernel's struct of that name, member by member, inside of the value
 * type `struct bpf_struct_ops_<name>` (libbpf: bpf_map__init_kern_struct_ops). Slots of functions take descriptors of programs.
 */
import { type Btf, type BtfComposite, type BtfMember, essentialName } from '../../btf/index.ts';
import type { Fd } from '../../contracts/kernel.ts';
import type { MapSpec } from '../../object/index.ts';
import { BPF_MAP_TYPE } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import type { LoadContext } from './context.ts';

/** A struct_ops map as this kernel wants it. */
export interface StructOpsPlan {
  readonly valueTypeId: number;
  readonly valueSize: number;
  /** Of the module that has the types; undefined for vmlinux. */
  readonly moduleFd: Fd | undefined;
  /** The value, but for the functions. */
  readonly value: Uint8Array;
  readonly functions: readonly StructOpsFunction[];
}

export interface StructOpsFunction {
  readonly program: string;
  /** Of its slot in the value. */
  readonly offset: number;
  /** What PROG_LOAD says about the program: the struct and which member it implements. */
  readonly attachBtfId: number;
  readonly member: number;
  readonly attachBtfObjFd: Fd | undefined;
}

const PREFIX = 'bpf_struct_ops_';
const POINTER_SIZE = 8;

/** Errors: EOPNOTSUPP where the kernel has no struct_ops, ENOENT where it has not this one, EINVAL where a member does not fit. */
export function planStructOps(context: LoadContext, map: MapSpec): StructOpsPlan {
  const { structOps } = map;
  const { btf } = context.spec;
  if (structOps === undefined || btf === undefined)
    throw new BpfError('EINVAL', `map '${map.name}' is no struct_ops map`);
  const name = essentialName(structOps.typeName);
  const what = `map '${map.name}' implements struct ${name}`;
  if (!context.kernel.features().mapTypes.has(BPF_MAP_TYPE.BPF_MAP_TYPE_STRUCT_OPS))
    throw new BpfError('EOPNOTSUPP', `${what}: struct_ops are not implemented by this kernel`);
  const value = context.types.find(PREFIX + name, 'struct');
  if (value === undefined)
    throw new BpfError(
      'ENOENT',
      `${what}: the kernel's BTF has no struct ${PREFIX}${name}, so nothing can implement it`,
    );
  const kernel = value.btf;
  const valueType = kernel.type(value.id) as BtfComposite;
  const data = valueType.members.find((member) => {
    const type = kernel.type(member.type);
    return type.kind === 'struct' && type.name === name;
  });
  if (data === undefined)
    throw new BpfError('EINVAL', `${what}: struct ${PREFIX}${name} of the kernel has no member of that type`);
  const bytes = new Uint8Array(valueType.size);
  const functions: StructOpsFunction[] = [];
  const wanted = new Map(structOps.functions.map((one) => [one.offset, one.program]));
  const copy = new MemberCopy(what, btf, kernel);
  const local = btf.resolved(structOps.typeId) as BtfComposite;
  const target = kernel.type(data.type) as BtfComposite;
  const start = data.bitOffset / 8;
  for (const member of local.members) {
    const at = member.bitOffset / 8;
    const program = wanted.get(at);
    const from = structOps.data.subarray(at, at + btf.sizeOf(member.type));
    const index = target.members.findIndex((one) => one.name === essentialName(member.name));
    if (index < 0) {
      if (program === undefined && from.every((byte) => byte === 0)) continue;
      throw new BpfError('ENOTSUPP', `${what}: cannot find member ${member.name} in kernel BTF`);
    }
    const into = target.members[index];
    copy.check(member, into);
    const offset = start + into.bitOffset / 8;
    if (program === undefined) {
      if (btf.resolved(member.type).kind !== 'ptr') bytes.set(from, offset);
      continue;
    }
    functions.push({
      program,
      offset,
      attachBtfId: data.type,
      member: index,
      attachBtfObjFd: value.module?.fd,
    });
  }
  return {
    valueTypeId: value.id,
    valueSize: valueType.size,
    moduleFd: value.module?.fd,
    value: bytes,
    functions,
  };
}

class MemberCopy {
  readonly #what: string;
  readonly #local: Btf;
  readonly #kernel: Btf;

  constructor(what: string, local: Btf, kernel: Btf) {
    this.#what = what;
    this.#local = local;
    this.#kernel = kernel;
  }

  /** Whether a member can be carried over as bytes. */
  check(member: BtfMember, into: BtfMember): void {
    const fail = (why: string): never => {
      throw new BpfError('ENOTSUPP', `${this.#what}: member ${member.name}: ${why}`);
    };
    if (this.#local.bitfieldSize(member) !== 0 || this.#kernel.bitfieldSize(into) !== 0)
      fail('bit-fields are not supported');
    const a = this.#local.resolved(member.type);
    const b = this.#kernel.resolved(into.type);
    if (a.kind !== b.kind) fail(`unmatched member type ${a.kind} != ${b.kind}(kernel)`);
    const sizes = [this.#local.sizeOf(member.type), this.#kernel.sizeOf(into.type)];
    if (sizes[0] !== sizes[1]) fail(`unmatched size ${sizes[0]} != ${sizes[1]}(kernel)`);
  }
}

/** The value for the kernel: descriptors of programs in the slots of functions. */
export function structOpsValue(plan: StructOpsPlan, fdOf: (program: string) => Fd): Uint8Array {
  const bytes = plan.value.slice();
  const view = new DataView(bytes.buffer);
  for (const { program, offset } of plan.functions) {
    if (offset + POINTER_SIZE > bytes.length)
      throw new BpfError('EINVAL', `function '${program}' lies outside of its struct`);
    view.setBigInt64(offset, BigInt(fdOf(program)), true);
  }
  return bytes;
}
