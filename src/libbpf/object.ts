/**
 * An object file on its way into a kernel: open (parse), change what is to be changed, load (maps, then programs), attach.
 * The order and the rules are libbpf's: BTF first, inner maps before outer ones, `.rodata` filled and frozen before the programs
 * are verified, program arrays and map-in-map slots last. When a step fails, nothing stays behind in the kernel.
 */
import { type Btf, parseBtf } from '../btf/index.ts';
import type { Fd, Kernel } from '../contracts/kernel.ts';
import { type ObjectSpec, parseObject } from '../object/index.ts';
import { BpfError } from '../util/errors.ts';
import { attachesWithObject, attachStructOps } from './attach/index.ts';
import { DataSection, type Globals, makeGlobals } from './globals.ts';
import type { BpfLink } from './link.ts';
import { loadBtf } from './load/btf.ts';
import type { LoadContext } from './load/context.ts';
import { resizeDatasec } from './load/datasec.ts';
import { KernelTypes } from './load/kernel-types.ts';
import { fillMaps, type MadeMap, makeMap, setSlot } from './load/maps.ts';
import type { LoadOptions } from './load/options.ts';
import { loadProgram, loadProgramAsync } from './load/programs.ts';
import {
  planStructOps,
  type StructOpsFunction,
  type StructOpsPlan,
  structOpsValue,
} from './load/struct-ops.ts';
import type { BpfMap } from './map.ts';
import { MapSettings } from './map-settings.ts';
import { BpfProgram } from './program.ts';

export type { LoadOptions } from './load/options.ts';

export interface LoadFailure {
  readonly program: BpfProgram;
  readonly error: unknown;
}

interface ToLoad {
  readonly program: BpfProgram;
  readonly structOps: StructOpsFunction | undefined;
}

const DATA_ORIGINS: ReadonlySet<string> = new Set(['data', 'rodata', 'bss', 'kconfig']);

export class BpfObject {
  /** As the object file says. */
  readonly spec: ObjectSpec;
  readonly programs: readonly BpfProgram[];
  /** Programs that `load` with `strict: false` could not load. */
  readonly failures: LoadFailure[] = [];
  /** Why the kernel did not take the object's types; it is then loaded without them. */
  btfError: BpfError | undefined;
  /** Global variables by name, before and after load; `data` tells sections apart. */
  readonly globals: Globals;
  readonly #settings: readonly MapSettings[];
  /** By index in `spec.maps`. */
  #made: (MadeMap | undefined)[] = [];
  #plans: (StructOpsPlan | undefined)[] = [];
  #maps: BpfMap[] = [];
  #kernel: Kernel | undefined;
  #owned: Fd[] = [];
  /** Paths of the pins that the running load has made. */
  #pinned: string[] = [];
  /** Types with data sections as they were resized. */
  #btf: Btf | undefined;
  #loadBtf: Uint8Array | undefined;
  readonly #links: BpfLink[] = [];

  constructor(spec: ObjectSpec) {
    this.spec = spec;
    this.#btf = spec.btf;
    this.#loadBtf = spec.loadBtf;
    const maps = { find: (name: string) => this.#maps.find((map) => map.name === name) };
    this.programs = spec.programs.map((program) => new BpfProgram(program, maps));
    this.#settings = spec.maps.map(
      (map) =>
        new MapSettings(
          map,
          () => this.#kernel !== undefined,
          (section, size) => this.#resize(section, size),
        ),
    );
    this.globals = makeGlobals(() => this.sections);
  }

  /** Parses an ELF object; throws BpfError naming what is wrong with it. `name` gives data maps their prefix. */
  static open(bytes: Uint8Array, options: { name?: string } = {}): BpfObject {
    return new BpfObject(parseObject(bytes, options));
  }

  /** Maps of a loaded object, in the object's order, without those whose autocreate is off. */
  get maps(): readonly BpfMap[] {
    return this.#maps;
  }

  findProgram(name: string): BpfProgram {
    return find(this.programs, name, 'program');
  }

  findMap(name: string): BpfMap {
    return find(this.#maps, name, 'map');
  }

  /** What is to be changed about a map before load: by its name, or by its section for data (`.rodata`). */
  mapSettings(name: string): MapSettings {
    const section = this.#settings.find((one) => isData(one) && one.spec.section === name);
    return section ?? find(this.#settings, name, 'map');
  }

  /** The data sections and `.kconfig`. */
  get sections(): readonly DataSection[] {
    return this.#settings.flatMap((settings, index) =>
      isData(settings) ? [this.#section(settings, index)] : [],
    );
  }

  /** Variables of a section: `.data`, `.bss`, `.rodata`, `.data.custom`. Throws ENOENT. */
  data(section: string): DataSection {
    return find(this.sections, section, 'data section');
  }

  /** Makes the maps and loads the programs. */
  load(kernel: Kernel, options: LoadOptions = {}): this {
    const types = this.#begin(kernel, options);
    try {
      const { context, programs } = this.#makeMaps(kernel, types, options);
      for (const { program, structOps } of programs) {
        try {
          program.setLoaded(kernel, loadProgram(context, program, { maps: this.#made, structOps }));
        } catch (error) {
          this.#failed(program, error, options);
        }
      }
      this.#fillProgramArrays(kernel);
    } catch (error) {
      this.#undo(kernel);
      throw error;
    } finally {
      types.close();
      this.#pinned = [];
    }
    return this;
  }

  /**
   * As `load`, with programs that the kernel may verify and compile while the caller goes on, several at the same time (`Kernel.progLoadAsync`).
   * Rejects as `load` throws: with the error of the first program in the object's order; with ECANCELED when `signal` is aborted or the object
   * is closed meanwhile.
   */
  async loadAsync(
    kernel: Kernel,
    { signal, ...options }: LoadOptions & { readonly signal?: AbortSignal } = {},
  ): Promise<this> {
    const types = this.#begin(kernel, options);
    try {
      const { context, programs } = this.#makeMaps(kernel, types, options);
      const given = signal === undefined ? {} : { signal };
      let loads: { readonly program: BpfProgram; readonly fd: Promise<Fd> }[] = [];
      const settle = async (): Promise<void> => {
        const settled = await Promise.allSettled(loads.map(({ fd }) => fd));
        // All that were loaded are the object's, so that they are closed with it where one fails.
        const failures: LoadFailure[] = [];
        for (const [i, result] of settled.entries()) {
          const { program } = loads[i]!;
          if (result.status === 'rejected') failures.push({ program, error: result.reason });
          else if (this.#kernel === kernel) program.setLoaded(kernel, result.value);
          else kernel.close(result.value);
        }
        loads = [];
        if (this.#kernel !== kernel)
          throw new BpfError('ECANCELED', `object '${this.spec.name}' was closed while it was being loaded`);
        for (const { program, error } of failures) {
          if (signal?.aborted) throw error;
          this.#failed(program, error, options);
        }
      };
      for (const { program, structOps } of programs) {
        // A program that attaches to another one of the object needs it loaded.
        if (program.attachTarget?.program !== undefined) await settle();
        const around = { maps: this.#made, structOps };
        loads.push({ program, fd: loadProgramAsync(context, program, around, given) });
      }
      await settle();
      this.#fillProgramArrays(kernel);
    } catch (error) {
      try {
        if (this.#kernel === kernel) this.#undo(kernel);
        types.close();
      } catch {
        // The kernel was shut down meanwhile, and has closed everything.
      }
      throw error;
    } finally {
      this.#pinned = [];
    }
    types.close();
    return this;
  }

  #begin(kernel: Kernel, options: LoadOptions): KernelTypes {
    if (this.#kernel !== undefined)
      throw new BpfError('EBUSY', `object '${this.spec.name}' is loaded already`);
    this.#kernel = kernel;
    return new KernelTypes(kernel, options.kernelBtf);
  }

  /** Pins that this load has made are not left behind; those that it found are. */
  #undo(kernel: Kernel): void {
    for (const path of this.#pinned) kernel.unlink(path);
    this.close();
  }

  /** All but the programs, which are to be loaded in this order. */
  #makeMaps(
    kernel: Kernel,
    types: KernelTypes,
    options: LoadOptions,
  ): { readonly context: LoadContext; readonly programs: readonly ToLoad[] } {
    const wanted = this.#settings.filter((settings) => settings.autocreate);
    const needsBtf = wanted.some((settings) => settings.spec.structOps !== undefined);
    const btf = loadBtf(kernel, this.#loadBtf, needsBtf);
    this.btfError = btf.error;
    if (btf.fd !== undefined) this.#own(btf.fd);
    const context: LoadContext = {
      kernel,
      spec: { ...this.spec, btf: this.#btf },
      options,
      types,
      btfFd: btf.fd,
      own: (fd) => this.#own(fd),
      pinned: (pathname) => {
        this.#pinned.push(pathname);
      },
    };
    this.#plans = this.#settings.map((settings) =>
      settings.autocreate && settings.spec.structOps !== undefined
        ? planStructOps(context, settings.current)
        : undefined,
    );
    for (const [index, settings] of this.#settings.entries()) {
      this.#made.push(settings.autocreate ? makeMap(context, settings, this.#plans[index]) : undefined);
    }
    this.#maps = this.#made.flatMap((made) => (made === undefined ? [] : [made.map]));
    fillMaps(context, this.#settings, this.#made);
    const slots = this.#structOpsSlots();
    const programs: ToLoad[] = [];
    for (const program of this.programs) {
      const structOps = slots.get(program.name);
      // A function of a struct that is not made has nothing to be verified against.
      const orphan = structOps === undefined && this.#implementsStruct(program.name);
      if (program.autoload && !orphan) programs.push({ program, structOps });
    }
    return { context, programs };
  }

  /** Attaches every loaded program whose section says to what, XDP programs where `options` name an interface, and struct_ops maps. */
  attach(options: Parameters<BpfProgram['attach']>[0] = {}): BpfLink[] {
    const made: BpfLink[] = [];
    try {
      for (const program of this.programs) {
        const { sectionRow, attachTo } = program.spec;
        if (program.loaded && attachesWithObject(sectionRow?.attach, attachTo, options))
          made.push(program.attach(options));
      }
      this.#plans.forEach((plan, index) => {
        const settings = this.#settings[index];
        if (plan !== undefined && settings.autoattach) made.push(this.#attachStructOps(settings.name));
      });
    } catch (error) {
      for (const link of made) link.destroy();
      throw error;
    }
    this.#links.push(...made);
    return made;
  }

  /** Registers the struct that a struct_ops map holds; destroying the link takes it away again. */
  attachStructOps(name: string): BpfLink {
    const link = this.#attachStructOps(name);
    this.#links.push(link);
    return link;
  }

  #attachStructOps(name: string): BpfLink {
    const index = this.#settings.findIndex((settings) => settings.name === name);
    const made = this.#made[index];
    const plan = this.#plans[index];
    if (made === undefined || plan === undefined || this.#kernel === undefined)
      throw new BpfError('EINVAL', `'${name}' is no struct_ops map that is loaded`);
    const value = structOpsValue(plan, (program) => this.findProgram(program).fd);
    return attachStructOps(this.#kernel, made.map, value);
  }

  /** Detaches and closes everything that the object holds. */
  close(): void {
    for (const link of this.#links.splice(0)) link.destroy();
    for (const program of this.programs) program.close();
    for (const made of this.#made) made?.map.unmap();
    for (const fd of this.#owned.splice(0).reverse()) this.#kernel?.close(fd);
    this.#maps = [];
    this.#made = [];
    this.#plans = [];
    this.#kernel = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #own(fd: Fd): Fd {
    this.#owned.push(fd);
    return fd;
  }

  #resize(section: string, size: number): boolean {
    if (this.#btf === undefined || this.#loadBtf === undefined) return false;
    const resized = resizeDatasec(this.#btf, section, size);
    const loadable = resizeDatasec(parseBtf(this.#loadBtf), section, size);
    if (resized === undefined || loadable === undefined) return false;
    this.#btf = resized;
    this.#loadBtf = loadable.bytes;
    return true;
  }

  #section(settings: MapSettings, index: number): DataSection {
    const { section } = settings.spec;
    const key = new Uint8Array(4);
    return new DataSection(section, () => this.#btf, {
      read: () =>
        this.#made[index]?.map.getBytes(key) ??
        settings.current.initial?.slice() ??
        new Uint8Array(settings.current.valueSize),
      write: (bytes) => {
        const made = this.#made[index];
        if (made === undefined || this.#kernel === undefined) {
          settings.setInitialValue(bytes);
          return;
        }
        if (settings.spec.origin === 'rodata' || settings.spec.origin === 'kconfig')
          throw new BpfError('EPERM', `section '${section}' is constant once the object is loaded`, {
            hint: 'set its variables before load',
          });
        this.#kernel.mapUpdateElem({ mapFd: made.map.fd, key, value: bytes, flags: 0 });
      },
    });
  }

  #structOpsSlots(): Map<string, StructOpsFunction> {
    const slots = new Map<string, StructOpsFunction>();
    for (const plan of this.#plans) {
      for (const slot of plan?.functions ?? []) {
        const known = slots.get(slot.program);
        if (known !== undefined && (known.attachBtfId !== slot.attachBtfId || known.member !== slot.member))
          throw new BpfError('EINVAL', `program '${slot.program}' fills two different members of structs`);
        slots.set(slot.program, slot);
      }
    }
    return slots;
  }

  #implementsStruct(program: string): boolean {
    return this.spec.maps.some((map) => map.structOps?.functions.some((one) => one.program === program));
  }

  #fillProgramArrays(kernel: Kernel): void {
    this.spec.maps.forEach((spec, index) => {
      const made = this.#made[index];
      for (const slot of spec.values) {
        if (slot.kind !== 'program' || made === undefined) continue;
        const program = this.findProgram(slot.program);
        if (program.loaded) setSlot(kernel, made.map.fd, slot.index, program.fd);
      }
    });
  }

  #failed(program: BpfProgram, error: unknown, { strict }: LoadOptions): void {
    if (strict !== false) throw error;
    this.failures.push({ program, error });
  }
}

const isData = (settings: MapSettings): boolean => DATA_ORIGINS.has(settings.spec.origin);

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
