/**
 * The types of the kernel that an object is loaded into: vmlinux, then those of its modules, each read when first asked for.
 *
 * `target` is what CO-RE adapts programs to and may be another kernel's (`LoadOptions.kernelBtf`); ids that the kernel itself is told
 * (what to attach to, kernel functions and variables) are always of its own types, where it gives any.
 */
import { type Btf, type BtfKind, parseBtf, sharedBtf } from '../../btf/index.ts';
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';

/** The types of one module: split BTF that continues vmlinux. */
export interface ModuleTypes {
  readonly name: string;
  readonly btf: Btf;
  readonly fd: Fd;
}

export interface FoundType {
  readonly btf: Btf;
  readonly id: number;
  /** Undefined: vmlinux. */
  readonly module: ModuleTypes | undefined;
}

/** vmlinux does not change while a kernel runs, and takes long to read. */
const VMLINUX = new WeakMap<Kernel, { readonly btf: Btf | undefined }>();

function vmlinux(kernel: Kernel): Btf | undefined {
  let known = VMLINUX.get(kernel);
  if (known === undefined) {
    const bytes = kernel.kernelBtf();
    known = { btf: bytes === null ? undefined : sharedBtf(bytes) };
    VMLINUX.set(kernel, known);
  }
  return known.btf;
}

export class KernelTypes {
  readonly #kernel: Kernel;
  readonly #given: Btf | undefined;
  #modules: readonly ModuleTypes[] | undefined;

  constructor(kernel: Kernel, given: Btf | undefined) {
    this.#kernel = kernel;
    this.#given = given;
  }

  /** What CO-RE adapts to. */
  get target(): Btf | undefined {
    return this.#given ?? vmlinux(this.#kernel);
  }

  /** What the kernel goes by. */
  get running(): Btf | undefined {
    return vmlinux(this.#kernel) ?? this.#given;
  }

  /** More types for CO-RE, for what vmlinux does not have; none where another kernel's types were given. */
  coreModules = (): readonly Btf[] =>
    this.#given === undefined ? this.modules().map((module) => module.btf) : [];

  modules(): readonly ModuleTypes[] {
    this.#modules ??= this.#readModules();
    return this.#modules;
  }

  /** A type by name and kind: of vmlinux, else of the first module that has it. */
  find(name: string, kind: BtfKind): FoundType | undefined {
    const { running } = this;
    if (running === undefined) return undefined;
    const id = running.find(name, kind);
    if (id !== undefined) return { btf: running, id, module: undefined };
    for (const module of this.modules()) {
      const own = module.btf.findAll(name, kind).find((one) => one >= module.btf.firstId);
      if (own !== undefined) return { btf: module.btf, id: own, module };
    }
    return undefined;
  }

  close(): void {
    for (const module of this.#modules ?? []) this.#kernel.close(module.fd);
    this.#modules = undefined;
  }

  /** Kernels before 5.11 have no BTF of modules, and who may not list ids sees none. */
  #readModules(): ModuleTypes[] {
    const base = vmlinux(this.#kernel);
    const found: ModuleTypes[] = [];
    if (base === undefined) return found;
    for (let id: number | null = 0; ; ) {
      id = this.#orNull(() => this.#kernel.objGetNextId({ kind: 'btf', startId: id as number }));
      if (id === null) return found;
      const current = id;
      const fd = this.#orNull(() => this.#kernel.objGetFdById({ kind: 'btf', id: current }));
      if (fd === null) continue;
      const info = this.#orNull(() => this.#kernel.objGetInfoByFd({ bpfFd: fd }));
      if (info?.kind === 'btf' && info.kernelBtf && info.name !== '' && info.name !== 'vmlinux')
        found.push({ name: info.name, btf: parseBtf(info.data, { base }), fd });
      else this.#kernel.close(fd);
    }
  }

  /** Null where it is refused: a module may go while the list is walked. */
  #orNull<T>(ask: () => T): T | null {
    try {
      return ask();
    } catch (error) {
      if (error instanceof BpfError) return null;
      throw error;
    }
  }
}
