/**
 * USDT probes: `binary:provider:name`. Each place of the probe gets a uprobe, all in one link since Linux 6.6; where its arguments are stands in the object's map
 * `__bpf_usdt_specs` (usdt.bpf.h), and which entry is whose the program learns from the cookie of its uprobe, or before Linux 5.15
 * from the address in `__bpf_usdt_ip_to_spec_id`. Semaphores are counted up by the kernel (ref_ctr_offset).
 */
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink, linkParts } from '../link.ts';
import type { BpfMap } from '../map.ts';
import type { Executable } from '../symbols/executable.ts';
import { parseProcessMaps } from '../symbols/process-maps.ts';
import { encodeUsdtSpec, parseUsdtArguments, USDT_SPEC_SIZE } from '../symbols/usdt-arguments.ts';
import { type UsdtNote, usdtNotes } from '../symbols/usdt-notes.ts';
import { byTarget, isOlderThan, machineFiles, onPerfEvent, targetOf } from './support.ts';
import type { Attachable, AttachOptions, AttachRow } from './types.ts';
import { binaryPath, openExecutable, splitBinary } from './uprobe.ts';

/** Programs that were loaded for it (Linux 6.6). */
const MULTI = 'TRACE_UPROBE_MULTI';
const SPECS = '__bpf_usdt_specs';
const IP_TO_SPEC = '__bpf_usdt_ip_to_spec_id';

/** Which entries of an object's `__bpf_usdt_specs` are free. */
class SpecSlots {
  readonly #free: number[] = [];
  #next = 0;

  take(limit: number): number {
    const slot = this.#free.pop() ?? this.#next++;
    if (slot < limit) return slot;
    this.#next = limit;
    throw new BpfError(
      'E2BIG',
      `the probes of this object have more than ${limit} different argument lists`,
      {
        hint: 'define BPF_USDT_MAX_SPEC_CNT larger before usdt.bpf.h is included',
      },
    );
  }

  give(slots: Iterable<number>): void {
    this.#free.push(...slots);
  }
}

/** By the map's id: several objects may share one. */
const SLOTS = new WeakMap<Kernel, Map<number, SpecSlots>>();

interface Manager {
  readonly specs: BpfMap;
  readonly ips: BpfMap;
  readonly slots: SpecSlots;
}

function managerOf(kernel: Kernel, program: Attachable): Manager {
  const specs = program.maps?.find(SPECS);
  const ips = program.maps?.find(IP_TO_SPEC);
  if (program.maps === undefined || specs === undefined || ips === undefined)
    throw new BpfError('ENOENT', `program '${program.name}': its object has no maps for USDT arguments`, {
      hint: 'include <bpf/usdt.bpf.h> in the program',
    });
  const { valueSize } = specs.definition;
  if (valueSize !== USDT_SPEC_SIZE)
    throw new BpfError('EINVAL', `map '${SPECS}' has values of ${valueSize} bytes, not ${USDT_SPEC_SIZE}`);
  const info = kernel.objGetInfoByFd({ bpfFd: specs.fd });
  const known = SLOTS.get(kernel) ?? new Map<number, SpecSlots>();
  SLOTS.set(kernel, known);
  const id = info.kind === 'map' ? info.id : 0;
  const slots = known.get(id) ?? new SpecSlots();
  known.set(id, slots);
  return { specs, ips, slots };
}

export const USDT: AttachRow = {
  ready: byTarget,
  attach(kernel, program, options) {
    const target = targetOf(program, options, 'binary and probe');
    const [binary, probe] = splitBinary(target, 'binary:provider:name');
    const [provider, name] = splitBinary(probe, 'binary:provider:name');
    const manager = managerOf(kernel, program);
    const path = binaryPath(kernel, binary, options.pid);
    const executable = openExecutable(kernel, path);
    const notes = findNotes(executable, provider, name);
    const made = writeSpecs(manager, notes, executable.machine, options.cookie ?? 0n);
    const addresses: Uint8Array[] = [];
    const onDestroy = () => {
      for (const key of addresses) manager.ips.delete(key);
      manager.slots.give(made.used);
    };
    try {
      if (program.attachType === MULTI) {
        const fd = onAllPlaces(kernel, program, path, notes, made, options);
        return new BpfLink(kernel, fd, `usdt ${target}`, { onDestroy });
      }
      const cookies = !isOlderThan(kernel, '5.15');
      if (!cookies) addresses.push(...mapAddresses(kernel, manager, executable, notes, made, options));
      const parts = linkParts(notes, (note) =>
        onPerfEvent(
          kernel,
          program,
          cookies ? BigInt(made.slotOf(note)) : undefined,
          {
            kind: 'uprobe',
            path,
            offset: BigInt(note.offset),
            ...(options.pid === undefined ? {} : { pid: options.pid }),
            ...(note.semaphoreOffset === undefined ? {} : { refCtrOffset: BigInt(note.semaphoreOffset) }),
          },
          `usdt ${target} at 0x${note.offset.toString(16)}`,
        ),
      );
      return new BpfLink(kernel, undefined, `usdt ${target}`, { parts, onDestroy });
    } catch (error) {
      onDestroy();
      throw error;
    }
  },
};

/** A multi-uprobe: attached and taken away in one step, however many places there are. */
function onAllPlaces(
  kernel: Kernel,
  program: Attachable,
  path: string,
  notes: readonly UsdtNote[],
  specs: Specs,
  { pid }: AttachOptions,
): Fd {
  return kernel.linkCreate({
    progFd: program.fd,
    attachType: BPF_ATTACH_TYPE.BPF_TRACE_UPROBE_MULTI,
    uprobeMulti: {
      path,
      offsets: notes.map(({ offset }) => BigInt(offset)),
      refCtrOffsets: notes.map(({ semaphoreOffset }) => BigInt(semaphoreOffset ?? 0)),
      cookies: notes.map((note) => BigInt(specs.slotOf(note))),
      ...(pid === undefined ? {} : { pid }),
    },
  });
}

function findNotes(executable: Executable, provider: string, name: string): UsdtNote[] {
  const all = usdtNotes(executable);
  const notes = all.filter((note) => note.provider === provider && note.name === name);
  if (notes.length > 0) return notes;
  const names = [...new Set(all.map((note) => `${note.provider}:${note.name}`))];
  throw new BpfError('ENOENT', `${executable.path} has no USDT probe ${provider}:${name}`, {
    hint: names.length === 0 ? 'it has no USDT probes' : `there are ${names.slice(0, 10).join(', ')}`,
  });
}

interface Specs {
  readonly used: readonly number[];
  slotOf(note: UsdtNote): number;
}

/** One entry for each argument list that differs. */
function writeSpecs(manager: Manager, notes: readonly UsdtNote[], machine: number, cookie: bigint): Specs {
  const { specs, slots } = manager;
  const byText = new Map<string, number>();
  try {
    for (const { arguments: text } of notes) {
      if (byText.has(text)) continue;
      const spec = encodeUsdtSpec(parseUsdtArguments(text, machine), cookie);
      const slot = slots.take(specs.definition.maxEntries);
      byText.set(text, slot);
      specs.set(new Uint8Array(new Uint32Array([slot]).buffer), spec);
    }
  } catch (error) {
    slots.give(byText.values());
    throw error;
  }
  return { used: [...byText.values()], slotOf: (note) => byText.get(note.arguments) as number };
}

/** Entries of the map by address: keys that are to be removed again. */
function mapAddresses(
  kernel: Kernel,
  { ips }: Manager,
  executable: Executable,
  notes: readonly UsdtNote[],
  specs: Specs,
  options: AttachOptions,
): Uint8Array[] {
  const address = executable.relocatable ? mappedAddress(kernel, executable.path, options.pid) : undefined;
  return notes.map((note) => {
    const ip = address === undefined ? BigInt(note.address) : address(note);
    const key = new Uint8Array(new BigUint64Array([ip]).buffer);
    ips.set(key, new Uint8Array(new Uint32Array([specs.slotOf(note)]).buffer));
    return key;
  });
}

function mappedAddress(kernel: Kernel, path: string, pid: number | undefined): (note: UsdtNote) => bigint {
  if (pid === undefined)
    throw new BpfError(
      'EOPNOTSUPP',
      `${path} is loaded anywhere: this kernel can tell its probes of one process only`,
      {
        hint: `give 'pid', or use Linux 5.15, which has cookies`,
      },
    );
  const maps = machineFiles(kernel, path).read(`/proc/${pid}/maps`);
  if (maps === null) throw new BpfError('ESRCH', `there is no process ${pid}`);
  const mappings = parseProcessMaps(maps).filter((one) => one.executable && one.path === path);
  return (note) => {
    const offset = BigInt(note.offset);
    const within = mappings.find((one) => offset >= one.offset && offset - one.offset < one.end - one.start);
    if (within === undefined) throw new BpfError('ESRCH', `process ${pid} has not mapped ${path}`);
    return within.start - within.offset + offset;
  };
}
