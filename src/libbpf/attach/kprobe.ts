/** kprobe and kretprobe: `function+offset` of the kernel, and system calls by name. */
import type { Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import type { BpfLink } from '../link.ts';
import { byTarget, onPerfEvent, parseOffset, targetOf } from './support.ts';
import type { Attachable, AttachOptions, AttachRow } from './types.ts';

/** KRETPROBE_MAXACTIVE_MAX of the kernel. */
const MAX_MAXACTIVE = 4096;

export const KPROBE: AttachRow = {
  ready: byTarget,
  attach: (kernel, program, options) => attachKprobe(kernel, program, options, false),
};

export const KRETPROBE: AttachRow = {
  ready: byTarget,
  attach: (kernel, program, options) => attachKprobe(kernel, program, options, true),
};

export const KSYSCALL: AttachRow = {
  ready: byTarget,
  attach: (kernel, program, options) => attachSyscallProbe(kernel, program, options, false),
};

export const KRETSYSCALL: AttachRow = {
  ready: byTarget,
  attach: (kernel, program, options) => attachSyscallProbe(kernel, program, options, true),
};

function attachKprobe(
  kernel: Kernel,
  program: Attachable,
  options: AttachOptions,
  retprobe: boolean,
): BpfLink {
  const target = targetOf(program, options, 'function');
  const [symbol, offset] = target.split('+');
  if (!/^[\w.$]+$/.test(symbol)) throw new BpfError('EINVAL', `'${symbol}' is no function of the kernel`);
  if (retprobe && offset !== undefined)
    throw new BpfError('EINVAL', `a kretprobe fires when ${symbol} returns: it takes no offset`);
  const maxactive = options.maxactive ?? 0;
  if (!Number.isInteger(maxactive) || maxactive < 0 || maxactive > MAX_MAXACTIVE)
    throw new BpfError('EINVAL', `maxactive is a number of calls up to ${MAX_MAXACTIVE}, not ${maxactive}`);
  if (maxactive !== 0 && !retprobe) throw new BpfError('EINVAL', 'only kretprobes have a maxactive');
  return onPerfEvent(
    kernel,
    program,
    options.cookie,
    {
      kind: 'kprobe',
      symbol,
      retprobe,
      ...(maxactive === 0 ? {} : { maxactive }),
      ...(offset === undefined ? {} : { offset: parseOffset(offset, target) }),
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
