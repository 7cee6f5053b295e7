/**
 * The border to native code: raw system calls, memory that JavaScript and the kernel share, readiness of descriptors, all through
 * koffi, an optional dependency that ships its binary. Nothing else in the package knows of it.
 *
 * Invariant: a system call gives its result or -errno, as in the kernel; addresses are numbers (user space has at most 52 bits).
 */
import { readFileSync } from 'node:fs';
import { release as osRelease } from 'node:os';
import { BpfError } from '../util/errors.ts';
import { ARCHES, type Arch, SYSCALL_NUMBERS, type SyscallName } from './syscalls.ts';

/** Memory outside of JavaScript's heap: does not move, so its address may go into structures. */
export interface NativeBlock {
  readonly address: number;
  readonly buffer: ArrayBuffer;
}

/** Watches one descriptor through the event loop's own epoll: no thread, no polling. */
export interface Watch {
  /** `ready` is called for as long as there is something to read (level-triggered), until `stop`. */
  start(ready: (readable: boolean) => void): void;
  stop(): void;
  close(): void;
}

export interface Native {
  readonly arch: Arch;
  /** `6.18.4-generic` */
  readonly release: string;
  readonly pageSize: number;
  /** Arguments left out are 0. */
  call(name: SyscallName, ...args: number[]): number;
  /** View of memory that stays mapped while the view is in use. */
  view(address: number, size: number): ArrayBuffer;
  watch(fd: number): Watch;
  ifNameToIndex(name: string): number;
}

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** Zeroed pages of our own. */
export function mapAnonymous(native: Native, size: number): NativeBlock {
  const address = native.call('mmap', 0, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (address < 0) throw BpfError.fromReturn(address, `mmap of ${size} bytes`);
  return { address, buffer: native.view(address, size) };
}

/** Why Linux cannot be reached from this process, null where it can (privileges aside). */
export function whyNoNative(): string | null {
  if (typeof process === 'undefined' || process.platform !== 'linux')
    return 'the host kernel needs Linux; the embedded kernel runs everywhere';
  if (ARCHES[process.arch] === undefined)
    return `the host kernel is reached on x86-64 and aarch64, not on ${process.arch}`;
  return null;
}

let loading: Promise<Native> | undefined;

/** One for the process. Rejects with BpfError: ENOSYS not this platform, ENOENT without koffi. */
export function loadNative(): Promise<Native> {
  loading ??= open().catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

interface PollHandle {
  start(options: object, callback: (status: number, events: { readonly readable: boolean }) => void): void;
  stop(): void;
  close(): void;
}

/** What we use of koffi (its own types name more, and describe the poll callback differently). */
interface Koffi {
  load(path: null): { func(declaration: string): (...args: never[]) => number | bigint };
  errno(): number;
  view(address: bigint, size: number): ArrayBuffer;
  readonly node: { poll(fd: number, options: object, callback: () => void): PollHandle };
}

async function open(): Promise<Native> {
  const why = whyNoNative();
  if (why !== null) throw new BpfError('ENOSYS', why);
  const koffi = await importKoffi();
  const arch = ARCHES[process.arch];
  const numbers = SYSCALL_NUMBERS[arch];
  const libc = koffi.load(null);
  const three = libc.func('int64_t syscall(int64_t nr, int64_t a, int64_t b, int64_t c)') as Raw;
  const six = libc.func(
    'int64_t syscall(int64_t nr, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)',
  ) as Raw;
  const ifNameToIndex = libc.func('uint32_t if_nametoindex(const char *name)') as unknown as (
    name: string,
  ) => number;
  return {
    arch,
    release: osRelease(),
    pageSize: pageSize(),
    call(name, a = 0, b = 0, c = 0, ...more) {
      const result =
        more.length === 0
          ? three(numbers[name], a, b, c)
          : six(numbers[name], a, b, c, more[0] ?? 0, more[1] ?? 0, more[2] ?? 0);
      return Number(result) === -1 ? -koffi.errno() : Number(result);
    },
    view: (address, size) => koffi.view(BigInt(address), size),
    watch: (fd) => createWatch(koffi, fd),
    ifNameToIndex: (name) => ifNameToIndex(name),
  };
}

type Raw = (nr: number, ...args: number[]) => number | bigint;

async function importKoffi(): Promise<Koffi> {
  try {
    const module = (await import('koffi')) as { default?: unknown };
    return (module.default ?? module) as Koffi;
  } catch (error) {
    throw new BpfError(
      'ENOENT',
      'the host kernel is reached through the npm package koffi, which is missing',
      {
        cause: error,
        hint: 'npm install koffi (an optional dependency), or use the embedded kernel',
      },
    );
  }
}

function createWatch(koffi: Koffi, fd: number): Watch {
  const options = { readable: true };
  let handle: PollHandle | undefined;
  return {
    start(ready) {
      const callback = (status: number, events: { readonly readable: boolean }) =>
        ready(status === 0 && events.readable);
      if (handle === undefined) handle = koffi.node.poll(fd, options, callback as () => void);
      else handle.start(options, callback);
    },
    stop: () => handle?.stop(),
    close: () => {
      handle?.close();
      handle = undefined;
    },
  };
}

/** AT_PAGESZ of the auxiliary vector: aarch64 has pages of 4, 16 or 64 KiB. */
function pageSize(): number {
  const AT_PAGESZ = 6n;
  try {
    const bytes = readFileSync('/proc/self/auxv');
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at + 16 <= bytes.length; at += 16) {
      if (view.getBigUint64(at, true) === AT_PAGESZ) return Number(view.getBigUint64(at + 8, true));
    }
  } catch {
    // Without /proc: what nearly all machines have.
  }
  return 4096;
}
