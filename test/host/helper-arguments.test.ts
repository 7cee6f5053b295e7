/**
 * Helper prototypes against the running kernel, argument by argument: valid values before the argument, a wrong one in
 * its place, and the kernel's complaint must be the one that the argument's kind predicts.
 */
import { describe, expect, it } from 'vitest';
import {
  attachTypeByName,
  HELPERS,
  type HelperArg,
  type HelperRow,
  helperAllowed,
  helperFor,
  mapTypeByName,
  PROG_TYPES,
  type ProgTypeRow,
} from '../../src/spec/index.ts';
import { exitWith, insn, type ProbeRequest, probe, whyNoProbe } from './probe.ts';

const why = whyNoProbe();
if (why !== null) console.log(`helper arguments skipped: ${why}`);

const MEMORY = 'fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_';

/** What the kernel's log expects where a scalar stands in the place of a pointer. */
const EXPECTED: Partial<Record<HelperArg['kind'], string>> = {
  const_map_ptr: 'map_ptr',
  map_key: MEMORY,
  map_value: MEMORY,
  mem: MEMORY,
  ctx: 'ctx',
  spin_lock: 'map_value, ptr_',
  sock_common: 'sock_common, sock, tcp_sock, xdp_sock',
  socket: 'sock',
  btf_id: 'ptr_, trusted_ptr_, rcu_ptr_',
  btf_id_sock_common: 'sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_',
  percpu_btf_id: 'percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_',
  ringbuf_mem: 'ringbuf_mem',
  func: 'func',
  stack: 'fp',
  const_str: 'map_value',
  timer: 'map_value',
  kptr_xchg_dest: 'map_value, ptr_',
  dynptr: 'fp, dynptr_ptr',
};

const BUFFER = -64;
/** r6 = ctx; 128 zeroed bytes of stack. */
const PROLOGUE =
  insn(0xbf, 6, 1) +
  insn(0xb7, 0) +
  Array.from({ length: 16 }, (_, i) => insn(0x7b, 10, 0, -128 + 8 * i)).join('');

const READ_ONLY = { map_type: 2, key_size: 4, value_size: 64, max_entries: 1, map_flags: 1 << 7 };

function mapFor(row: HelperRow): Record<string, number> {
  const type = mapTypeByName(row.mapTypes?.[0] ?? 'hash')!;
  const size = (rule: typeof type.keySize, usual: number) =>
    rule.oneOf?.[0] ?? Math.max(rule.min ?? 0, usual);
  return {
    map_type: type.id,
    key_size: size(type.keySize, 4),
    value_size: size(type.valueSize, 8),
    max_entries: size(type.maxEntries, 1),
  };
}

/** Code that puts a valid value for `arg` into its register; null where that takes more than a few instructions. */
function valid(arg: HelperArg, register: number): string | null {
  const pointer = insn(0xbf, register, 10) + insn(0x07, register, 0, 0, BUFFER);
  switch (arg.kind) {
    case 'ctx':
      return insn(0xbf, register, 6);
    case 'anything':
      return insn(0xb7, register);
    case 'const_map_ptr':
      return insn(0x18, register, 1) + insn(0);
    case 'map_key':
    case 'map_value':
    case 'mem':
      return pointer;
    case 'const_size':
    case 'const_size_or_zero':
      return insn(0xb7, register, 0, 0, 8);
    default:
      return arg.nullable ? insn(0xb7, register) : null;
  }
}

interface Case {
  readonly what: string;
  readonly request: ProbeRequest;
  /** What the log must or must not have. */
  readonly pattern: RegExp;
  readonly expected: boolean;
}

function cases(row: HelperRow, type: ProgTypeRow, attachType: string | undefined): Case[] {
  const load = (setup: string): ProbeRequest => ({
    op: 'prog_load',
    prog_type: type.id,
    insns: PROLOGUE + setup + insn(0x85, 0, 0, 0, row.id) + exitWith(0),
    maps: [mapFor(row), READ_ONLY],
    expected_attach_type: attachType === undefined ? 0 : (attachTypeByName(attachType)?.id ?? 0),
    flags: type.mustSleep || (row.mightSleep && type.sleepable) ? 16 : 0,
  });
  const found: Case[] = [];
  let before = '';
  for (let i = 0; i < row.args.length; i++) {
    const arg = row.args[i]!;
    const register = i + 1;
    const rest = row.args.slice(i + 1).map((next, j) => valid(next, register + 1 + j));
    const after = rest.every((code) => code !== null) ? rest.join('') : null;
    const what = `${type.name} ${row.name} argument ${register}`;
    const expected = EXPECTED[arg.kind];
    if (expected !== undefined) {
      const pattern = new RegExp(
        `R${register} type=(scalar|ctx) expected=${expected.replace(/[,]/g, ',')}$`,
        'm',
      );
      const wrong = arg.kind === 'stack' ? insn(0xb7, register, 0, 0, 4) : insn(0xb7, register, 0, 0, 4);
      found.push({ what: `${what}: ${arg.kind}`, request: load(before + wrong), pattern, expected: true });
      found.push({
        // "expected=fp" alone complains of the size that follows: NULL goes with size 0 only.
        what: `${what}: NULL is ${arg.nullable ? '' : 'not '}allowed`,
        request: load(before + insn(0xb7, register) + (after ?? '')),
        pattern: new RegExp(`R${register} type=scalar expected=(?!fp$)`, 'm'),
        expected: !arg.nullable,
      });
    }
    if (after !== null && arg.kind === 'mem') {
      const readOnly = insn(0x18, register, 2, 0, 1) + insn(0);
      found.push({
        what: `${what}: writes ${arg.write === true}`,
        request: load(before + readOnly + after),
        pattern: /write into map forbidden/,
        expected: arg.write === true,
      });
    }
    if (after !== null && (arg.kind === 'const_size' || arg.kind === 'const_size_or_zero'))
      found.push({
        what: `${what}: ${arg.kind}`,
        request: load(before + insn(0xb7, register) + after),
        pattern: /invalid zero-sized|R\d invalid zero/,
        expected: arg.kind === 'const_size',
      });
    const code = valid(arg, register);
    if (code === null) return found;
    before += code;
  }
  if (row.args.length > 0) {
    const unset = row.args.length;
    const needed = row.args.slice(0, -1).map((arg, i) => valid(arg, i + 1));
    // The calls before clobber R1..R5, so the last argument is unset.
    if (needed.every((code) => code !== null) && type.name !== 'lirc_mode2')
      found.push({
        what: `${type.name} ${row.name}: reads ${unset} registers`,
        request: load(insn(0x85, 0, 0, 0, 5) + needed.join('')),
        pattern: new RegExp(`R${unset} !read_ok`),
        expected: true,
      });
  }
  return found;
}

describe.skipIf(why !== null)('helper prototypes against the running kernel', () => {
  it('agrees on the kind of every argument that can be reached', { timeout: 120_000 }, () => {
    const all = PROG_TYPES.filter((type) => !type.needsAttachBtf && type.name !== 'lirc_mode2').flatMap(
      (type) => {
        const attachTypes = type.attachTypes ?? [undefined];
        return HELPERS.flatMap((row) => {
          const attachType = attachTypes.find((name) => helperAllowed(row, type.name, name));
          return helperAllowed(row, type.name, attachType)
            ? cases(helperFor(row, type.name), type, attachType)
            : [];
        });
      },
    );
    const answers = probe(all.map(({ request }) => request));
    const wrong: string[] = [];
    const reached = new Set<string>();
    let agreed = 0;
    all.forEach(({ what, pattern, expected }, i) => {
      const { log } = answers[i]!;
      if (
        /cannot use helper|Sleepable programs can only use|might sleep in a non-sleepable|cannot make the map/.test(
          log,
        )
      )
        return;
      if (pattern.test(log) === expected) {
        agreed++;
        reached.add(what.replace(/^\S+ /, ''));
      } else wrong.push(`${what}: ${log.trim().split('\n').slice(-2)[0]}`);
    });
    console.log(`helper arguments: ${agreed} agree (${reached.size} different), ${wrong.length} differ`);
    expect([...new Set(wrong)]).toEqual([]);
  });
});
