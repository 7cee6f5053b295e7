/**
 * An object file on its way into a kernel: open (parse), change what is to be changed, load (maps, then programs), attach.
 * The order and the rules are libbpf's: BTF first, inner maps before outer ones, `.rodata` filled and frozen before the programs
 * are verified, program arrays and map-in-map slots last. When a step fails, nothing stays behind in the kernel.
 */
import { encodeProgram } from '../asm/index.ts';
import { type Btf, parseBtf } from '../btf/index.ts';
import type { Fd, Kernel, MapCreateAttr } from '../contracts/kernel.ts';
import {
  type MapSpec,
  type ObjectSpec,
  type ProgramSpec,
  parseObject,
  resolveCore,
} from '../object/index.ts';
import { attachTypeByName, mapTypeById, progTypeByName } from '../spec/index.ts';
import type { MapTypeRow, SizeRule } from '../spec/types.ts';
import { BPF_MACROS, BPF_MAP_FLAGS } from '../uapi/index.ts';
import { BpfError, InternalError } from '../util/errors.ts';
import { attachesWithObject } from './attach/index.ts';
import { kconfigValues } from './kconfig.ts';
import type { BpfLink } from './link.ts';
import { BpfMap } from './map.ts';
import { BpfProgram } from './program.ts';

export interface LoadOptions {
  /** Level of the verifier's log: bits 1 (path), 2 (every instruction), 4 (statistics). */
  readonly logLevel?: number;
  /** Program type for programs whose section does not say one. */
  readonly defaultProgType?: string;
  /** BTF of the kernel for CO-RE; default: what the kernel gives. */
  readonly kernelBtf?: Btf;
  /** Values of kernel options for `extern … __kconfig`, as the kernel's configuration file has them: `y`, `m`, `250`, `"text"`. */
  readonly kconfig?: ReadonlyMap<string, string>;
  /** Directory for maps with LIBBPF_PIN_BY_NAME (default /sys/fs/bpf). */
  readonly pinRoot?: string;
  /** `false`: a program that is refused is noted in `failures`, and the others are loaded. Default true: the first refusal throws. */
  readonly strict?: boolean;
}

export interface LoadFailure {
  readonly program: BpfProgram;
  readonly error: unknown;
}

const PAGE_SIZE = 4096;
const PSEUDO_LOAD_SLOTS = 2;

export class BpfObject {
  readonly spec: ObjectSpec;
  readonly programs: readonly BpfProgram[];
  /** Programs that `load` with `strict: false` could not load. */
  readonly failures: LoadFailure[] = [];
  /** Why the kernel did not take the object's types; it is then loaded without them. */
  btfError: BpfError | undefined;
  #maps: BpfMap[] = [];
  #kernel: Kernel | undefined;
  #owned: Fd[] = [];
  /** Paths of the pins that the running load has made. */
  #pinned: string[] = [];
  readonly #links: BpfLink[] = [];

  constructor(spec: ObjectSpec) {
    this.spec = spec;
    const maps = { find: (name: string) => this.#maps.find((map) => map.name === name) };
    this.programs = spec.programs.map((program) => new BpfProgram(program, maps));
  }

  /** Parses an ELF object; throws BpfError naming what is wrong with it. `name` gives data maps their prefix. */
  static open(bytes: Uint8Array, options: { name?: string } = {}): BpfObject {
    return new BpfObject(parseObject(bytes, options));
  }

  /** Maps of a loaded object, in the object's order. */
  get maps(): readonly BpfMap[] {
    return this.#maps;
  }

  findProgram(name: string): BpfProgram {
    return find(this.programs, name, 'program');
  }

  findMap(name: string): BpfMap {
    return find(this.#maps, name, 'map');
  }

  /** Makes the maps and loads the programs. */
  load(kernel: Kernel, options: LoadOptions = {}): this {
    if (this.#kernel !== undefined)
      throw new BpfError('EBUSY', `object '${this.spec.name}' is loaded already`);
    this.#kernel = kernel;
    try {
      const btfFd = this.#loadBtf(kernel);
      this.#maps = this.spec.maps.map((map) => this.#createMap(kernel, map, btfFd, options));
      this.#fillMaps(kernel, options);
      for (const program of this.programs)
        if (program.autoload) this.#loadProgram(kernel, program, btfFd, options);
      this.#fillProgramArrays(kernel);
    } catch (error) {
      // Pins that this load has made are not left behind; those that it found are.
      for (const path of this.#pinned) kernel.unlink(path);
      this.close();
      throw error;
    } finally {
      this.#pinned = [];
    }
    return this;
  }

  /** Attaches every loaded program whose section says to what; XDP programs where `options` name an interface. */
  attach(options: Parameters<BpfProgram['attach']>[0] = {}): BpfLink[] {
    const made: BpfLink[] = [];
    try {
      for (const program of this.programs) {
        const { sectionRow, attachTo } = program.spec;
        if (program.loaded && attachesWithObject(sectionRow?.attach, attachTo, options))
          made.push(program.attach(options));
      }
    } catch (error) {
      for (const link of made) link.destroy();
      throw error;
    }
    this.#links.push(...made);
    return made;
  }

  /** Detaches and closes everything that the object holds. */
  close(): void {
    for (const link of this.#links.splice(0)) link.destroy();
    for (const program of this.programs) program.close();
    for (const fd of this.#owned.splice(0).reverse()) this.#kernel?.close(fd);
    this.#maps = [];
    this.#kernel = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #own(fd: Fd): Fd {
    this.#owned.push(fd);
    return fd;
  }

  #loadBtf(kernel: Kernel): Fd | undefined {
    const { loadBtf, maps } = this.spec;
    if (loadBtf === undefined) return undefined;
    try {
      return this.#own(kernel.btfLoad({ btf: loadBtf }));
    } catch (error) {
      // Types are optional, as long as nothing is made of them (libbpf: kernel_needs_btf).
      if (!(error instanceof BpfError) || maps.some((map) => map.origin === 'struct_ops')) throw error;
      this.btfError = error;
      return undefined;
    }
  }

  #createMap(kernel: Kernel, given: MapSpec, btfFd: Fd | undefined, options: LoadOptions): BpfMap {
    const spec = sized(kernel, given);
    const path = `${options.pinRoot ?? '/sys/fs/bpf'}/${spec.name}`;
    const reused = spec.pinning === 'by_name' ? this.#reuse(kernel, spec, path) : undefined;
    const fd = reused ?? this.#own(this.#newMap(kernel, spec, btfFd));
    if (spec.pinning === 'by_name' && reused === undefined) {
      kernel.objPin({ pathname: path, bpfFd: fd });
      this.#pinned.push(path);
    }
    return new BpfMap(kernel, fd, { ...spec, btf: this.spec.btf });
  }

  #newMap(kernel: Kernel, spec: MapSpec, btfFd: Fd | undefined): Fd {
    if (spec.structOps !== undefined) {
      const { typeName } = spec.structOps;
      throw new BpfError(
        'EOPNOTSUPP',
        `map '${spec.name}' implements struct ${typeName}: struct_ops are not implemented`,
      );
    }
    const inner =
      spec.inner === undefined ? undefined : this.#newMap(kernel, sized(kernel, spec.inner), btfFd);
    const row = mapTypeById(spec.type);
    const described = row !== undefined && !row.noBtf && !carriesRecords(row);
    const typed = btfFd !== undefined && described && spec.btfValueTypeId !== 0;
    const attr: MapCreateAttr = {
      mapType: spec.type,
      keySize: spec.keySize,
      valueSize: spec.valueSize,
      maxEntries: spec.maxEntries,
      mapFlags: spec.flags,
      mapName: objectName(spec.name),
      mapExtra: spec.mapExtra,
      ...(spec.numaNode === 0 ? {} : { numaNode: spec.numaNode }),
      ...(inner === undefined ? {} : { innerMapFd: inner }),
    };
    try {
      if (typed) {
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
      if (inner !== undefined) kernel.close(inner);
    }
  }

  #reuse(kernel: Kernel, spec: MapSpec, path: string): Fd | undefined {
    let fd: Fd;
    try {
      fd = this.#own(kernel.objGet({ pathname: path }));
    } catch (error) {
      if (error instanceof BpfError && error.code === 'ENOENT') return undefined;
      throw named(error, `map '${spec.name}'`);
    }
    const info = kernel.objGetInfoByFd({ bpfFd: fd });
    const same =
      info.kind === 'map' &&
      info.type === spec.type &&
      info.keySize === spec.keySize &&
      info.valueSize === spec.valueSize &&
      info.maxEntries === spec.maxEntries &&
      info.mapFlags === spec.flags;
    if (!same)
      throw new BpfError('EINVAL', `map '${spec.name}': what is pinned at ${path} has another shape`, {
        hint: 'remove the pin or change the map',
      });
    return fd;
  }

  /** Data sections, `.kconfig` and inner maps, before the programs are verified. */
  #fillMaps(kernel: Kernel, options: LoadOptions): void {
    const key = new Uint8Array(4);
    this.spec.maps.forEach((spec, index) => {
      const mapFd = this.#maps[index].fd;
      const initial =
        spec.origin === 'kconfig'
          ? kconfigValues(this.spec.kconfig, spec.valueSize, kernel.features(), options.kconfig)
          : spec.initial;
      if (initial !== undefined) kernel.mapUpdateElem({ mapFd, key, value: initial, flags: 0 });
      if (spec.flags & BPF_MAP_FLAGS.BPF_F_RDONLY_PROG && spec.origin !== 'btf' && spec.origin !== 'legacy')
        kernel.mapFreeze({ mapFd });
      for (const slot of spec.values) {
        if (slot.kind === 'map') this.#setSlot(kernel, index, slot.index, this.#maps[slot.map].fd);
      }
    });
  }

  #fillProgramArrays(kernel: Kernel): void {
    this.spec.maps.forEach((spec, index) => {
      for (const slot of spec.values) {
        if (slot.kind !== 'program') continue;
        const program = this.findProgram(slot.program);
        if (program.loaded) this.#setSlot(kernel, index, slot.index, program.fd);
      }
    });
  }

  #setSlot(kernel: Kernel, map: number, slot: number, fd: Fd): void {
    const key = new Uint8Array(4);
    const value = new Uint8Array(4);
    new DataView(key.buffer).setUint32(0, slot, true);
    new DataView(value.buffer).setInt32(0, fd, true);
    kernel.mapUpdateElem({ mapFd: this.#maps[map].fd, key, value, flags: 0 });
  }

  #loadProgram(kernel: Kernel, program: BpfProgram, btfFd: Fd | undefined, options: LoadOptions): void {
    try {
      program.setLoaded(kernel, this.#progLoad(kernel, program, btfFd, options));
    } catch (error) {
      if (options.strict !== false) throw error;
      this.failures.push({ program, error });
    }
  }

  #progLoad(kernel: Kernel, program: BpfProgram, btfFd: Fd | undefined, options: LoadOptions): Fd {
    const { spec } = program;
    const typeName = spec.progType ?? options.defaultProgType;
    const type = typeName === undefined ? undefined : progTypeByName(typeName);
    if (type === undefined) {
      throw new BpfError(
        'EINVAL',
        `program '${spec.name}': section '${spec.section}' does not say a program type`,
        {
          hint: 'use a section name that libbpf knows, or give a type',
        },
      );
    }
    const attachType = spec.attachType === undefined ? undefined : attachTypeByName(spec.attachType);
    const typed = btfFd !== undefined && spec.funcInfoRecords.length > 0;
    return kernel.progLoad({
      progType: type.id,
      insns: encodeProgram(this.#relocate(kernel, spec, options)),
      license: this.spec.license,
      kernVersion: this.spec.version,
      progName: objectName(spec.name),
      logLevel: options.logLevel ?? 0,
      progFlags:
        (spec.sleepable ? BPF_MACROS.BPF_F_SLEEPABLE : 0) |
        (spec.sectionRow?.xdpFrags ? BPF_MACROS.BPF_F_XDP_HAS_FRAGS : 0),
      expectedAttachType: attachType?.id ?? 0,
      ...(spec.sectionRow?.attachBtf ? { attachBtfId: attachTarget(kernel, spec, options) } : {}),
      onLog: (log) => {
        program.log = log;
      },
      ...(typed ? { progBtfFd: btfFd, funcInfo: spec.funcInfoRecords, lineInfo: spec.lineInfoRecords } : {}),
    });
  }

  #relocate(
    kernel: Kernel,
    spec: ProgramSpec,
    options: LoadOptions,
  ): ReturnType<typeof resolveCore>['insns'] {
    const target = spec.coreRelocations.length === 0 ? undefined : (options.kernelBtf ?? kernelBtf(kernel));
    const insns = resolveCore(this.spec, spec, target).insns.map((insn) => ({ ...insn }));
    for (const relocation of spec.relocations) {
      const insn = insns[relocation.insn];
      switch (relocation.kind) {
        case 'map':
          insn.src = BPF_MACROS.BPF_PSEUDO_MAP_FD;
          insn.imm = this.#maps[relocation.map].fd;
          break;
        case 'map_value':
          insn.src = BPF_MACROS.BPF_PSEUDO_MAP_VALUE;
          insn.imm = this.#maps[relocation.map].fd;
          break;
        case 'ksym':
        case 'kfunc':
        case 'kfunc_address':
          if (!relocation.weak) {
            throw new BpfError(
              'ENOENT',
              `program '${spec.name}' needs the kernel symbol '${relocation.symbol}', which this kernel does not have`,
              {
                hint: 'declare it __weak and test for it',
              },
            );
          }
          if (relocation.kind !== 'kfunc') {
            for (let slot = 0; slot < PSEUDO_LOAD_SLOTS; slot++) insns[relocation.insn + slot].imm = 0;
            insn.src = 0;
          }
          break;
        default:
          throw new InternalError(`relocation ${(relocation as { kind: string }).kind}`);
      }
    }
    return insns;
  }
}

/** BTF id of what a program attaches to (libbpf: libbpf_find_attach_btf_id). */
function attachTarget(kernel: Kernel, spec: ProgramSpec, options: LoadOptions): number {
  if (spec.attachTo === undefined || spec.attachTo === '') {
    throw new BpfError(
      'EINVAL',
      `program '${spec.name}': section '${spec.section}' does not say its target`,
      {
        hint: `write it behind a slash: SEC("${spec.section}/NAME")`,
      },
    );
  }
  if (spec.attachType === undefined) {
    throw new BpfError('EINVAL', `program '${spec.name}' replaces a function of a program that is not given`);
  }
  const { prefix, kind } = attachTypeByName(spec.attachType)!.target;
  const id = (options.kernelBtf ?? kernelBtf(kernel))?.find(prefix + spec.attachTo, kind);
  if (id === undefined) {
    throw new BpfError(
      'ESRCH',
      `program '${spec.name}' attaches to '${spec.attachTo}', which is not in the kernel's BTF (${kind} ${prefix}${spec.attachTo})`,
    );
  }
  return id;
}

function kernelBtf(kernel: Kernel): Btf | undefined {
  const bytes = kernel.kernelBtf();
  return bytes === null ? undefined : parseBtf(bytes);
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
  let size = PAGE_SIZE;
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

/** Object names have 15 characters of letters, digits, '_' and '.'. */
function objectName(name: string): string {
  return name.replace(/[^A-Za-z0-9_.]/g, '_').slice(0, 15);
}

function named(error: unknown, what: string): unknown {
  if (!(error instanceof BpfError)) return error;
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return new BpfError(error.code as never, `${what}: ${error.message}`, { cause: error, ...hint });
}

function find<T extends { readonly name: string }>(list: readonly T[], name: string, what: string): T {
  const found = list.find((one) => one.name === name);
  if (found === undefined) {
    const names = list.map((one) => one.name).join(', ');
    throw new BpfError('ENOENT', `there is no ${what} '${name}'`, {
      hint: names === '' ? `there are no ${what}s` : `there are ${names}`,
    });
  }
  return found;
}
