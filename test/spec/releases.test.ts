import { describe, expect, it } from 'vitest';
import {
  HELPER_RELEASES,
  HELPERS,
  helperByName,
  INSN_RELEASES,
  isSince,
  LONG_TERM_RELEASES,
  MAP_FLAG_RELEASES,
  mapTypeByName,
  NEWEST_RELEASE,
  PROG_FLAG_RELEASES,
  PROG_TYPES,
  progTypeByName,
  RULES,
  releaseOf,
  releaseOrder,
} from '../../src/spec/index.ts';
import { CONTEXT_FIELD_RELEASES } from '../../src/spec/releases/contexts.ts';
import { BPF_MACROS, BPF_MAP_FLAGS } from '../../src/uapi/index.ts';
import { BpfError } from '../../src/util/errors.ts';
import { BPF_ONLY, check, map, NOBODY, type Program, verdict } from '../verifier/support.ts';

describe('releases', () => {
  it('are ordered by their numbers, whatever stands behind them', () => {
    expect(['6.1', '5.4', '5.15', '6.12', '5.10'].sort((a, b) => releaseOrder(a) - releaseOrder(b))).toEqual([
      '5.4',
      '5.10',
      '5.15',
      '6.1',
      '6.12',
    ]);
    expect(isSince('6.1.192-2-cloud-amd64', '6.1')).toBe(true);
    expect(isSince('5.10.223', '5.15')).toBe(false);
    for (const text of ['', '6', 'v6.1', '6.1x', '6.-1', '9999.1']) {
      expect(() => releaseOf(text), text).toThrow(BpfError);
    }
  });

  it('the newest lacks nothing that the tables have', () => {
    const newest = releaseOf();
    expect(newest.name).toBe(NEWEST_RELEASE);
    expect(newest.knowsEveryInsn).toBe(true);
    for (const rule of Object.keys(RULES) as (keyof typeof RULES)[])
      expect(newest.has(rule), rule).toBe(true);
    for (const row of HELPERS) {
      for (const type of PROG_TYPES) expect(newest.helperNeeds(row, type.name)).toBeUndefined();
    }
    for (const row of PROG_TYPES)
      expect(newest.loadNeeds({ progType: row, expectedAttachType: 0, flags: 0 })).toBeUndefined();
  });

  it('rows name what there is', () => {
    const order = [...LONG_TERM_RELEASES].map(releaseOrder);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    for (const row of HELPER_RELEASES) {
      for (const name of row.helpers) {
        const helper = helperByName(name);
        expect(helper, name).toBeDefined();
        // A type that has it from the start needs no row.
        expect(releaseOrder(row.since), name).toBeGreaterThanOrEqual(releaseOrder(helper!.since));
      }
      for (const type of row.progTypes) expect(progTypeByName(type), type).toBeDefined();
    }
    for (const [type, fields] of Object.entries(CONTEXT_FIELD_RELEASES)) {
      const names = new Set(progTypeByName(type)!.ctx.fields.map((field) => field.name));
      for (const field of Object.keys(fields)) expect(names, `${type} ${field}`).toContain(field);
    }
    const flags = { ...BPF_MACROS, ...BPF_MAP_FLAGS } as Record<string, unknown>;
    // A release beyond the tables may stand in them already.
    for (const [name, since] of Object.entries({ ...MAP_FLAG_RELEASES, ...PROG_FLAG_RELEASES })) {
      if (isSince(NEWEST_RELEASE, since)) expect(flags[name], name).toBeDefined();
    }
    expect(INSN_RELEASES.length).toBeGreaterThan(10);
  });
});

const on = (release: string, text: string, options: Program = {}): string =>
  verdict(text, { release, ...options });

describe('the verifier of a release', () => {
  it.each([
    ['r0 = 0\nr0 s/= 3\nexit', '6.1', '6.6', 'EINVAL: BPF_ALU uses reserved fields'],
    ['r0 = 0\nr0 = (s8)r0\nexit', '6.1', '6.6', 'EINVAL: BPF_MOV uses reserved fields'],
    ['r0 = 0\nr0 = bswap16 r0\nexit', '6.1', '6.6', 'EINVAL: unknown opcode d7'],
    ['r0 = 0\nmay_goto pc+0\nexit', '6.6', '6.12', 'EINVAL: unknown opcode e5'],
    [
      '*(u64 *)(r10 -8) = 0\nr0 = 1\nr0 = atomic64_fetch_add((u64 *)(r10 -8), r0)\nexit',
      '5.10',
      '5.15',
      'EINVAL: BPF_STX uses reserved fields',
    ],
    ['call bpf_ktime_get_tai_ns\nr0 = 0\nexit', '5.15', '6.1', 'EINVAL: invalid func unknown#208'],
    ['call bpf_ktime_get_coarse_ns\nr0 = 0\nexit', '5.10', '5.15', 'EINVAL: invalid func unknown#160'],
    [
      'call bpf_get_current_uid_gid\nr0 = 0\nexit',
      '6.12',
      '6.18',
      'EINVAL: program of this type cannot use helper bpf_get_current_uid_gid#15',
    ],
    [
      'call bpf_get_current_uid_gid\nr0 = 0\nexit',
      '6.1',
      '6.18',
      'EINVAL: unknown func bpf_get_current_uid_gid#15',
    ],
  ])('%j: not on %s, but on %s', (text, without, withIt, message) => {
    expect(on(without, text)).toBe(message);
    expect(on(withIt, text)).toBe('accept');
    expect(verdict(text)).toBe('accept');
  });

  it('fields of contexts', () => {
    const text = 'r0 = *(u64 *)(r1 +184)\nr0 = 0\nexit';
    const load = { type: 'sched_cls' };
    expect(on('5.15', text, load)).toMatch(/invalid bpf_context access off=184 size=8/);
    expect(on('6.1', text, load)).toBe('accept');
    const result = check(text, { ...load, release: '5.15' });
    expect(result).toMatchObject({
      reason: { needs: { what: 'field hwtstamp of the context', since: '5.16' } },
    });
  });

  it('tail calls beside subprograms', () => {
    const text = `r6 = r1
      call sub
      r1 = r6
      r2 = map[fd:1]
      r3 = 0
      call bpf_tail_call
      r0 = 0
      exit
    sub:
      r0 = 0
      exit`;
    const maps = [map('prog_array', 4, 4)];
    expect(on('5.4', text, { maps })).toBe(
      'EINVAL: tail_calls are not allowed in programs with bpf-to-bpf calls',
    );
    expect(on('5.10', text, { maps })).toBe('accept');
  });

  it('a wrong speculative path: refused before there were barriers', () => {
    const text = 'r0 = 0\nif r0 == 0x0 goto pc+1\nr0 = r5\nexit';
    expect(on('6.12', text, { credentials: NOBODY })).toBe('EACCES: R5 !read_ok');
    expect(on('6.18', text, { credentials: NOBODY })).toBe('accept');
    expect(on('6.12', text)).toBe('accept');
  });

  it('a narrow store over a spilled scalar', () => {
    const text = 'r2 = 7\n*(u64 *)(r10 -8) = r2\n*(u8 *)(r10 -8) = 1\nr0 = 0\nexit';
    expect(on('6.1', text, { credentials: BPF_ONLY })).toBe(
      'EACCES: attempt to corrupt spilled pointer on stack',
    );
    expect(on('6.12', text, { credentials: BPF_ONLY })).toBe('accept');
    expect(on('6.1', text)).toBe('accept');
  });

  it('bounds of spilled scalars', () => {
    const text =
      'call bpf_get_prandom_u32\nr0 &= 7\n*(u64 *)(r10 -24) = r0\nr1 = *(u64 *)(r10 -24)\n' +
      '*(u64 *)(r10 -8) = 0\n*(u64 *)(r10 -16) = 0\nr2 = r10\nr2 += -16\nr2 += r1\nr0 = *(u8 *)(r2 +0)\nr0 = 0\nexit';
    expect(on('5.4', text)).toMatch(/^EINVAL: math between fp pointer/);
    expect(on('5.10', text)).toBe('accept');
  });

  it('lookups with a constant key', () => {
    const text =
      '*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[fd:1]\ncall bpf_map_lookup_elem\nr0 = *(u8 *)(r0 +0)\nexit';
    const maps = [map('array', 4, 8)];
    expect(on('6.12', text, { maps })).toMatch(/^EACCES: R0 invalid mem access 'map_value_or_null'/);
    expect(on('6.18', text, { maps })).toBe('accept');
  });

  it('CAP_BPF is nothing before 5.8', () => {
    const credentials = { ...NOBODY, capBpf: true };
    const text = 'call pc+1\nexit\nr0 = 0\nexit';
    expect(on('5.10', text, { credentials })).toBe('accept');
    expect(on('5.4', text, { credentials })).toMatch(/^EPERM/);
  });

  it('maps know their release', () => {
    expect(releaseOf('5.4').mapNeeds(mapTypeByName('ringbuf')!)).toEqual({
      what: 'map type ringbuf',
      since: '5.8',
    });
    expect(releaseOf('5.4').mapNeeds(mapTypeByName('array')!, BPF_MAP_FLAGS.BPF_F_MMAPABLE)).toEqual({
      what: 'BPF_F_MMAPABLE',
      since: '5.5',
    });
    expect(releaseOf('6.1').mapNeeds(mapTypeByName('ringbuf')!)).toBeUndefined();
  });
});
