/** Names of the kernel's functions as BCC treats them: system calls by their wrappers, and which functions a pattern means. */
import type { Kernel } from '../contracts/kernel.ts';
import { fromUtf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';

const SYSCALL_PREFIX = { x86_64: '__x64_sys_', aarch64: '__arm64_sys_' } as const;
const KNOWN_PREFIXES = [
  'sys_',
  '__x64_sys_',
  '__x32_compat_sys_',
  '__ia32_compat_sys_',
  '__arm64_sys_',
  '__s390x_sys_',
  '__s390_sys_',
  '__riscv_sys_',
];
/** More functions than this are a mistake. */
const MOST_MATCHES = 10_000;

/** `clone` → `__x64_sys_clone` */
export function syscallFunction(kernel: Kernel, name: string): string {
  return SYSCALL_PREFIX[kernel.features().arch] + name;
}

/** A name of a system call's function, of whatever kernel, as this kernel has it; others stay as they are. */
export function fixSyscallFunction(kernel: Kernel, name: string): string {
  const prefix = KNOWN_PREFIXES.find((one) => name.startsWith(one));
  return prefix === undefined ? name : syscallFunction(kernel, name.slice(prefix.length));
}

/** Functions that can be probed and match. Errors: ENOTSUP where the kernel tells no list, ENOENT for none, E2BIG for too many. */
export function kernelFunctions(kernel: Kernel, pattern: RegExp): string[] {
  const bytes = kernel.files?.readTracing('available_filter_functions') ?? null;
  if (bytes === null)
    throw new BpfError('EOPNOTSUPP', 'this kernel gives no list of its functions to match a pattern with');
  const names = new Set<string>();
  for (const line of fromUtf8(bytes).split('\n')) {
    const [name = ''] = line.split(/[\s]/, 1);
    if (name !== '' && matches(pattern, name)) names.add(name);
  }
  return limited([...names], pattern);
}

/** Tracepoints `category:name` of the machine that match. */
export function tracepoints(kernel: Kernel, pattern: RegExp): string[] {
  const bytes = kernel.files?.readTracing('available_events') ?? null;
  if (bytes === null)
    throw new BpfError('EOPNOTSUPP', 'this kernel gives no list of its tracepoints to match a pattern with');
  const names = fromUtf8(bytes)
    .split('\n')
    .filter((name) => name !== '' && matches(pattern, name));
  return limited(names, pattern);
}

/** From the start of the name on, as Python's `re.match`. */
function matches(pattern: RegExp, name: string): boolean {
  const found = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(name);
  return found !== null && found.index === 0;
}

function limited(names: string[], pattern: RegExp): string[] {
  if (names.length === 0) throw new BpfError('ENOENT', `nothing to probe matches ${pattern}`);
  if (names.length > MOST_MATCHES)
    throw new BpfError(
      'E2BIG',
      `${names.length} names match ${pattern}; at most ${MOST_MATCHES} are attached to`,
    );
  return names;
}
