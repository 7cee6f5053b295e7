/**
 * MAP_CREATE for the maps of an object: sizes that their type fixes, reuse of what is pinned, types where the kernel takes them, and
 * what they hold from the start (libbpf: bpf_object__create_maps).
 */
import type { Fd, Kernel, MapCreateAttr } from '../../contracts/kernel.ts';
import type { MapSpec } from '../../object/index.ts';
import { mapTypeById } from '../../spec/index.ts';
import type { MapTypeRow, SizeRule } from '../../spec/types.ts';
import { BPF_MAP_FLAGS } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { readKernelConfig } from '../kconfig.ts';
import { BpfMap } from '../map.ts';
import type { MapSettings } from '../map-settings.ts';
import { type LoadContext, named, objectName } from './context.ts';
import { mapFlagsFor } from './older-kernels.ts';
import type { StructOpsPlan } from './struct-ops.ts';

const PAGE_SIZE = 4096;
const DEFAULT_PIN_ROOT = '/sys/fs/bpf';

export interface MadeMap {
  readonly map: BpfMap;
  /** It was there before: its contents stay. */
  readonly reused: boolean;
}

export function makeMap(context: LoadContext, settings: MapSettings, plan?: StructOpsPlan): MadeMap {
  const { kernel } = context;
  const spec = sized(kernel, settings.current);
  const made = (fd: Fd, reused: boolean): MadeMap => ({
    map: new BpfMap(kernel, fd, {
      ...spec,
      ...(plan === undefined ? {} : { valueSize: plan.valueSize }),
      btf: context.spec.btf,
    }),
    reused,
  });
  if (settings.reusedFd !== undefined) {
    checkShape(kernel, spec, settings.reusedFd, 'the map that is to be reused');
    return made(settings.reusedFd, true);
  }
  const path = pinPath(context, settings);
  if (path !== undefined) {
    const pinned = reusePinned(context, spec, path);
    if (pinned !== undefined) return made(pinned, true);
  }
  const fd = context.own(newMap(context, spec, settings.innerMapFd, plan));
  if (path !== undefined) pin(context, spec, fd, path);
  return made(fd, false);
}

function pinPath(context: LoadContext, settings: MapSettings): string | undefined {
  if (settings.pinPath !== undefined) return settings.pinPath;
  if (settings.spec.pinning !== 'by_name') return undefined;
  return `${context.options.pinRoot ?? DEFAULT_PIN_ROOT}/${settings.name}`;
}

/** The directory is made where it is missing, as libbpf makes it. */
function pin(context: LoadContext, spec: MapSpec, fd: Fd, path: string): void {
  const { kernel } = context;
  try {
    try {
      kernel.objPin({ pathname: path, bpfFd: fd });
    } catch (error) {
      if (!(error instanceof BpfError) || error.code !== 'ENOENT') throw error;
      kernel.mkdir(path.slice(0, path.lastIndexOf('/')));
      kernel.objPin({ pathname: path, bpfFd: fd });
    }
  } catch (error) {
    throw named(error, `map '${spec.name}'`);
  }
  context.pinned(path);
}

function reusePinned(context: LoadContext, spec: MapSpec, path: string): Fd | undefined {
  const { kernel } = context;
  let fd: Fd;
  try {
    fd = context.own(kernel.objGet({ pathname: path }));
  } catch (error) {
    if (error instanceof BpfError && error.code === 'ENOENT') return undefined;
    throw named(error, `map '${spec.name}'`);
  }
  checkShape(kernel, spec, fd, `what is pinned at ${path}`);
  return fd;
}

/** A map may stand for another of the same type, sizes and flags (libbpf: map_is_reuse_compat). */
function checkShape(kernel: Kernel, spec: MapSpec, fd: Fd, what: string): void {
  const info = kernel.objGetInfoByFd({ bpfFd: fd });
  const refusal = (why: string): BpfError =>
    new BpfError('EINVAL', `map '${spec.name}': ${what} has another shape: ${why}`, {
      hint: 'remove the pin or change the map',
    });
  if (info.kind !== 'map') throw refusal(`it is a ${info.kind}`);
  // The kernel sets this flag on maps of devices itself.
  const own = mapTypeById(spec.type)?.holds === 'device' ? BPF_MAP_FLAGS.BPF_F_RDONLY_PROG : 0;
  const fields = [
    ['type', info.type, spec.type],
    ['key_size', info.keySize, spec.keySize],
    ['value_size', info.valueSize, spec.valueSize],
    ['max_entries', info.maxEntries, spec.maxEntries],
    ['map_flags', info.mapFlags & ~(own & ~spec.flags), spec.flags],
    ['map_extra', info.mapExtra, spec.mapExtra],
  ] as const;
  const different = fields.filter(([, has, wants]) => has !== wants);
  if (different.length > 0)
    throw refusal(different.map(([name, has, wants]) => `${name} ${has} instead of ${wants}`).join(', '));
}

function newMap(context: LoadContext, spec: MapSpec, innerMap: Fd | undefined, plan?: StructOpsPlan): Fd {
  const { kernel, btfFd } = context;
  const made =
    innerMap === undefined && spec.inner !== undefined
      ? newMap(context, sized(kernel, spec.inner), undefined)
      : undefined;
  const inner = innerMap ?? made;
  const attr: MapCreateAttr = {
    mapType: spec.type,
    keySize: spec.keySize,
    valueSize: spec.valueSize,
    maxEntries: spec.maxEntries,
    mapFlags: mapFlagsFor(kernel, spec.flags),
    mapName: objectName(spec.name),
    mapExtra: spec.mapExtra,
    ...(spec.numaNode === 0 ? {} : { numaNode: spec.numaNode }),
    ...(inner === undefined ? {} : { innerMapFd: inner }),
  };
  try {
    if (plan !== undefined) return newStructOps(context, attr, plan);
    if (btfFd !== undefined && isTyped(spec)) {
      const { btfKeyTypeId, btfValueTypeId } = spec;
      try {
        return kernel.mapCreate({ ...attr, btfFd, btfKeyTypeId, btfValueTypeId });
      } catch (error) {
        // Once more without types, as libbpf does: some kernels take none on some maps.
        if (!(error instanceof BpfError)) throw error;
      }
    }
    return kernel.mapCreate(attr);
  } catch (error) {
    throw named(error, `map '${spec.name}'`);
  } finally {
    if (made !== undefined) kernel.close(made);
  }
}

function newStructOps(context: LoadContext, attr: MapCreateAttr, plan: StructOpsPlan): Fd {
  const { btfFd } = context;
  if (btfFd === undefined) throw new BpfError('EINVAL', 'a struct_ops map needs the types of its object');
  const module =
    plan.moduleFd === undefined
      ? {}
      : {
          valueTypeBtfObjFd: plan.moduleFd,
          mapFlags: (attr.mapFlags ?? 0) | BPF_MAP_FLAGS.BPF_F_VTYPE_BTF_OBJ_FD,
        };
  return context.kernel.mapCreate({
    ...attr,
    ...module,
    valueSize: plan.valueSize,
    btfFd,
    btfVmlinuxValueTypeId: plan.valueTypeId,
  });
}

function isTyped(spec: MapSpec): boolean {
  const row = mapTypeById(spec.type);
  return row !== undefined && !row.noBtf && !carriesRecords(row) && spec.btfValueTypeId !== 0;
}

/** Data sections, `.kconfig` and inner maps, before the programs are verified. Holes are maps that are not made. */
export function fillMaps(
  context: LoadContext,
  settings: readonly MapSettings[],
  maps: readonly (MadeMap | undefined)[],
): void {
  const { kernel } = context;
  const key = new Uint8Array(4);
  settings.forEach((setting, index) => {
    const made = maps[index];
    if (made === undefined) return;
    const spec = setting.current;
    const mapFd = made.map.fd;
    if (!made.reused) {
      const initial = spec.origin === 'kconfig' ? kconfig(context, spec.valueSize) : spec.initial;
      if (mapTypeById(spec.type)?.mappedAtLoad) mapBeforeLoad(made.map, initial);
      else if (initial !== undefined) kernel.mapUpdateElem({ mapFd, key, value: initial, flags: 0 });
      if (spec.flags & BPF_MAP_FLAGS.BPF_F_RDONLY_PROG && spec.origin !== 'btf' && spec.origin !== 'legacy')
        kernel.mapFreeze({ mapFd });
    }
    for (const slot of spec.values) {
      if (slot.kind !== 'map') continue;
      const inner = maps[slot.map];
      if (inner === undefined)
        throw new BpfError('EINVAL', `map '${spec.name}' holds '${slot.symbol}', which is not made`);
      setSlot(kernel, mapFd, slot.index, inner.map.fd);
    }
  });
}

/** An arena gets its address, and what it holds from the start, through user space. */
function mapBeforeLoad(map: BpfMap, initial: Uint8Array | undefined): void {
  const memory = map.memory();
  if (initial !== undefined) memory.write(0, initial);
}

/** Virtual externs need no configuration, so it is only read for others. */
const kconfig = (context: LoadContext, size: number): Uint8Array =>
  readKernelConfig(context.kernel, context.spec.kconfig, size, context.options.kconfig);

export function setSlot(kernel: Kernel, mapFd: Fd, slot: number, fd: Fd): void {
  const key = new Uint8Array(4);
  const value = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, slot, true);
  new DataView(value.buffer).setInt32(0, fd, true);
  kernel.mapUpdateElem({ mapFd, key, value, flags: 0 });
}

/**
 * The size of keys or values for MAP_CREATE: where the type leaves no choice, its one size stands for none given. `named`: the
 * type given is only for the readers (`__type(value, struct event)` of a ring or perf buffer).
 */
function onlySize(rule: SizeRule, size: number, named: boolean): number {
  const only = rule.oneOf?.length === 1 ? rule.oneOf[0] : undefined;
  return only !== undefined && (size === 0 || named) ? only : size;
}

/** A PERF_EVENT_ARRAY without a size has one slot a CPU; a ring is as large as its pages (libbpf: adjust_ringbuf_sz). */
function entries(kernel: Kernel, row: MapTypeRow, maxEntries: number): number {
  if (maxEntries === 0 && row.holds === 'perf_event') return kernel.features().possibleCpus;
  if (maxEntries === 0 || !row.maxEntries.pageAlignedPowerOfTwo) return maxEntries;
  let size = kernel.features().pageSize ?? PAGE_SIZE;
  while (size < maxEntries) size *= 2;
  return size <= 2 ** 31 ? size : maxEntries;
}

/** Rings and perf buffers: records go through the map, none is its value. */
const carriesRecords = (row: MapTypeRow): boolean =>
  row.holds === 'perf_event' || row.maxEntries.pageAlignedPowerOfTwo === true;

/** The sizes for MAP_CREATE. */
function sized(kernel: Kernel, spec: MapSpec): MapSpec {
  const row = mapTypeById(spec.type);
  if (row === undefined) return spec;
  return {
    ...spec,
    keySize: onlySize(row.keySize, spec.keySize, row.maxEntries.pageAlignedPowerOfTwo === true),
    valueSize: onlySize(row.valueSize, spec.valueSize, carriesRecords(row)),
    maxEntries: entries(kernel, row, spec.maxEntries),
  };
}
