/** Links of programs to functions of other programs (BPF_LINK_TYPE_TRACING): replacements, and tracing programs. */
import type { LinkInfo } from '../contracts/kernel.ts';
import { attachTypeByName } from '../spec/index.ts';
import { BPF_LINK_TYPE } from '../uapi/index.ts';
import { ProgramLink } from './links.ts';
import type { Machine } from './machine.ts';
import type { ProgObject, ProgramTarget } from './objects.ts';
import { type HookKind, hook, unhook } from './trampolines.ts';

const LEAVE = attachTypeByName('TRACE_FEXIT')!.id;

export class TracingLink extends ProgramLink {
  readonly #machine: Machine;
  readonly #target: ProgramTarget;
  readonly #attachType: number;

  /** Takes over a reference to the program, and that of `target`, unless it throws. */
  constructor(
    machine: Machine,
    program: ProgObject,
    target: ProgramTarget,
    cookie: bigint,
    attachType: number,
  ) {
    const attachment = { program, cookie };
    const { type, expectedAttachType } = program.parts;
    const kind: HookKind = type.replacesFunctions
      ? 'replace'
      : expectedAttachType === LEAVE
        ? 'leave'
        : 'enter';
    hook(machine, target.program, target.index, kind, attachment);
    super(undefined, attachment, machine.points, machine.links);
    this.#machine = machine;
    this.#target = target;
    this.#attachType = attachType;
  }

  info(): LinkInfo {
    const { program, btfId } = this.#target;
    return {
      type: BPF_LINK_TYPE.BPF_LINK_TYPE_TRACING,
      id: this.id,
      progId: this.program.id,
      details: {
        attachType: this.#attachType,
        targetObjId: program.id,
        targetBtfId: btfId,
        cookie: this.attachment.cookie,
      },
    };
  }

  protected override detach(): void {
    unhook(this.#machine, this.#target.program, this.#target.index, this.attachment);
  }

  protected override destroy(): void {
    super.destroy();
    this.#target.program.put();
  }
}
