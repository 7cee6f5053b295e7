/** MAP_CREATE, the commands for one element, and MAP_FREEZE (bpf(2); linux/bpf.h of 6.18). */

import type { Btf } from '../../btf/index.ts';
import type { Fd, MapCreateAttr, MapElemAttr, MapUpdateAttr } from '../../contracts/kernel.ts';
import type { MapCreateParams, SpecialField } from '../../contracts/maps.ts';
import { createMap } from '../../maps/index.ts';
import { type MapTypeRow, mapCreateError, mapTypeById } from '../../spec/index.ts';
import { BPF_CMD, BPF_MAP_FLAGS, BPF_UPDATE_FLAGS } from '../../uapi/index.ts';
import { ERRNO } from '../../util/errno.ts';
import { BpfError } from '../../util/errors.ts';
import { findSpecialFields } from '../../verifier/index.ts';
import { holds } from '../credentials.ts';
import type { Machine } from '../machine.ts';
import { mapResolver } from '../map-resolver.ts';
import { checkObjectName } from '../names.ts';
import { BtfObject, MapObject, type MapParts } from '../objects.ts';
import { requireNothing } from '../release.ts';
import { StructOps } from '../struct-ops.ts';
import { credentialsWith, TOKEN_FLAG } from '../token.ts';

const { BPF_F_RDONLY, BPF_F_WRONLY } = BPF_MAP_FLAGS;

export function mapCreate(machine: Machine, attr: MapCreateAttr): Fd {
  const type = mapTypeById(attr.mapType);
  if (type === undefined) throw new BpfError('EINVAL', `there is no map type ${attr.mapType}`);
  const { keySize, valueSize, maxEntries, mapFlags = 0 } = attr;
  for (const [field, value] of Object.entries({ keySize, valueSize, maxEntries, mapFlags }))
    if (!Number.isInteger(value) || value > 0xffff_ffff)
      throw new BpfError('EINVAL', `${field} ${value} is no 32-bit number`);
  requireNothing(machine.release, machine.release.mapNeeds(type, mapFlags));
  const name = checkObjectName(attr.mapName ?? '');
  if (attr.mapIfindex) throw new BpfError('EINVAL', 'no device of the embedded kernel takes offloaded maps');
  const flags = mapFlags;
  const refused = mapCreateError(type, {
    keySize,
    valueSize,
    maxEntries,
    flags,
    mapExtra: attr.mapExtra ?? 0n,
    hasBtf: Boolean(attr.btfKeyTypeId || attr.btfValueTypeId || attr.btfVmlinuxValueTypeId),
  });
  if (refused !== null) throw new BpfError(refused.errno, refused.message);
  const use = { command: BPF_CMD.BPF_MAP_CREATE, mapType: type.id };
  const who = credentialsWith(machine, flags, attr.mapTokenFd, use);
  if (machine.sysctls.get('kernel.unprivileged_bpf_disabled') !== 0 && !holds(who, 'bpf')) {
    throw new BpfError('EPERM', 'making maps needs CAP_BPF while kernel.unprivileged_bpf_disabled is set');
  }
  if (type.capability !== undefined && !holds(who, type.capability)) {
    throw new BpfError('EPERM', `making a ${type.name} map needs CAP_${type.capability.toUpperCase()}`);
  }
  checkStructOps(machine, type, attr);
  const contents = type.structOfFunctions
    ? new StructOps(machine, attr.btfVmlinuxValueTypeId ?? 0, flags)
    : undefined;
  const btf = btfOfMap(machine, type, attr);
  const inner = type.holds === 'map' ? innerTemplate(machine, attr) : undefined;
  const id = machine.maps.reserve();
  const special =
    btf === undefined || btf.valueTypeId === 0
      ? []
      : findSpecialFields(btf.object.btf, btf.valueTypeId, machine.kernelBtf);
  if (special.length > 0 && !holds(who, 'bpf'))
    throw new BpfError('EPERM', `values with a ${special[0]!.kind} need CAP_BPF`);
  checkSpecialFields(type, special, flags);
  const params: MapCreateParams = {
    id,
    name,
    type,
    keySize,
    valueSize,
    maxEntries,
    flags: flags & ~TOKEN_FLAG,
    mapExtra: attr.mapExtra ?? 0n,
    ...(inner === undefined ? {} : { inner: inner.map }),
    ...(special.length === 0 ? {} : { specialFields: special }),
    hasBtf: btf !== undefined,
  };
  const map = createMap(params, {
    memory: machine.memory,
    module: machine.mapsModule,
    resolver: mapResolver(machine),
    possibleCpus: machine.possibleCpus,
    afterGrace: (free) => machine.afterGrace(free),
    ...(machine.hashSeed === undefined ? {} : { seed: machine.hashSeed }),
  });
  const parts: MapParts = {
    map,
    btf,
    mapExtra: params.mapExtra,
    ...(attr.btfVmlinuxValueTypeId ? { vmlinuxValueTypeId: attr.btfVmlinuxValueTypeId } : {}),
  };
  btf?.object.get();
  const object = new MapObject(parts, machine);
  object.structOps = contents;
  machine.addMap(object);
  return machine.fds.install(object, { read: !(flags & BPF_F_WRONLY), write: !(flags & BPF_F_RDONLY) });
}

/** The value is `struct bpf_struct_ops_NAME` of the kernel's types (bpf_struct_ops_map_alloc). */
function checkStructOps(machine: Machine, type: MapTypeRow, attr: MapCreateAttr): void {
  const id = attr.btfVmlinuxValueTypeId ?? 0;
  if (id !== 0 && (!type.structOfFunctions || attr.btfKeyTypeId || attr.btfValueTypeId))
    throw new BpfError(
      'EINVAL',
      'a value of a type of the kernel is for struct_ops maps, and for these alone',
    );
  if (!type.structOfFunctions) return;
  const { kernelBtf } = machine;
  const value = kernelBtf !== undefined && id > 0 && id < kernelBtf.typeCount ? kernelBtf.type(id) : null;
  if (value?.kind !== 'struct' || !value.name.startsWith('bpf_struct_ops_'))
    throw new BpfError('ENOTSUPP', `type ${id} of the kernel is no struct that programs implement`);
  if (value.size !== attr.valueSize)
    throw new BpfError('EINVAL', `struct ${value.name} has ${value.size} bytes, not ${attr.valueSize}`);
}

/** Fields that values of this type of map may have (map_check_btf). */
function checkSpecialFields(type: MapTypeRow, fields: readonly SpecialField[], flags: number): void {
  for (const { kind } of fields) {
    const name = kind.startsWith('kptr_') ? 'kptr' : kind === 'res_spin_lock' ? 'spin_lock' : kind;
    if (!(type.specialFields as readonly string[] | undefined)?.includes(name))
      throw new BpfError('EOPNOTSUPP', `values of ${type.name} maps cannot have a ${name}`);
  }
  const { BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG } = BPF_MAP_FLAGS;
  if (fields.length > 0 && (flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) !== 0)
    throw new BpfError('EACCES', `a map whose values have a ${fields[0]!.kind} must be open to programs`);
}

export function mapLookupElem(machine: Machine, attr: MapElemAttr): Uint8Array | null {
  const object = readable(machine, attr.mapFd);
  checkKey(object, attr.key);
  if (object.structOps !== undefined) return object.structOps.lookup(attr.key);
  return found(object.map.lookup(attr.key, checkLookupFlags(object, attr.flags ?? 0)), object, 'look up');
}

export function mapUpdateElem(machine: Machine, attr: MapUpdateAttr): void {
  const object = writable(machine, attr.mapFd);
  checkKey(object, attr.key);
  checkValue(object, attr.value);
  if (object.structOps !== undefined) {
    object.structOps.update(attr.key, attr.value, attr.flags ?? 0);
    if (object.structOps.holdsMap) object.get();
    return;
  }
  const flags = checkLock(object, attr.flags ?? 0);
  const before = machine.kfuncs.owningValues(object.map, attr.key);
  check(object.map.update(attr.key, attr.value, flags), object, 'update');
  for (const value of before) machine.valueGoes(object.map, value);
}

export function mapDeleteElem(machine: Machine, attr: MapElemAttr): void {
  const object = writable(machine, attr.mapFd);
  checkKey(object, attr.key);
  if (object.structOps !== undefined) {
    const held = object.structOps.holdsMap;
    object.structOps.delete();
    if (held) object.put();
    return;
  }
  check(deleteElem(machine, object, attr.key), object, 'delete from');
}

/** With what the element owns. */
export function deleteElem(machine: Machine, { map, frozen }: MapObject, key: Uint8Array): number {
  if (!frozen) for (const value of machine.kfuncs.owningValues(map, key)) machine.valueGoes(map, value);
  return map.delete(key);
}

export function mapGetNextKey(
  machine: Machine,
  attr: { mapFd: Fd; key: Uint8Array | null },
): Uint8Array | null {
  const object = readable(machine, attr.mapFd);
  if (attr.key !== null) checkKey(object, attr.key);
  if (object.structOps !== undefined) return object.structOps.nextKey(attr.key);
  return found(object.map.nextKey(attr.key), object, 'walk');
}

export function mapLookupAndDeleteElem(machine: Machine, attr: MapElemAttr): Uint8Array | null {
  const object = writable(machine, attr.mapFd);
  if (!machine.fds.mode(attr.mapFd).read)
    throw new BpfError('EPERM', `descriptor ${attr.mapFd} is write-only`);
  checkKey(object, attr.key);
  const flags = checkLookupFlags(object, attr.flags ?? 0);
  for (const value of machine.kfuncs.owningValues(object.map, attr.key)) machine.valueGoes(object.map, value);
  return found(object.map.lookupAndDelete(attr.key, flags), object, 'take from');
}

export function mapFreeze(machine: Machine, attr: { mapFd: Fd }): void {
  const object = writable(machine, attr.mapFd);
  check(object.map.freeze(), object, 'freeze');
  object.frozen = true;
}

function btfOfMap(machine: Machine, type: MapTypeRow, attr: MapCreateAttr): MapParts['btf'] {
  const keyTypeId = attr.btfKeyTypeId ?? 0;
  const valueTypeId = attr.btfValueTypeId ?? 0;
  if (keyTypeId === 0 && valueTypeId === 0) return undefined;
  if (valueTypeId === 0)
    throw new BpfError('EINVAL', 'a map with a BTF type for its keys needs one for its values');
  if (attr.btfFd === undefined)
    throw new BpfError('EINVAL', 'a map with BTF types needs the descriptor of the BTF');
  const object = machine.fds.expect(attr.btfFd, BtfObject, 'BTF');
  for (const [what, id, size] of [
    ['key', keyTypeId, attr.keySize],
    ['value', valueTypeId, attr.valueSize],
  ] as const) {
    if (id === 0) continue;
    const actual = object.btf.sizeOf(id);
    if (actual !== size) {
      throw new BpfError(
        'EINVAL',
        `the ${what} type '${object.btf.name(id)}' has ${actual} bytes, the map's ${what}s have ${size}`,
      );
    }
  }
  checkKeyType(type, object.btf, keyTypeId, valueTypeId, attr);
  return { object, keyTypeId, valueTypeId };
}

/** What a map type asks of the types of its keys (kernel: map_check_btf of each type). */
function checkKeyType(
  type: MapTypeRow,
  btf: Btf,
  keyTypeId: number,
  valueTypeId: number,
  { keySize, maxEntries }: MapCreateAttr,
): void {
  const refuse = (why: string): never => {
    throw new BpfError('EINVAL', `${type.name} map: ${why}`);
  };
  if (keyTypeId === 0) {
    // Without a type for the key: maps without keys, and the one value of a data section.
    const section = type.directValue && maxEntries === 1 && btf.resolved(valueTypeId).kind === 'datasec';
    if (keySize !== 0 && !section) refuse('its keys have no BTF type');
    return;
  }
  const { kind } = btf.resolved(keyTypeId);
  if (type.everyKeyExists && kind !== 'int') refuse(`its keys are integers, not a ${kind}`);
  if (type.prefixKey && kind !== 'struct') refuse(`its keys are structs, not a ${kind}`);
}

function innerTemplate(machine: Machine, attr: MapCreateAttr): MapObject {
  if (attr.innerMapFd === undefined)
    throw new BpfError(
      'EBADF',
      'a map of maps needs the descriptor of a map that shows what its inner maps are',
    );
  return machine.fds.expect(attr.innerMapFd, MapObject, 'map');
}

export function readable(machine: Machine, fd: Fd): MapObject {
  const object = machine.fds.expect(fd, MapObject, 'map');
  if (!machine.fds.mode(fd).read)
    throw new BpfError('EPERM', `descriptor ${fd} gives no right to read the map`);
  return object;
}

export function writable(machine: Machine, fd: Fd): MapObject {
  const object = machine.fds.expect(fd, MapObject, 'map');
  if (!machine.fds.mode(fd).write)
    throw new BpfError('EPERM', `descriptor ${fd} gives no right to write to the map`);
  if (object.frozen) throw new BpfError('EPERM', `${describe(object)} is frozen`);
  return object;
}

export function checkKey(object: MapObject, key: Uint8Array): void {
  const { keySize } = object.map.info;
  if (key.length !== keySize)
    throw new BpfError('EINVAL', `${describe(object)} has keys of ${keySize} bytes, not ${key.length}`);
}

export function checkValue(object: MapObject, value: Uint8Array): void {
  const size = object.map.userValueSize;
  if (value.length !== size)
    throw new BpfError('EINVAL', `${describe(object)} has values of ${size} bytes, not ${value.length}`);
}

/** BPF_F_LOCK needs a lock in the value. */
export function checkLock(object: MapObject, flags: number): number {
  if (
    flags & BPF_UPDATE_FLAGS.BPF_F_LOCK &&
    !object.map.info.specialFields?.some((field) => field.kind === 'spin_lock')
  ) {
    throw new BpfError(
      'EINVAL',
      `${describe(object)} has no bpf_spin_lock in its values: BPF_F_LOCK does not apply`,
    );
  }
  return flags;
}

/** Lookups know no other flag than BPF_F_LOCK. */
export function checkLookupFlags(object: MapObject, flags: number): number {
  if ((flags & ~BPF_UPDATE_FLAGS.BPF_F_LOCK) !== 0)
    throw new BpfError('EINVAL', `a lookup takes no flags but BPF_F_LOCK, not 0x${flags.toString(16)}`);
  return checkLock(object, flags);
}

export function found(result: Uint8Array | number, object: MapObject, verb: string): Uint8Array | null {
  if (typeof result !== 'number') return result;
  if (result === -ERRNO.ENOENT) return null;
  throw BpfError.fromReturn(result, `cannot ${verb} ${describe(object)}`);
}

export function check(result: number, object: MapObject, verb: string): void {
  if (result < 0) throw BpfError.fromReturn(result, `cannot ${verb} ${describe(object)}`);
}

export function describe(object: MapObject): string {
  return `${object.map.info.type.name} map '${object.map.info.name}' (id ${object.id})`;
}
