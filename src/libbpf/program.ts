/** A program of an object: before load what the object says, after it a descriptor that can be attached and test-run. */
import type { Fd, Kernel, ProgInfo, ProgTestRunAttr, ProgTestRunResult } from '../contracts/kernel.ts';
import type { ProgramSpec } from '../object/index.ts';
import { BpfError } from '../util/errors.ts';
import {
  type Attachable,
  type AttachKind,
  type AttachOptions,
  attachProgram,
  attachTc,
  interfaceIndex,
  type ObjectMaps,
  sectionAttachType,
  type TcOptions,
} from './attach/index.ts';
import type { BpfLink } from './link.ts';

export class BpfProgram {
  readonly spec: ProgramSpec;
  readonly name: string;
  /** False: `load` leaves it out. From `SEC("?…")`, may be changed before load. */
  autoload: boolean;
  /** The verifier's log of the load, where one was asked for. */
  log = '';
  /** CO-RE accesses that the kernel does not have; their instructions are poisoned. Filled in by the load. */
  unresolved: readonly { readonly insn: number; readonly description: string }[] = [];
  /**
   * What fentry, fexit, freplace, LSM and the like attach to, in place of what the section says (bpf_program__set_attach_target):
   * a function of the kernel, or with `program` of a loaded program. Set it before load.
   */
  attachTarget: { readonly name: string; readonly program?: { readonly fd: Fd } } | undefined;
  #kernel: Kernel | undefined;
  #fd: Fd | undefined;
  readonly #maps: ObjectMaps | undefined;

  /** `maps`: those of the program's object, once they are made. */
  constructor(spec: ProgramSpec, maps?: ObjectMaps) {
    this.spec = spec;
    this.#maps = maps;
    this.name = spec.name;
    this.autoload = spec.autoload;
  }

  get loaded(): boolean {
    return this.#fd !== undefined;
  }

  /** Throws EBADF before load. */
  get fd(): Fd {
    if (this.#fd === undefined) throw new BpfError('EBADF', `program '${this.name}' is not loaded`);
    return this.#fd;
  }

  get kernel(): Kernel {
    if (this.#kernel === undefined) throw new BpfError('EBADF', `program '${this.name}' is not loaded`);
    return this.#kernel;
  }

  /** Called by the loader. */
  setLoaded(kernel: Kernel, fd: Fd): void {
    this.#kernel = kernel;
    this.#fd = fd;
  }

  /** Attaches by section, or by what `options` say. The link detaches when it is destroyed. */
  attach(options: AttachOptions = {}): BpfLink {
    return attachProgram(this.kernel, this.spec.sectionRow?.attach, this.#attachable(), options);
  }

  /** Attaches as one kind, whatever the section says: `program.attachAs('uprobe', { target: '/bin/bash:readline' })`. */
  attachAs(kind: AttachKind, options: AttachOptions = {}): BpfLink {
    return attachProgram(this.kernel, kind, this.#attachable(), options);
  }

  /** The older tc (sections `tc`, `classifier`): on the clsact qdisc of an interface, which is made where there is none. */
  attachTc(options: TcOptions): BpfLink {
    return attachTc(this.kernel, this.#attachable(), options);
  }

  #attachable(): Attachable {
    const attachType = sectionAttachType(this.kernel, this.spec);
    const attachTo = this.attachTarget?.name ?? this.spec.attachTo;
    return { name: this.name, fd: this.fd, attachTo, attachType, maps: this.#maps };
  }

  /** SO_ATTACH_BPF to a packet socket of the kernel, of all interfaces or of one: the descriptor of the socket. Errors: ENODEV. */
  attachSocket(options: Pick<AttachOptions, 'interface'> = {}): Fd {
    const { kernel } = this;
    const ifindex =
      options.interface === undefined ? undefined : interfaceIndex(kernel, this.#attachable(), options);
    return kernel.socketAttach({
      socketFd: null,
      progFd: this.fd,
      ...(ifindex === undefined ? {} : { ifindex }),
    });
  }

  testRun(attr: Omit<ProgTestRunAttr, 'progFd'> = {}): ProgTestRunResult {
    return this.kernel.progTestRun({ ...attr, progFd: this.fd });
  }

  info(): ProgInfo {
    const info = this.kernel.objGetInfoByFd({ bpfFd: this.fd });
    if (info.kind !== 'prog') throw new BpfError('EINVAL', `descriptor ${this.fd} is no program`);
    return info;
  }

  pin(pathname: string): void {
    this.kernel.objPin({ pathname, bpfFd: this.fd });
  }

  close(): void {
    if (this.#fd !== undefined) this.#kernel?.close(this.#fd);
    this.#fd = undefined;
  }
}
