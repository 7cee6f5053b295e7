/**
 * BPF links: what keeps a program attached. The link owns a reference to its program; when it goes, the program is
 * detached. Each kind of link is one class that says what may be done with it.
 */
import type { LinkInfo } from '../contracts/kernel.ts';
import { BPF_LINK_TYPE } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import type { Attachment, AttachPoints } from './attach-points.ts';
import type { PerfEventObject } from './events.ts';
import { type IdTable, KernelObject } from './fd-table.ts';
import type { NetworkDevice } from './network.ts';
import type { ProgObject } from './objects.ts';

export abstract class LinkObject extends KernelObject {
  readonly what = 'bpf-link';
  readonly id: number;
  readonly #ids: IdTable<LinkObject>;
  #attached = true;

  constructor(ids: IdTable<LinkObject>) {
    super();
    this.#ids = ids;
    this.id = ids.allocate(this);
  }

  /** The one program that it attaches; undefined: it attaches a struct of programs. */
  get program(): ProgObject | undefined {
    return undefined;
  }

  get attached(): boolean {
    return this.#attached;
  }

  abstract info(): LinkInfo;

  /** LINK_UPDATE: kinds that allow it override. Takes over a reference to `program`. */
  update(_program: ProgObject, _old: ProgObject | undefined, _flags: number): void {
    throw new BpfError('EINVAL', `this kind of link cannot change its program`);
  }

  /** LINK_DETACH: kinds that allow it override. */
  forceDetach(): void {
    throw new BpfError(
      'EOPNOTSUPP',
      'this kind of link cannot be detached by force: close its descriptor instead',
    );
  }

  /** Takes away what it attaches; the link itself stays as long as somebody holds it. */
  release(): void {
    if (!this.#attached) return;
    this.#attached = false;
    this.detach();
  }

  protected abstract detach(): void;

  protected destroy(): void {
    this.release();
    this.#ids.remove(this.id);
  }
}

/** A link of one program. */
export abstract class ProgramLink extends LinkObject {
  protected readonly attachment: Attachment;
  readonly #points: AttachPoints;
  readonly #point: string | undefined;

  /** Takes over a reference to the program. Without a point whoever makes the link attaches the program. */
  constructor(
    point: string | undefined,
    attachment: Attachment,
    points: AttachPoints,
    ids: IdTable<LinkObject>,
  ) {
    super(ids);
    this.attachment = attachment;
    this.#points = points;
    this.#point = point;
    if (point !== undefined) points.attach(point, attachment);
  }

  override get program(): ProgObject {
    return this.attachment.program;
  }

  protected override detach(): void {
    if (this.#point !== undefined) this.#points.detach(this.#point, this.attachment);
  }

  protected override destroy(): void {
    super.destroy();
    this.program.put();
  }
}

/** Tracepoint, kprobe: a program on a perf event. */
export class PerfEventLink extends ProgramLink {
  readonly #event: PerfEventObject;

  constructor(
    event: PerfEventObject,
    attachment: Attachment,
    points: AttachPoints,
    ids: IdTable<LinkObject>,
  ) {
    super(event.point, attachment, points, ids);
    this.#event = event.get();
  }

  info(): LinkInfo {
    const attr = this.#event.attr;
    const details: Record<string, string | number | bigint> = { cookie: this.attachment.cookie };
    if (attr.kind === 'tracepoint') details.tpName = attr.name;
    if (attr.kind === 'kprobe') details.funcName = attr.symbol;
    return { type: BPF_LINK_TYPE.BPF_LINK_TYPE_PERF_EVENT, id: this.id, progId: this.program.id, details };
  }

  protected override destroy(): void {
    super.destroy();
    this.#event.put();
  }
}

export class RawTracepointLink extends ProgramLink {
  readonly #name: string;

  constructor(name: string, attachment: Attachment, points: AttachPoints, ids: IdTable<LinkObject>) {
    super(`raw_tracepoint:${name}`, attachment, points, ids);
    this.#name = name;
  }

  info(): LinkInfo {
    return {
      type: BPF_LINK_TYPE.BPF_LINK_TYPE_RAW_TRACEPOINT,
      id: this.id,
      progId: this.program.id,
      details: { tpName: this.#name, cookie: this.attachment.cookie },
    };
  }
}

/** fentry, fexit, LSM: a program at a function of the kernel itself. */
export class KernelFunctionLink extends ProgramLink {
  info(): LinkInfo {
    const { expectedAttachType, attachBtfId } = this.program.parts;
    return {
      type: BPF_LINK_TYPE.BPF_LINK_TYPE_TRACING,
      id: this.id,
      progId: this.program.id,
      details: {
        attachType: expectedAttachType,
        targetObjId: 0,
        targetBtfId: attachBtfId,
        cookie: this.attachment.cookie,
      },
    };
  }
}

/** A program on a network interface; one at a time, replaceable in place. */
export class XdpLink extends ProgramLink {
  readonly #ifindex: number;

  constructor(device: NetworkDevice, attachment: Attachment, points: AttachPoints, ids: IdTable<LinkObject>) {
    super(device.xdpPoint, attachment, points, ids);
    this.#ifindex = device.ifindex;
  }

  info(): LinkInfo {
    return {
      type: BPF_LINK_TYPE.BPF_LINK_TYPE_XDP,
      id: this.id,
      progId: this.program.id,
      details: { ifindex: this.attached ? this.#ifindex : 0 },
    };
  }

  override update(program: ProgObject, old: ProgObject | undefined): void {
    if (!this.attached) throw new BpfError('ENOLINK', 'the link is detached from its interface');
    if (old !== undefined && old !== this.program) {
      throw new BpfError(
        'EPERM',
        `the link holds program ${this.program.id}, not ${old.id} as the caller expected`,
      );
    }
    if (program.type !== this.program.type) {
      throw new BpfError(
        'EINVAL',
        `a ${program.type.name} program cannot replace a ${this.program.type.name} program`,
      );
    }
    const before = this.attachment.program;
    this.attachment.program = program;
    before.put();
  }

  override forceDetach(): void {
    this.release();
  }
}
