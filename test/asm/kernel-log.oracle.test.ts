/**
 * The disassembler against the log of the Linux kernel of this machine: a program for every row, loaded with log level
 * 2, every instruction that the log prints compared. Skipped without the privilege.
 */
import { afterAll, describe, expect, it } from 'vitest';
import {
  assemble,
  assembleProgram,
  encodeProgram,
  formatInsn,
  INSN_ROWS,
  type InsnRow,
  KERNEL_LOG,
} from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts.ts';
import { toHex } from '../../src/util/index.ts';
import { openOracle } from '../generator/linux-oracle.ts';
import { Random } from '../generator/random.ts';
import { randomInsn } from './rows.ts';

const oracle = await openOracle();
if ('reason' in oracle) console.log(`skipped: comparison with the kernel's log: ${oracle.reason}`);

const SOCKET_FILTER = 1;
const MAP_OF_ARRAY = { type: 2, keySize: 4, valueSize: 64, maxEntries: 1, elements: [] };

/** Registers that hold numbers, stack slots that are written, the context in R6. */
const PREAMBLE = `
  r6 = r1
  r0 = 3
  r1 = 1
  r2 = 2
  r3 = 3
  r4 = 4
  r5 = 5
  r7 = 7
  r8 = 8
  r9 = 9
${[8, 16, 24, 32].map((off) => `  *(u64 *)(r10 -${off}) = 1`).join('\n')}
`;

const NEEDS_MORE: Readonly<Record<string, string>> = {
  ld_func: 'a callback',
  ld_btf_id: 'a BTF id of the running kernel',
  ld_map_idx: 'fd_array',
  ld_map_idx_value: 'fd_array',
  call_kfunc: 'a BTF id of the running kernel',
  callx: 'a kernel that has it',
  nospec: 'nothing: internal to the kernel',
  mov_percpu: 'nothing: internal to the kernel',
};

/** A program in which the row's instruction stands, with operands the verifier is likely to come to. */
function programFor(row: InsnRow, random: Random): Insn[] {
  const insns = assemble(PREAMBLE);
  const [first, ...more] = randomInsn(row, random) as [Insn, ...Insn[]];
  const insn = { ...first };
  const memory = row.group === 'load' || row.group === 'store' || row.group === 'atomic';
  const bytes = row.width / 8;
  if (row.fields.includes('dst')) insn.dst = random.below(10);
  if (row.fields.includes('src')) insn.src = random.below(10);
  let tail = 'r0 = 0\nexit';
  if (memory) {
    const base =
      row.fields.includes('dst') && (row.source === 'imm' || /^(stx|atomic|store_release)/.test(row.op));
    if (base) insn.dst = 10;
    else insn.src = 10;
    insn.off = -bytes * random.between(1, 32 / bytes);
  } else if (row.fields.includes('off')) {
    insn.off = row.name === 'ja' ? 0 : 1;
  } else if (row.op === 'gotol') insn.imm = 0;
  else if (row.name === 'call_local') {
    insn.imm = 1;
    tail = 'exit\nr0 = 0\nexit';
  } else if (row.name === 'call_helper') insn.imm = random.pick([5, 7, 8]);
  else if (/^(lsh|rsh|arsh)/.test(row.op) && row.source === 'imm') insn.imm = random.below(row.width);
  else if (/(div|mod)$/.test(row.op) && row.source === 'imm') insn.imm ||= 1;
  else if (row.name === 'addr_space_cast') insn.imm = 1;
  else if (row.name.startsWith('ld_map')) more[0] = { ...more[0]!, imm: 4 * random.below(4) };
  if (row.name === 'exit') tail = '';
  if (row.name === 'ld_map_fd') more[0] = { ...more[0]!, imm: 0 };
  return [...insns, insn, ...more, ...assemble(tail)];
}

/** Each `N: (xx) text` of a log, without the state behind it. The list of live registers before it has the same shape. */
function* logged(log: readonly string[]): Generator<{ index: number; text: string }> {
  for (const line of log) {
    const found = /^\s*(\d+): (?:[0-9.]{10} )?(\([0-9a-f]{2}\) .*?|BUG_\w+)\s*(?:;.*)?$/.exec(line);
    if (found !== null) yield { index: Number(found[1]), text: found[2]! };
  }
}

/** A map's address is the kernel's: any number. */
const comparable = (insn: Insn, text: string) =>
  insn.code === 0x18 && insn.src !== 0 ? text.replace(/0x[0-9a-f]+$/, '0x…') : text;

describe.skipIf('reason' in oracle)("the kernel's log", () => {
  afterAll(() => {
    if (!('reason' in oracle)) oracle.close();
  });

  it('prints every row as the disassembler does', () => {
    if ('reason' in oracle) return;
    const random = new Random(11);
    const rows = INSN_ROWS.filter((row) => NEEDS_MORE[row.name] === undefined);
    const programs = rows.flatMap((row) => [1, 2, 3, 4].map(() => ({ row, insns: programFor(row, random) })));
    const answers = oracle.ask(
      programs.map(({ row, insns }) => ({
        progType: SOCKET_FILTER,
        logLevel: 2,
        maps: [MAP_OF_ARRAY],
        fixes: /^ld_map_(fd|value)$/.test(row.name)
          ? [{ slot: insns.findLastIndex((i) => i.code === 0x18), map: 0 }]
          : [],
        insns: toHex(encodeProgram(insns)),
      })),
    );
    expect(answers).toHaveLength(programs.length);
    const seen = new Set<string>();
    let compared = 0;
    const preamble = assemble(PREAMBLE).length;
    programs.forEach(({ row, insns }, i) => {
      for (const { index, text } of logged(answers[i]!.log)) {
        const insn = insns[index]!;
        expect(comparable(insn, text), answers[i]!.log.join('\n')).toBe(
          comparable(insn, formatInsn(insns, index, KERNEL_LOG)),
        );
        compared++;
        if (index === preamble) seen.add(row.name);
      }
    });
    console.log(`kernel log: ${compared} instructions of ${programs.length} programs agree`);
    expect(rows.map((r) => r.name).filter((name) => !seen.has(name))).toEqual([]);
  });

  it('prints whole programs as the disassembler does, from what the assembler made', () => {
    if ('reason' in oracle) return;
    const { insns, relocations } = assembleProgram(`
        r6 = r1
        *(u32 *)(r10 -4) = 0
        r1 = map[counts]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        r1 = 1
        lock *(u64 *)(r0 +0) += r1
        r1 = *(u32 *)(r6 +0)
        if w1 s< -5 goto out
        w1 = (s8)w1
        r1 = bswap32 r1
        call twice
  out:  r0 = 0
        exit
  twice: r0 = r1
        r0 += r0
        exit`);
    const [answer] = oracle.ask([
      {
        progType: SOCKET_FILTER,
        logLevel: 2,
        maps: [MAP_OF_ARRAY],
        fixes: relocations.map((r) => ({ slot: r.insn, map: 0 })),
        insns: toHex(encodeProgram(insns)),
      },
    ]);
    expect(answer!.loadErrno, answer!.log.join('\n')).toBe(0);
    const printed = new Set<number>();
    for (const { index, text } of logged(answer!.log)) {
      printed.add(index);
      expect(comparable(insns[index]!, text)).toBe(
        comparable(insns[index]!, formatInsn(insns, index, KERNEL_LOG)),
      );
    }
    expect(printed.size).toBe(insns.length - 1);
  });
});
