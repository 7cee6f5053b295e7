import { describe, expect, it } from 'vitest';
import { assemble } from '../../src/asm/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { verify } from '../../src/verifier/index.ts';
import { check, LOOKUP, map, ROOT, verdict } from './support.ts';

const hash = map('hash', 8, 16);

describe('stack', () => {
  it('is 512 bytes and must be aligned', () => {
    expect(verdict('*(u64 *)(r10 -512) = 1\nr0 = 0\nexit')).toBe('accept');
    expect(verdict('*(u64 *)(r10 -520) = 1\nr0 = 0\nexit')).toBe(
      'EACCES: invalid write to stack R10 off=-520 size=8',
    );
    expect(verdict('*(u64 *)(r10 +0) = 1\nr0 = 0\nexit')).toBe(
      'EACCES: invalid write to stack R10 off=0 size=8',
    );
    expect(verdict('*(u32 *)(r10 -6) = 1\nr0 = 0\nexit')).toBe(
      'EACCES: misaligned stack access off 0+0+-6 size 4',
    );
  });

  it('keeps what is known of spilled registers', () => {
    const spill = (fill: string) => `r6 = r1\n*(u64 *)(r10 -8) = r6\n${fill}\nr0 = 0\nexit`;
    expect(verdict(spill('r2 = *(u64 *)(r10 -8)\nr3 = *(u32 *)(r2 +0)'))).toBe('accept');
    expect(verdict(spill('r2 = *(u32 *)(r10 -8)'))).toBe('EACCES: invalid size of register fill');
    expect(verdict(spill('*(u8 *)(r10 -8) = 0\nr2 = *(u64 *)(r10 -8)\nr3 = *(u32 *)(r2 +0)'))).toBe(
      "EACCES: R2 invalid mem access 'scalar'",
    );
  });
});

describe('map values', () => {
  const lookup = (text: string) => verdict(LOOKUP + text, { maps: [hash] });

  it('are null until checked', () => {
    const text = LOOKUP.replace('if r0 != 0x0 goto pc+2\n  r0 = 0\n  exit\n', 'r0 = *(u64 *)(r0 +0)\nexit');
    expect(verdict(text, { maps: [hash] })).toBe("EACCES: R0 invalid mem access 'map_value_or_null'");
  });

  it('are bounded, at constant and at variable offsets', () => {
    expect(lookup('*(u64 *)(r0 +8) = 0\nr0 = 0\nexit')).toBe('accept');
    expect(lookup('*(u64 *)(r0 +16) = 0\nr0 = 0\nexit')).toBe(
      'EACCES: R0 max value is outside of the allowed memory range'.replace('max', 'min'),
    );
    const index = (mask: number) =>
      lookup(`r1 = *(u8 *)(r0 +0)\nr1 &= ${mask}\nr0 += r1\nr0 = *(u8 *)(r0 +0)\nexit`);
    expect(index(15)).toBe('accept');
    expect(index(16)).toBe('EACCES: R0 max value is outside of the allowed memory range');
  });

  it('honour the flags of the map', () => {
    const readOnly = map('array', 4, 8, { flags: 1 << 7 });
    const text = `r1 = map[fd:1]\n*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem#1
if r0 == 0x0 goto pc+1\n*(u64 *)(r0 +0) = 0\nr0 = 0\nexit`;
    expect(verdict(text, { maps: [readOnly] })).toBe(
      'EACCES: write into map forbidden, value_size=8 off=0 size=8',
    );
  });

  it('that are frozen are numbers', () => {
    const rodata = map('array', 4, 8, {
      flags: 1 << 7,
      frozen: true,
      constant: (offset, size) =>
        offset + size <= 8 ? BigInt.asUintN(size * 8, 0x0102030405060708n >> BigInt(offset * 8)) : undefined,
    });
    const text =
      'r1 = map_value[fd:1]+0\nr0 = *(u32 *)(r1 +4)\nif r0 == 0x1020304 goto pc+1\nr0 = *(u64 *)(r0 +0)\nexit';
    const result = check(text.replace('map_value[fd:1]+0', 'map[fd:1][0]+0'), { maps: [rodata] });
    expect(result.verdict).toBe('accept');
    expect(result.stats.insnsProcessed).toBe(4);
  });

  it('of arrays are not null for constant keys', () => {
    const array = map('array', 4, 8);
    const text = `*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[fd:1]\ncall bpf_map_lookup_elem#1
r0 = *(u64 *)(r0 +0)\nexit`;
    const result = check(text, { maps: [array] });
    expect(result.verdict).toBe('accept');
    if (result.verdict !== 'accept') return;
    expect(result.facts[5]).toMatchObject({ callMap: array, constantKey: 0 });
    expect(verdict(text.replace('= 0\nr2', '= 1\nr2'), { maps: [array] })).toContain('map_value_or_null');
  });
});

describe('packets', () => {
  const xdp = (text: string) =>
    verdict(`r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\n${text}`, { type: 'xdp' });

  it('need a comparison with the end', () => {
    expect(xdp('r0 = *(u8 *)(r2 +0)\nexit')).toBe('EACCES: R2 offset is outside of the packet');
    expect(xdp('r0 = r2\nr0 += 8\nif r0 > r3 goto pc+1\nr0 = *(u64 *)(r2 +0)\nr0 = 0\nexit')).toBe('accept');
    expect(xdp('r0 = r2\nr0 += 8\nif r0 > r3 goto pc+1\nr0 = *(u64 *)(r2 +1)\nr0 = 0\nexit')).toBe(
      'EACCES: R2 offset is outside of the packet',
    );
    // `>=` leaves the last byte out.
    expect(xdp('r0 = r2\nr0 += 8\nif r0 >= r3 goto pc+1\nr0 = *(u64 *)(r2 +0)\nr0 = 0\nexit')).toBe('accept');
    expect(
      xdp('r0 = r2\nr0 += 8\nif r3 >= r0 goto pc+2\nr0 = 0\nexit\nr0 = *(u64 *)(r2 +0)\nr0 = 0\nexit'),
    ).toBe('accept');
  });

  it('forget their range when they may move', () => {
    const text = `r6 = r1\nr0 = r2\nr0 += 8\nif r0 > r3 goto pc+6\nr7 = r2\nr2 = 0\nr1 = r6
call bpf_xdp_adjust_head#44\nr0 = *(u8 *)(r7 +0)\nr0 = 0\nexit`;
    expect(xdp(text)).toBe("EACCES: R7 invalid mem access 'scalar'");
  });

  it('cannot be written by types that only read them', () => {
    const text = `r2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr0 = r2\nr0 += 8\nif r0 > r3 goto pc+1
*(u8 *)(r2 +0) = 0\nr0 = 0\nexit`;
    expect(verdict(text, { type: 'cgroup_skb' })).toBe('EACCES: cannot write into packet');
    expect(verdict(text, { type: 'sched_cls' })).toBe('accept');
  });
});

describe('contexts', () => {
  it('have fields', () => {
    expect(verdict('r0 = *(u32 *)(r1 +0)\nexit')).toBe('accept');
    expect(verdict('r0 = *(u64 *)(r1 +0)\nexit')).toBe('EACCES: invalid bpf_context access off=0 size=8');
    expect(verdict('r1 += 4\nr0 = *(u32 *)(r1 +0)\nexit')).toBe(
      'EACCES: dereference of modified ctx ptr R1 off=4 disallowed',
    );
  });

  it('are told apart from other memory', () => {
    const text = `r2 = *(u32 *)(r1 +0)\nif r2 == 0x0 goto pc+1\nr1 = r10\n*(u64 *)(r10 -8) = 0
r1 += 0\nr0 = *(u32 *)(r1 -8)\nexit`;
    expect(verdict(text)).toContain('EACCES: invalid bpf_context access off=-8 size=4');
  });
});

describe('atomic operations in arenas', () => {
  const load = (op: number) =>
    verify({
      progType: progTypeByName('sched_cls')!,
      expectedAttachType: 0,
      insns: [
        ...assemble('r1 = map[fd:1]\nr0 = 0\nr2 = 64\nr3 = 1'),
        // r1 = addr_space_cast(r2, 0, 1); then the operation of 8 bytes on *r1 with R3.
        { code: 0xbf, dst: 1, src: 2, off: 1, imm: 1 },
        { code: 0xdb, dst: 1, src: 3, off: 0, imm: op },
        ...assemble('r0 = 0\nexit'),
      ],
      gplCompatible: true,
      mapByFd: () => map('arena', 0, 0, { flags: 1 << 10, mapExtra: 1n << 32n }),
      credentials: ROOT,
      flags: 0,
      logLevel: 0,
    });

  it('are those that the JIT of x86-64 has', () => {
    for (const op of [0x00, 0x01, 0x40, 0x50, 0xa0, 0xe1, 0xf1])
      expect(load(op), op.toString(16)).toMatchObject({ verdict: 'accept' });
    for (const op of [0x41, 0x51, 0xa1])
      expect(load(op)).toMatchObject({
        errno: 'EACCES',
        message: 'BPF_ATOMIC stores into R1 arena is not allowed',
      });
  });
});
