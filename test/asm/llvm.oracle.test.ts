/**
 * LLVM's syntax against llvm-objdump and llvm-mc 19: every row, and an object that clang makes. Skipped where they are
 * not installed.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  assemble,
  decodeProgram,
  disassemble,
  disassembleInsns,
  encodeProgram,
  formatInsn,
  INSN_ROWS,
} from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts.ts';
import { fromHex } from '../../src/util/index.ts';
import { Random } from '../generator/random.ts';
import { randomInsn } from './rows.ts';

const dir = mkdtempSync(join(tmpdir(), 'tsbpf-llvm-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function missing(tool: string): string | undefined {
  try {
    execFileSync(tool, ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return tool;
  }
}
const absent = ['llvm-mc-19', 'llvm-objdump-19', 'clang-19'].map(missing).filter((t) => t !== undefined);
if (absent.length > 0) console.log(`skipped: comparison with LLVM: ${absent.join(', ')} not found`);

/** `  12:\t<bytes>\ttext` lines of llvm-objdump: the slot's bytes and the text without the name of a jump's target. */
function objdump(object: string): { bytes: Uint8Array; text: string }[] {
  const out = execFileSync('llvm-objdump-19', ['-d', '--mcpu=v4', object], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const lines: { bytes: Uint8Array; text: string }[] = [];
  for (const line of out.split('\n')) {
    const found = /^\s*\d+:\s((?:[0-9a-f]{2} )+[0-9a-f]{2})\t(.*?)(?: <[^<>]*>)?$/.exec(line);
    if (found === null) continue;
    const unknown = line.endsWith('<unknown>');
    lines.push({ bytes: fromHex(found[1]!)!, text: unknown ? '<unknown>' : found[2]! });
  }
  return lines;
}

/** An object whose text is these instructions. */
function objectOf(insns: readonly Insn[]): string {
  const source = join(dir, 'all.s');
  const object = join(dir, 'all.o');
  const bytes = encodeProgram(insns);
  let text = '.text\nstart:\n';
  for (let at = 0; at < bytes.length; at += 8) text += `.byte ${[...bytes.subarray(at, at + 8)].join(',')}\n`;
  writeFileSync(source, text);
  execFileSync('llvm-mc-19', ['-triple', 'bpfel', '-filetype=obj', source, '-o', object]);
  return object;
}

/** LLVM 19 does not know them and reads the atomic ones as an addition. */
const NEWER = /^(load_acquire|store_release)/;

describe.skipIf(absent.length > 0)('llvm-objdump', () => {
  it('prints every row as the disassembler does', () => {
    const random = new Random(5);
    const insns: Insn[] = [];
    for (const row of INSN_ROWS) {
      if (NEWER.test(row.name)) continue;
      for (let i = 0; i < 20; i++) insns.push(...randomInsn(row, random));
    }
    const theirs = objdump(objectOf(insns));
    const ours = disassembleInsns(insns, { syntax: 'llvm' });
    expect(theirs.length).toBe(ours.length);
    expect(ours.map((line) => line.text)).toEqual(theirs.map((line) => line.text));
    console.log(`llvm-objdump: ${ours.length} instructions of ${INSN_ROWS.length} rows agree`);
  });

  it('prints what clang made as the disassembler does', () => {
    const source = join(dir, 'prog.c');
    writeFileSync(
      source,
      `typedef unsigned char u8; typedef unsigned short u16; typedef unsigned u32; typedef unsigned long long u64;
struct ctx { u32 len, mark; u64 a[8]; };
static long (*get)(void *, const void *) = (void *)1;
extern u64 table[64];
static __attribute__((noinline)) int mix(u64 a, int b) { return (int)((INT)(a * 31 + b) % (INT)(b | 1)); }
int prog(struct ctx *c) {
  u64 key = c->len, sum = 0;
  signed char s = (signed char)c->mark;
  for (int i = 0; i < (int)c->len; i++) { sum += c->a[i & 7] << (i & 31); sum ^= (LONG)s / (i + 1); }
  u64 *v = (u64 *)get(table, &key);
  if (v) { __sync_fetch_and_add(v, sum); __sync_val_compare_and_swap(v, 1, sum); c->mark = __builtin_bswap16((u16)sum); }
  return mix(sum, (int)key) + (short)sum;
}`,
    );
    for (const cpu of ['v1', 'v2', 'v3', 'v4']) {
      const object = join(dir, `prog-${cpu}.o`);
      const args = ['--target=bpf', `-mcpu=${cpu}`, '-O2', '-w', '-c', source, '-o', object];
      // Signed division came with v4, compare and swap with v3.
      args.push(...(cpu < 'v4' ? ['-DLONG=u64', '-DINT=u32'] : ['-DLONG=long', '-DINT=int']));
      if (cpu < 'v3') args.push('-D__sync_val_compare_and_swap(a,b,c)=0');
      execFileSync('clang-19', args);
      const theirs = objdump(object);
      expect(theirs.length).toBeGreaterThan(40);
      for (const { bytes, text } of theirs) {
        expect(formatInsn(decodeProgram(bytes), 0, { syntax: 'llvm' })).toBe(text);
      }
    }
  });
});

describe.skipIf(absent.length > 0)('llvm-mc', () => {
  it('makes the same bytes of every row as the assembler', () => {
    const random = new Random(6);
    // It resolves a call's number against symbols, and has no text for pseudo loads and indirect loads with a constant.
    const rows = INSN_ROWS.filter(
      (r) =>
        r.llvm !== null &&
        !NEWER.test(r.name) &&
        !/^(call_(local|kfunc)|ld_(?!imm64).*|ldind\d+)$/.test(r.name),
    );
    const insns = rows.flatMap((row) => Array.from({ length: 8 }, () => randomInsn(row, random)).flat());
    // Its parser takes no more than 16 bits, though the instruction has 32.
    for (const insn of insns) if (insn.code === 0x06) insn.imm >>= 16;
    const text = disassemble(insns, { syntax: 'llvm' });
    const source = join(dir, 'text.s');
    const object = join(dir, 'text.o');
    const raw = join(dir, 'text.bin');
    writeFileSync(source, text);
    execFileSync('llvm-mc-19', ['-triple', 'bpfel', '--mcpu=v4', '-filetype=obj', source, '-o', object]);
    execFileSync('llvm-objcopy-19', ['-O', 'binary', '--only-section=.text', object, raw]);
    expect(decodeProgram(new Uint8Array(readFileSync(raw)))).toEqual(assemble(text, { syntax: 'llvm' }));
  });
});
