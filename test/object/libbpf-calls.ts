/** What libbpf asks of the kernel: bpftool loads an object under strace, and its bpf(2) calls are read back. Needs root, bpftool, strace. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Insn } from '../../src/contracts/insn.ts';
import { skipReason } from './compile.ts';

/** Why there is no comparison here. */
export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  for (const [command, flag] of [
    ['bpftool', 'version'],
    ['strace', '-V'],
  ] as const) {
    if (spawnSync(command, [flag], { stdio: 'ignore' }).status !== 0) return `no ${command} on this machine`;
  }
  return skipReason();
}

/** The bpf(2) calls of `bpftool prog loadall`, as strace prints them with raw numbers. */
export function traceLoad(object: Uint8Array, name: string): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-oracle-'));
  const mount = join(directory, 'bpffs');
  mkdirSync(mount);
  const file = join(directory, name);
  writeFileSync(file, object);
  if (spawnSync('mount', ['-t', 'bpf', 'bpf', mount]).status !== 0) {
    rmSync(directory, { recursive: true });
    return [];
  }
  try {
    const args = [
      '-e',
      'trace=bpf',
      '-v',
      '-X',
      'raw',
      '-s',
      '64',
      'bpftool',
      'prog',
      'loadall',
      file,
      join(mount, 'p'),
    ];
    const result = spawnSync('strace', args, { encoding: 'utf8', maxBuffer: 1 << 28 });
    return result.stderr.split('\n').filter((line) => line.startsWith('bpf('));
  } finally {
    spawnSync('umount', [mount]);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A number in strace's form: `0x1|0|0x60`. */
function number(text: string): number {
  return text.split('|').reduce((sum, part) => sum | Number(part), 0);
}

export function field(line: string, name: string): number {
  return number(new RegExp(`[{ ]${name}=([0-9a-fx|]+)`).exec(line)?.[1] ?? '0') >>> 0;
}

/** The instructions of a PROG_LOAD. */
export function instructions(line: string): Insn[] {
  const found = line.matchAll(
    /\{code=([^,]*), dst_reg=([^,]*), src_reg=([^,]*), off=([^,]*), imm=([^}]*)\}/g,
  );
  return [...found].map((match) => {
    const [code, dst, src, off, imm] = match.slice(1).map(number) as [number, number, number, number, number];
    return { code, dst, src, off: (off << 16) >> 16, imm: imm | 0 };
  });
}
