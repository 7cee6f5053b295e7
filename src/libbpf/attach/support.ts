/** What several attachers need: the target, the files of the machine, descriptors by path, a program on a perf event. */
import type { Fd, Kernel, MachineFiles, PerfEventAttr } from '../../contracts/kernel.ts';
import { attachTypeByName, type SectionRow } from '../../spec/index.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import type { Attachable, AttachOptions } from './types.ts';

export const byTarget = (_options: AttachOptions, target: string | undefined): boolean => Boolean(target);

export function targetOf(program: Attachable, options: AttachOptions, what: string): string {
  const target = options.target ?? program.attachTo;
  if (!target)
    throw new BpfError('EINVAL', `program '${program.name}' does not say which ${what} it is for`, {
      hint: `name one in the section or give 'target'`,
    });
  return target;
}

export function machineFiles(kernel: Kernel, what: string): MachineFiles {
  if (kernel.files === undefined)
    throw new BpfError(
      'EOPNOTSUPP',
      `${what}: the ${kernel.features().kind} kernel runs on no machine with files to look in`,
      { hint: 'attach it on the host kernel' },
    );
  return kernel.files;
}

/** The number of the program's attach type. */
export function attachTypeOf(program: Attachable, options: AttachOptions): number {
  const name = options.attachType ?? program.attachType;
  const row = name === undefined ? undefined : attachTypeByName(name);
  if (row !== undefined) return row.id;
  throw new BpfError(
    'EINVAL',
    name === undefined
      ? `program '${program.name}': its section does not say an attach type`
      : `there is no attach type '${name}'`,
    { hint: `give 'attachType', e.g. CGROUP_INET_EGRESS` },
  );
}

export function interfaceIndex(kernel: Kernel, program: Attachable, options: AttachOptions): number {
  const device = options.interface;
  if (device === undefined)
    throw new BpfError('EINVAL', `program '${program.name}' needs an interface to be attached to`);
  const ifindex = typeof device === 'number' ? device : kernel.ifNameToIndex(device);
  if (ifindex === null) throw new BpfError('ENODEV', `there is no network interface '${device}'`);
  return ifindex;
}

/** Runs `body` with a descriptor of what a path names; one that was opened for it is closed again. */
export function withDescriptor<T>(kernel: Kernel, place: string | Fd, what: string, body: (fd: Fd) => T): T {
  if (typeof place === 'number') return body(place);
  const fd = machineFiles(kernel, `${what} ${place}`).open(place);
  try {
    return body(fd);
  } finally {
    kernel.close(fd);
  }
}

/** Order among the programs of one place, as LINK_CREATE takes it. */
export function relativeTo(options: AttachOptions): {
  flags?: number;
  relativeFd?: Fd;
  relativeId?: number;
  expectedRevision?: bigint;
} {
  const { flags, relativeFd, relativeId, expectedRevision } = options;
  return {
    ...(flags === undefined ? {} : { flags }),
    ...(relativeFd === undefined ? {} : { relativeFd }),
    ...(relativeId === undefined ? {} : { relativeId }),
    ...(expectedRevision === undefined ? {} : { expectedRevision }),
  };
}

/** Opens a perf event and puts the program on it; the link keeps the event. */
export function onPerfEvent(
  kernel: Kernel,
  program: Attachable,
  cookie: bigint | undefined,
  attr: PerfEventAttr,
  target: string,
): BpfLink {
  const event = kernel.perfEventOpen(attr);
  try {
    const fd = kernel.linkCreate({
      progFd: program.fd,
      targetFd: event,
      attachType: BPF_ATTACH_TYPE.BPF_PERF_EVENT,
      ...(cookie === undefined ? {} : { bpfCookie: cookie }),
    });
    return new BpfLink(kernel, fd, target, { owned: [event] });
  } catch (error) {
    kernel.close(event);
    throw error;
  }
}

/** `0x1f`, `31` */
export function parseOffset(text: string, where: string): bigint {
  if (/^(0x[0-9a-f]{1,16}|\d{1,20})$/i.test(text)) return BigInt(text);
  throw new BpfError('EINVAL', `'${text}' in '${where}' is no offset`, {
    hint: 'write it in bytes: +16, +0x10',
  });
}

/** By the kernel's own word: distributions bring features back, so ask only where nothing else tells. */
export function isOlderThan(kernel: Kernel, since: string): boolean {
  const [major = 0, minor = 0] = since.split('.').map(Number);
  const [a = 0, b = 0] = kernel.features().release.split(/[.-]/).map(Number);
  return a < major || (a === major && b < minor);
}

/** Name of the expected attach type of a section's programs on this kernel. */
export function sectionAttachType(kernel: Kernel, spec: SectionAttachType): string | undefined {
  const newer = spec.sectionRow?.newerAttachType;
  return newer === undefined || isOlderThan(kernel, newer.since) ? spec.attachType : newer.name;
}

interface SectionAttachType {
  readonly attachType: string | undefined;
  readonly sectionRow: SectionRow | undefined;
}
