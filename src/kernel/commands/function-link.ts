/**
 * LINK_CREATE and RAW_TRACEPOINT_OPEN of programs that replace or trace functions of other programs (kernel: bpf_tracing_prog_attach).
 */

import { ownKernelBtf } from '../../compiler/headers/own-types.ts';
import type { Fd, LinkCreateAttr } from '../../contracts/kernel.ts';
import { attachTypeByName } from '../../spec/index.ts';
import { BpfError } from '../../util/errors.ts';
import { findTarget } from '../../verifier/index.ts';
import { KernelFunctionLink, type LinkObject, RawTracepointLink } from '../links.ts';
import type { Machine } from '../machine.ts';
import { ProgObject, type ProgramTarget } from '../objects.ts';
import { TracingLink } from '../tracing-link.ts';
import { describeTarget } from './program-target.ts';

/** Attach types of programs that run around functions; those that replace functions have none. */
const AROUND_FUNCTIONS = new Set(
  (['TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN'] as const).map((name) => attachTypeByName(name)!.id),
);

const RAW_TRACEPOINT = attachTypeByName('TRACE_RAW_TP')!.id;
/** Types of tracepoints are called so. */
const TRACEPOINT_TYPE = /^btf_trace_(.+)$/;

/** A program that was loaded for a raw tracepoint by its type (`tp_btf`). */
function attachToTracepoint(machine: Machine, program: ProgObject, cookie = 0n): LinkObject {
  const types = machine.kernelBtf ?? ownKernelBtf();
  const name = TRACEPOINT_TYPE.exec(types.name(program.parts.attachBtfId))?.[1];
  if (name === undefined) throw new BpfError('EINVAL', 'the program was loaded for no tracepoint');
  const attachment = { program, cookie };
  const link = new RawTracepointLink(name, attachment, machine.points, machine.links);
  program.get();
  return link;
}

/** Attach points of events by attach type, for functions of the kernel itself and hooks of the security module. */
const KERNEL_POINTS: ReadonlyMap<number, string> = new Map(
  (
    [
      ['TRACE_FENTRY', 'fentry'],
      ['TRACE_FEXIT', 'fexit'],
      ['LSM_MAC', 'lsm'],
    ] as const
  ).map(([name, point]) => [attachTypeByName(name)!.id, point]),
);
const HOOK_TYPE = /^bpf_lsm_/;

function attachToKernel(machine: Machine, program: ProgObject, kind: string, cookie = 0n): LinkObject {
  const types = machine.kernelBtf ?? ownKernelBtf();
  const { attachBtfId } = program.parts;
  const name = types.name(attachBtfId).replace(kind === 'lsm' ? HOOK_TYPE : '', '');
  const attachment = { program, cookie };
  const link = new KernelFunctionLink(`${kind}:${name}`, attachment, machine.points, machine.links);
  program.get();
  return link;
}

/** LINK_CREATE */
export function linkToFunction(machine: Machine, program: ProgObject, attr: LinkCreateAttr): LinkObject {
  const { type, expectedAttachType } = program.parts;
  if (!type.replacesFunctions && attr.attachType !== expectedAttachType) {
    throw new BpfError(
      'EINVAL',
      `the program was loaded for attach type ${expectedAttachType}, not ${attr.attachType}`,
    );
  }
  return attachToFunction(machine, program, attr, attr.attachType);
}

/**
 * Puts a program at a function: that which it was loaded for, or, for one that replaces functions, another one that has the same
 * prototype.
 */
export function attachToFunction(
  machine: Machine,
  program: ProgObject,
  { targetFd, targetBtfId, bpfCookie }: Pick<LinkCreateAttr, 'targetFd' | 'targetBtfId' | 'bpfCookie'>,
  attachType: number,
): LinkObject {
  const { parts, target: saved } = program;
  const replaces = parts.type.replacesFunctions === true;
  if (parts.expectedAttachType === RAW_TRACEPOINT) return attachToTracepoint(machine, program, bpfCookie);
  const kind = KERNEL_POINTS.get(parts.expectedAttachType);
  if (kind !== undefined && !parts.forProgram && !targetFd)
    return attachToKernel(machine, program, kind, bpfCookie);
  if (!replaces && !AROUND_FUNCTIONS.has(parts.expectedAttachType))
    throw new BpfError('EINVAL', `the embedded kernel has nothing to attach a ${parts.type.name} program to`);
  if (!targetFd !== !targetBtfId)
    throw new BpfError(
      'EINVAL',
      'a function of another program is named by both target_fd and target_btf_id',
    );
  if (targetFd && !replaces) {
    throw new BpfError(
      'EINVAL',
      'only programs that replace functions are attached to other ones than they were loaded for',
    );
  }
  const given = targetFd ? findFunction(machine, program, targetFd, targetBtfId ?? 0) : undefined;
  const target = given ?? saved;
  if (target === undefined) {
    throw new BpfError(
      'EINVAL',
      replaces
        ? 'the program has been attached before: the next target must be named'
        : 'the embedded kernel attaches fentry and fexit programs to functions of other programs only',
    );
  }
  const same = saved !== undefined && saved.program === target.program && saved.btfId === target.btfId;
  const kept = same ? saved : { ...target, program: target.program.get() };
  let link: LinkObject;
  try {
    link = new TracingLink(machine, program, kept, bpfCookie ?? 0n, attachType);
  } catch (error) {
    if (!same) kept.program.put();
    throw error;
  }
  program.get();
  // What it was loaded for is not kept alive any longer.
  if (saved !== undefined && !same) saved.program.put();
  program.target = undefined;
  return link;
}

/** Another function than that which the program was loaded for: all is checked again, without a log. */
function findFunction(machine: Machine, program: ProgObject, fd: Fd, btfId: number): ProgramTarget {
  const target = machine.fds.expect(fd, ProgObject, 'program');
  const { parts } = program;
  const { replaces } = parts;
  const main = parts.functions[0]!;
  const found = findTarget(
    {
      replaces: parts.type.replacesFunctions === true,
      tracing: false,
      attachType: undefined,
      sleepable: parts.sleepable,
      jitRequested: parts.jited,
      ...(parts.btf === undefined ? {} : { btf: parts.btf.btf }),
      typeId: main.typeId,
      changesPacket: main.changesPacket === true,
      mightSleep: main.mightSleep === true,
      nests: true,
    },
    describeTarget(target),
    btfId,
  );
  if ('detail' in found) throw new BpfError('EINVAL', found.text ?? 'the program cannot be attached there');
  const sameType =
    replaces === undefined ||
    (replaces.type === target.parts.type && replaces.expectedAttachType === target.parts.expectedAttachType);
  if (!sameType)
    throw new BpfError('EINVAL', `the program was verified for functions of ${replaces.type.name} programs`);
  return { program: target, btfId, index: found.index };
}
