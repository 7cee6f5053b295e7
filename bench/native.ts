/**
 * The machine's own code beside the kernels: the programs of bench/programs compiled by clang -O2 for this machine, and, where
 * uBPF's library is given, what its JIT makes of the objects. Both run in a loop in C (native/loop.c) on a packet and a context
 * in memory with 32-bit addresses, so that `struct xdp_md` is what the programs expect. What cannot be had is told in `notes`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeProgram } from '../src/asm/index.ts';
import { type ObjectSpec, parseObject } from '../src/object/index.ts';
import { benchPacket } from './packet.ts';

/** Runs a program so many times; its last result. */
export type NativeRun = (times: number) => number;

export interface NativeSides {
  /** Compiled by clang for this machine; undefined where that is not possible. */
  compiled(object: string, name: string): NativeRun | undefined;
  /** Compiled by uBPF from the program's instructions; undefined where uBPF has not what the program needs. */
  ubpf(object: string, name: string): NativeRun | undefined;
  /** What was used, what is missing and why. */
  readonly notes: readonly string[];
  close(): void;
}

/** Functions of native/loop.c; addresses below 2^53 are numbers. */
interface Loop {
  memory(size: number): bigint;
  copy(to: bigint, from: Uint8Array, size: number): void;
  find(library: string, name: string): bigint;
  run(fn: bigint, ctx: bigint, size: number, times: number): number;
  ubpf(library: string, insns: Uint8Array, bytes: number, error: Uint8Array, room: number): bigint;
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
/** Sections that programs address directly, and that any memory can stand for. */
const DATA: ReadonlySet<string> = new Set(['data', 'rodata', 'bss']);

async function openLoop(library: string): Promise<Loop> {
  const { default: koffi } = await import('koffi');
  const lib = koffi.load(library);
  const wide = (value: unknown) => BigInt(value as number | bigint);
  const memory = lib.func('uint64_t bench_memory(uint64_t size)');
  const copy = lib.func('void bench_copy(uint64_t to, const void *from, uint64_t size)');
  const find = lib.func('uint64_t bench_function(const char *library, const char *name)');
  const run = lib.func('uint32_t bench_run(uint64_t fn, uint64_t ctx, uint64_t size, uint64_t times)');
  const ubpf = lib.func(
    'uint64_t bench_ubpf(const char *library, const void *insns, uint32_t bytes, _Out_ uint8_t *error, uint64_t room)',
  );
  return {
    memory: (size) => wide(memory(size)),
    copy: (to, from, size) => void copy(to, from, size),
    find: (path, name) => wide(find(path, name)),
    run: (fn, ctx, size, times) => run(fn, ctx, size, times) as number,
    ubpf: (path, insns, bytes, error, room) => wide(ubpf(path, insns, bytes, error, room)),
  };
}

/** `clang`: the compiler; `ubpf`: path of libubpf.so. Never throws: what fails becomes a note. */
export async function openNativeSides(options: { clang: string; ubpf?: string }): Promise<NativeSides> {
  const notes: string[] = [];
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-bench-'));
  const build = (source: string, to: string, ...more: readonly string[]) => {
    const args = ['-O2', '-shared', '-fPIC', '-w', ...more, here(source), '-o', join(directory, to)];
    execFileSync(options.clang, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    return join(directory, to);
  };
  const close = () => rmSync(directory, { recursive: true, force: true });
  let loop: Loop;
  try {
    loop = await openLoop(build('native/loop.c', 'loop.so'));
    const version = execFileSync(options.clang, ['--version'], { encoding: 'utf8' }).split('\n')[0];
    notes.push(`Native code: the same C sources, ${version}, -O2 for this machine's base instruction set`);
  } catch (error) {
    notes.push(`No native code and no uBPF: ${(error as Error).message.split('\n')[0]}`);
    return { compiled: () => undefined, ubpf: () => undefined, notes, close };
  }
  const ubpf = options.ubpf === undefined ? undefined : resolve(options.ubpf);
  if (ubpf === undefined) notes.push('No uBPF: give its shared library with --ubpf');
  else if (!existsSync(ubpf)) notes.push(`No uBPF: there is no ${ubpf}`);
  else notes.push('uBPF: its JIT on the same objects, where it has what they need (no maps, no helpers)');

  const libraries = new Map<string, string | undefined>();
  const library = (object: string): string | undefined => {
    if (!libraries.has(object)) {
      let path: string | undefined;
      try {
        path = build(`programs/${object}.bpf.c`, `${object}.so`, `-I${here('native/include')}`);
      } catch (error) {
        notes.push(`No native code of ${object}: ${(error as Error).message.split('\n')[1]}`);
      }
      libraries.set(object, path);
    }
    return libraries.get(object);
  };
  const runOf = (fn: bigint): NativeRun => {
    const ctx = contextOf(loop);
    return (times) => loop.run(fn, ctx, XDP_MD, times);
  };
  return {
    compiled(object, name) {
      const path = library(object);
      const fn = path === undefined ? 0n : loop.find(path, name);
      return fn === 0n ? undefined : runOf(fn);
    },
    ubpf(object, name) {
      if (ubpf === undefined || !existsSync(ubpf)) return undefined;
      const insns = standalone(loop, object, name);
      if (insns === undefined) return undefined;
      const error = new Uint8Array(256);
      const fn = loop.ubpf(ubpf, insns, insns.length, error, error.length);
      if (fn !== 0n) return runOf(fn);
      notes.push(`uBPF does not run ${name}: ${Buffer.from(error).toString().replace(/\0.*$/s, '')}`);
      return undefined;
    },
    notes,
    close,
  };
}

/** sizeof(struct xdp_md) */
const XDP_MD = 24;

/** A `struct xdp_md` with a packet of its own behind it. */
function contextOf(loop: Loop): bigint {
  const packet = benchPacket();
  const at = loop.memory(4096);
  const data = Number(at) + 1024;
  loop.copy(BigInt(data), packet, packet.length);
  const fields = Uint8Array.from(new Uint8Array(new Uint32Array([data, data + packet.length, data]).buffer));
  loop.copy(at, fields, fields.length);
  return at;
}

/** The program's instructions with its data sections in memory of this process; undefined where it needs a kernel. */
function standalone(loop: Loop, object: string, name: string): Uint8Array | undefined {
  const spec: ObjectSpec = parseObject(readFileSync(here(`objects/${object}.bpf.o`)));
  const program = spec.programs.find((one) => one.name === name);
  if (program === undefined) return undefined;
  const insns = program.insns.map((insn) => ({ ...insn }));
  const isHelper = ({ code, src }: { code: number; src: number }) => code === 0x85 && src === 0;
  if (insns.some(isHelper)) return undefined;
  const sections = new Map<number, bigint>();
  for (const relocation of program.relocations) {
    if (relocation.kind !== 'map_value') return undefined;
    const map = spec.maps[relocation.map]!;
    if (!DATA.has(map.origin)) return undefined;
    let base = sections.get(relocation.map);
    if (base === undefined) {
      base = loop.memory(map.valueSize);
      if (map.initial !== undefined) loop.copy(base, map.initial, map.initial.length);
      sections.set(relocation.map, base);
    }
    const first = insns[relocation.insn]!;
    const second = insns[relocation.insn + 1]!;
    const address = base + BigInt(second.imm);
    first.src = 0;
    first.imm = Number(BigInt.asIntN(32, address));
    second.imm = Number(BigInt.asIntN(32, address >> 32n));
  }
  return encodeProgram(insns);
}
