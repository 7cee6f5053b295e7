/** System call numbers of the calls that this room makes itself, by architecture (asm/unistd_64.h, asm-generic/unistd.h). */

export type Arch = 'x86_64' | 'aarch64';

/** `process.arch` → architecture; only those whose layouts and numbers are known. */
export const ARCHES: Readonly<Record<string, Arch>> = { x64: 'x86_64', arm64: 'aarch64' };

export const SYSCALL_NUMBERS = {
  x86_64: {
    mmap: 9,
    close: 3,
    munmap: 11,
    ioctl: 16,
    socket: 41,
    bind: 49,
    setsockopt: 54,
    fcntl: 72,
    perf_event_open: 298,
    bpf: 321,
    fsopen: 430,
    fsconfig: 431,
    fsmount: 432,
  },
  aarch64: {
    fcntl: 25,
    close: 57,
    ioctl: 29,
    socket: 198,
    bind: 200,
    setsockopt: 208,
    munmap: 215,
    mmap: 222,
    perf_event_open: 241,
    bpf: 280,
    fsopen: 430,
    fsconfig: 431,
    fsmount: 432,
  },
} as const satisfies Record<Arch, Record<string, number>>;

export type SyscallName = keyof (typeof SYSCALL_NUMBERS)['x86_64'];
