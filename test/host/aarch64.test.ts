/**
 * What the host kernel hands over on aarch64: struct layouts are generated on x86-64, and hold there because a compiler for aarch64
 * lays the same declarations out in the same way; numbers of system calls are those of asm-generic.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SYSCALL_NUMBERS } from '../../src/host/syscalls.ts';
import { UAPI_LAYOUTS, type UapiLayout } from '../../src/uapi/index.ts';
import { skipReason } from './host-support.ts';

/** Registers: each architecture has its own, and programs are compiled for one. */
const OF_ONE_ARCHITECTURE = new Set(['pt_regs', 'bpf_perf_event_data']);

const CLANG = ['clang-19', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
const hasBpftool = spawnSync('bpftool', ['version']).status === 0;
const noDump =
  CLANG === undefined
    ? 'clang is missing'
    : !hasBpftool
      ? 'bpftool is missing'
      : existsSync('/sys/kernel/btf/vmlinux')
        ? undefined
        : 'the kernel has no BTF';
const UNISTD = '/usr/include/asm-generic/unistd.h';
const noHeader = existsSync(UNISTD) ? undefined : `${UNISTD} is missing`;

describe('aarch64', () => {
  for (const why of [noDump, noHeader]) if (why !== undefined) skipReason('layouts of aarch64', why);

  it.skipIf(noDump !== undefined)('struct layouts are those of the generated tables', () => {
    const directory = mkdtempSync(join(tmpdir(), 'tsbpf-aarch64-'));
    try {
      const header = execFileSync(
        'bpftool',
        ['btf', 'dump', 'file', '/sys/kernel/btf/vmlinux', 'format', 'c'],
        {
          maxBuffer: 1 << 28,
          encoding: 'utf8',
        },
      );
      writeFileSync(join(directory, 'vmlinux.h'), header);
      const checks: string[] = [];
      for (const { name, size, fields } of Object.values<UapiLayout>(UAPI_LAYOUTS)) {
        const tag = new RegExp(`^(struct|union) ${name} \\{`, 'm').exec(header)?.[1];
        if (tag === undefined || OF_ONE_ARCHITECTURE.has(name)) continue;
        checks.push(`_Static_assert(sizeof(${tag} ${name}) == ${size}, "${name}");`);
        for (const { name: field, offset, bits } of fields) {
          // Bit-fields have no address; that they fill the same unit shows in what follows.
          if (bits !== undefined) continue;
          checks.push(
            `_Static_assert(__builtin_offsetof(${tag} ${name}, ${field}) == ${offset}, "${name}.${field}");`,
          );
        }
      }
      expect(checks.length).toBeGreaterThan(600);
      const source = join(directory, 'layouts.c');
      writeFileSync(source, `#include "vmlinux.h"\n${checks.join('\n')}\n`);
      const failures = spawnSync(
        CLANG!,
        ['--target=aarch64-linux-gnu', '-fsyntax-only', '-w', '-ferror-limit=20', source],
        { encoding: 'utf8' },
      ).stderr;
      expect(failures).toBe('');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it.skipIf(noHeader !== undefined)('system call numbers are those of asm-generic', () => {
    const numbers = new Map(
      [...readFileSync(UNISTD, 'utf8').matchAll(/^#define __NR(?:3264)?_(\w+) (\d+)$/gm)].map(
        ([, name, number]) => [name, Number(number)],
      ),
    );
    for (const [name, number] of Object.entries(SYSCALL_NUMBERS.aarch64))
      expect([name, numbers.get(name)]).toEqual([name, number]);
  });
});
