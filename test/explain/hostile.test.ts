/** Whatever is refused is explained, and searched, without an exception: random instructions, well-formed and not. */
import { describe, expect, it } from 'vitest';
import type { Insn } from '../../src/contracts/insn.ts';
import type { VerifyRequest } from '../../src/contracts/verify.ts';
import { findInput } from '../../src/kernel/counterexample/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { Random } from '../../src/util/random.ts';
import { explain, verify } from '../../src/verifier/index.ts';
import { map, ROOT } from '../verifier/support.ts';

const TYPES = [
  'xdp',
  'socket_filter',
  'kprobe',
  'sched_cls',
  'raw_tracepoint',
  'cgroup_skb',
  'sock_ops',
  'tracing',
];
const CODES = [
  0xb7, 0xbf, 0x07, 0x0f, 0x61, 0x71, 0x79, 0x7b, 0x63, 0x62, 0x85, 0x15, 0x1d, 0x25, 0x05, 0x95, 0x18, 0xdb,
  0x57, 0x2d,
];
const HELPERS = [1, 2, 3, 5, 6, 7, 12, 14, 26, 44, 51, 93, 94, 131, 132, 201];

/** Mostly well-formed; all registers are written first. */
function program(random: Random): Insn[] {
  const insns: Insn[] = [{ code: 0xbf, dst: 6, src: 1, off: 0, imm: 0 }];
  for (const dst of [0, 2, 3, 7, 8])
    insns.push(
      random.below(2) === 0
        ? { code: 0xbf, dst, src: 10, off: 0, imm: 0 }
        : { code: 0xb7, dst, src: 0, off: 0, imm: random.below(70) - 4 },
    );
  const length = 1 + random.below(16);
  for (let i = 0; i < length; i++) {
    if (random.below(40) === 0) {
      const [code, dst, src] = [random.below(256), random.below(16), random.below(16)];
      insns.push({ code, dst, src, off: random.below(8), imm: random.next() | 0 });
      continue;
    }
    const code = CODES[random.below(CODES.length)]!;
    const cls = code & 7;
    const alu = cls === 7 || cls === 4;
    const jump = cls === 5;
    const memory = cls >= 1 && cls <= 3;
    const call = code === 0x85;
    const bare = call || code === 0x95 || code === 0x05;
    const immediate =
      code === 0x18 || cls === 2 || ((alu || jump) && (code & 8) === 0 && code !== 0x05 && code !== 0x95);
    insns.push({
      code,
      dst: bare ? 0 : random.below(9),
      src:
        code === 0x18
          ? 1
          : memory && cls !== 2
            ? random.below(11)
            : (alu || jump) && (code & 8) !== 0
              ? random.below(11)
              : 0,
      off: memory
        ? random.below(2) === 0
          ? 8 * random.below(4)
          : -8 * random.below(4)
        : jump && !call && code !== 0x95
          ? random.below(4)
          : 0,
      imm: call
        ? HELPERS[random.below(HELPERS.length)]!
        : code === 0x18
          ? 1 + random.below(3)
          : code === 0xdb
            ? 0
            : immediate
              ? random.below(80) - 8
              : 0,
    });
    if (code === 0x18) insns.push({ code: 0, dst: 0, src: 0, off: 0, imm: 0 });
  }
  insns.push(
    { code: 0xb7, dst: 0, src: 0, off: 0, imm: random.below(6) },
    { code: 0x95, dst: 0, src: 0, off: 0, imm: 0 },
  );
  return insns;
}

describe('random programs', () => {
  it('are explained and searched without an exception', () => {
    const maps = [
      map('array', 4, 16, { name: 'a', maxEntries: 4 }),
      map('hash', 4, 8, { name: 'h' }),
      map('ringbuf', 0, 0, { maxEntries: 4096 }),
    ];
    const random = new Random(7);
    const kinds = new Set<string>();
    for (let i = 0; i < 1500; i++) {
      const asked: VerifyRequest = {
        progType: progTypeByName(TYPES[random.below(TYPES.length)]!)!,
        expectedAttachType: 0,
        insns: program(random),
        gplCompatible: random.below(2) === 0,
        mapByFd: (fd) => maps[fd - 1] ?? -9,
        credentials: random.below(3) === 0 ? { ...ROOT, capSysAdmin: false, capPerfmon: false } : ROOT,
        flags: 0,
        logLevel: 0,
      };
      const result = verify(asked);
      if (result.verdict === 'accept') continue;
      const explanation = explain(asked, result);
      kinds.add(explanation.kind);
      expect(JSON.stringify(explanation)).not.toMatch(/undefined|NaN|\[object/);
      if (i % 20 === 0) findInput(asked, result, { values: new Map() }, { tries: 20, milliseconds: 200 });
    }
    expect(kinds.size).toBeGreaterThan(20);
  });
});
