/**
 * Functions of a program: each is loaded when it is first attached or asked for, as the type that the place wants, once for each
 * section. All share the maps that were made with the program.
 */
import type { Btf } from '../btf/index.ts';
import type { Kernel } from '../contracts/kernel.ts';
import { BpfObject, type LoadOptions } from '../libbpf/index.ts';
import type { ObjectSpec, ProgramSpec } from '../object/index.ts';
import { SECTIONS, sectionFor } from '../spec/index.ts';
import { BpfError } from '../util/errors.ts';
import type { LoadedFunction } from './options.ts';

/** Who watches what is loaded. */
export interface LoadDebug {
  /** Of the verifier's log. */
  readonly logLevel: number;
  /** After each load, refused ones included. */
  readonly onLoad: (program: ProgramSpec, log: string) => void;
}

export class Functions {
  readonly #kernel: Kernel;
  readonly #spec: ObjectSpec;
  readonly #maps: BpfObject;
  readonly #load: LoadOptions;
  readonly #debug: LoadDebug | undefined;
  /** By name and section. */
  readonly #loaded = new Map<string, { readonly loaded: LoadedFunction; readonly object: BpfObject }>();

  constructor(
    kernel: Kernel,
    spec: ObjectSpec,
    maps: BpfObject,
    kernelBtf: Btf | undefined,
    debug?: LoadDebug,
  ) {
    this.#kernel = kernel;
    this.#spec = spec;
    this.#maps = maps;
    this.#load = {
      ...(kernelBtf === undefined ? {} : { kernelBtf }),
      ...(debug === undefined ? {} : { logLevel: debug.logLevel }),
    };
    this.#debug = debug;
  }

  get names(): readonly string[] {
    return this.#spec.programs.map(({ name }) => name);
  }

  /** Those that are loaded in no way yet. */
  get notLoaded(): readonly string[] {
    const loaded = new Set([...this.#loaded.values()].map((one) => one.loaded.name));
    return this.names.filter((name) => !loaded.has(name));
  }

  /** Errors: ENOENT. */
  find(name: string): ProgramSpec {
    const spec = this.#spec.programs.find((one) => one.name === name);
    if (spec !== undefined) return spec;
    const names = this.names.join(', ');
    throw new BpfError('ENOENT', `the program has no function '${name}'`, {
      hint: names === '' ? 'it has no functions' : `it has ${names}`,
    });
  }

  /** Errors: ENOENT. */
  loaded(name: string): LoadedFunction {
    for (const { loaded } of this.#loaded.values()) if (loaded.name === name) return loaded;
    throw new BpfError('ENOENT', `function '${name}' is not loaded`, { hint: 'loadFunc does that' });
  }

  /** As a program of a type (`xdp`). Errors: EINVAL for an unknown type, ENOENT, VerifierError. */
  loadAs(name: string, type: string): LoadedFunction {
    const own = this.find(name).sectionRow;
    // A function whose name says its place is loaded for that place, where the type is that of it.
    if (own?.progType === type) return this.load(name, this.find(name).section);
    const row =
      SECTIONS.find((one) => one.progType === type && one.attachType === undefined) ??
      SECTIONS.find((one) => one.progType === type);
    if (row === undefined) throw new BpfError('EINVAL', `there is no type of program '${type}'`);
    return this.load(name, row.name);
  }

  /** For a section: `kprobe`, `fentry/vfs_read`. */
  load(name: string, section: string): LoadedFunction {
    const key = `${name} ${section}`;
    const known = this.#loaded.get(key);
    if (known !== undefined) return known.loaded;
    const match = sectionFor(section);
    if (match === null) throw new BpfError('EINVAL', `'${section}' is no kind of program`);
    const { row, extra } = match;
    const spec: ProgramSpec = {
      ...this.find(name),
      section,
      sectionRow: row,
      progType: row.progType,
      attachType: row.attachType,
      sleepable: row.sleepable === true,
      attachTo: extra === '' ? undefined : extra,
    };
    const object = new BpfObject({ ...this.#spec, programs: [spec] });
    for (const map of this.#maps.maps) {
      // A table of others has their kind and size.
      const { type, maxEntries, flags, mapExtra } = this.#maps.mapSettings(map.name).current;
      const settings = object.mapSettings(map.name).setType(type).setMaxEntries(maxEntries);
      settings.setFlags(flags).setMapExtra(mapExtra).reuse(map);
    }
    const program = object.findProgram(name);
    try {
      object.load(this.#kernel, this.#load);
    } finally {
      this.#debug?.onLoad(spec, program.log);
    }
    const loaded = { name, fd: program.fd, program };
    this.#loaded.set(key, { loaded, object });
    return loaded;
  }

  /** What is loaded in no other way is gone, unless something holds it. */
  unload(name: string): void {
    for (const [key, { loaded, object }] of this.#loaded)
      if (loaded.name === name) {
        object.close();
        this.#loaded.delete(key);
      }
  }

  close(): void {
    for (const { object } of this.#loaded.values()) object.close();
    this.#loaded.clear();
  }
}
