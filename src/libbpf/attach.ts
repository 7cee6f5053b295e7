/**
 * Attaching a program by what its section says, or by what the caller says: one function a kind of attachment, chosen by the
 * section row's `attach` field (libbpf: SEC_DEF attach functions).
 */
import type { Fd, Kernel, PerfEventAttr } from '../contracts/kernel.ts';
import type { SectionRow } from '../spec/index.ts';
import { BPF_ATTACH_TYPE } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import { BpfLink } from './link.ts';

export interface AttachOptions {
  /** Overrides what stands behind the `/` of the section: function, `category/tracepoint`. */
  readonly target?: string;
  /** Network interface by name or index, for XDP. */
  readonly interface?: string | number;
  /** Only events of this process. */
  readonly pid?: number;
  /** bpf_get_attach_cookie */
  readonly cookie?: bigint;
}

interface Attachable {
  readonly name: string;
  readonly fd: Fd;
  readonly attachTo: string | undefined;
}

type Attacher = (kernel: Kernel, program: Attachable, options: AttachOptions) => BpfLink;

export type AttachKind = NonNullable<SectionRow['attach']>;

/** Kinds that this front end attaches; the others say so. */
const ATTACHERS: Partial<Record<AttachKind, Attacher>> = {
  tracepoint: attachTracepoint,
  raw_tracepoint: attachRawTracepoint,
  kprobe: (kernel, program, options) => attachKprobe(kernel, program, options, false),
  kretprobe: (kernel, program, options) => attachKprobe(kernel, program, options, true),
  ksyscall: (kernel, program, options) => attachSyscallProbe(kernel, program, options, false),
  kretsyscall: (kernel, program, options) => attachSyscallProbe(kernel, program, options, true),
  xdp: attachXdp,
};

/** What the attachment of a kind needs to be told besides the kind: what stands behind the section's `/`, or an interface. */
const NEEDS_INTERFACE: ReadonlySet<AttachKind> = new Set(['xdp', 'tcx', 'netkit']);

/**
 * Whether attaching the whole object attaches this program: bare sections (`SEC("tracepoint")`: targets of tail calls, or
 * programs that the caller attaches by hand) are left out, as libbpf leaves them out.
 */
export function attachesWithObject(
  kind: AttachKind | undefined,
  attachTo: string | undefined,
  options: AttachOptions,
): boolean {
  if (kind === undefined) return false;
  if (NEEDS_INTERFACE.has(kind)) return options.interface !== undefined;
  return Boolean(attachTo ?? options.target);
}

export function attachProgram(
  kernel: Kernel,
  kind: AttachKind | undefined,
  program: Attachable,
  options: AttachOptions,
): BpfLink {
  if (kind === undefined) {
    throw new BpfError(
      'EOPNOTSUPP',
      `program '${program.name}': its section does not say what to attach it to`,
      {
        hint: 'attach it to a socket, a map or an event by hand',
      },
    );
  }
  const attacher = ATTACHERS[kind];
  if (attacher === undefined)
    throw new BpfError('EOPNOTSUPP', `program '${program.name}': attaching as ${kind} is not implemented`);
  return attacher(kernel, program, options);
}

function targetOf(program: Attachable, options: AttachOptions, what: string): string {
  const target = options.target ?? program.attachTo;
  if (!target)
    throw new BpfError('EINVAL', `program '${program.name}' does not say which ${what} it is for`, {
      hint: `name one in the section or give 'target'`,
    });
  return target;
}

function attachTracepoint(kernel: Kernel, program: Attachable, options: AttachOptions): BpfLink {
  const target = targetOf(program, options, 'tracepoint');
  const [category, name, ...rest] = target.split('/');
  if (!category || !name || rest.length > 0)
    throw new BpfError('EINVAL', `'${target}' is no tracepoint: expected category/name`);
  return onPerfEvent(
    kernel,
    program,
    options,
    {
      kind: 'tracepoint',
      category,
      name,
      ...(options.pid === undefined ? {} : { pid: options.pid }),
    },
    `tracepoint ${target}`,
  );
}

function attachKprobe(
  kernel: Kernel,
  program: Attachable,
  options: AttachOptions,
  retprobe: boolean,
): BpfLink {
  const target = targetOf(program, options, 'function');
  const [symbol, offset] = target.split('+');
  return onPerfEvent(
    kernel,
    program,
    options,
    {
      kind: 'kprobe',
      symbol,
      retprobe,
      ...(offset === undefined ? {} : { offset: BigInt(offset) }),
    },
    `${retprobe ? 'kretprobe' : 'kprobe'} ${target}`,
  );
}

/** Names of system call handlers by architecture (libbpf: arch_specific_syscall_pfx). */
const SYSCALL_PREFIX = { x86_64: '__x64_sys_', aarch64: '__arm64_sys_' } as const;

function attachSyscallProbe(
  kernel: Kernel,
  program: Attachable,
  options: AttachOptions,
  retprobe: boolean,
): BpfLink {
  const target = targetOf(program, options, 'system call');
  const symbol = `${SYSCALL_PREFIX[kernel.features().arch]}${target}`;
  return attachKprobe(kernel, program, { ...options, target: symbol }, retprobe);
}

function onPerfEvent(
  kernel: Kernel,
  program: Attachable,
  options: AttachOptions,
  attr: PerfEventAttr,
  target: string,
): BpfLink {
  const event = kernel.perfEventOpen(attr);
  try {
    const fd = kernel.linkCreate({
      progFd: program.fd,
      targetFd: event,
      attachType: BPF_ATTACH_TYPE.BPF_PERF_EVENT,
      ...(options.cookie === undefined ? {} : { bpfCookie: options.cookie }),
    });
    return new BpfLink(kernel, fd, target, [event]);
  } catch (error) {
    kernel.close(event);
    throw error;
  }
}

function attachRawTracepoint(kernel: Kernel, program: Attachable, options: AttachOptions): BpfLink {
  const name = targetOf(program, options, 'raw tracepoint');
  const fd = kernel.rawTracepointOpen({
    name,
    progFd: program.fd,
    ...(options.cookie === undefined ? {} : { cookie: options.cookie }),
  });
  return new BpfLink(kernel, fd, `raw tracepoint ${name}`);
}

function attachXdp(kernel: Kernel, program: Attachable, options: AttachOptions): BpfLink {
  const device = options.interface;
  if (device === undefined)
    throw new BpfError('EINVAL', `program '${program.name}' needs an interface to be attached to`);
  const ifindex = typeof device === 'number' ? device : kernel.ifNameToIndex(device);
  if (ifindex === null) throw new BpfError('ENODEV', `there is no network interface '${device}'`);
  const fd = kernel.linkCreate({
    progFd: program.fd,
    targetIfindex: ifindex,
    attachType: BPF_ATTACH_TYPE.BPF_XDP,
  });
  return new BpfLink(kernel, fd, `XDP on interface ${device}`);
}
