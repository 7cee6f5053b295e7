/** Classic programs: what is refused, what they return on both engines, and their text. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import {
  type ClassicInsn,
  checkClassic,
  convertClassic,
  decodeClassic,
  encodeClassic,
  formatClassic,
  parseClassic,
} from '../../src/cbpf/index.ts';
import { BpfError, toHex } from '../../src/util/index.ts';
import { createSetup, runOnPacket } from '../../tools/conformance/isa.ts';
import { randomClassic, seeded } from './random.ts';

const insn = (code: number, k = 0, jt = 0, jf = 0): ClassicInsn => ({ code, jt, jf, k });
const RETURN_A = insn(0x16);

/** What tcpdump makes of "ip and tcp dst port 80". */
const TCP_80 = `
{ 0x28, 0, 0, 0x0000000c },
{ 0x15, 0, 8, 0x00000800 },
{ 0x30, 0, 0, 0x00000017 },
{ 0x15, 0, 6, 0x00000006 },
{ 0x28, 0, 0, 0x00000014 },
{ 0x45, 4, 0, 0x00001fff },
{ 0xb1, 0, 0, 0x0000000e },
{ 0x48, 0, 0, 0x00000010 },
{ 0x15, 0, 1, 0x00000050 },
{ 0x6, 0, 0, 0x00040000 },
{ 0x6, 0, 0, 0x00000000 },
`;

function tcpPacket(port: number): Uint8Array {
  const packet = new Uint8Array(54);
  packet.set([8, 0, 0x45], 12);
  packet[23] = 6;
  packet.set([port >> 8, port & 0xff], 36);
  return packet;
}

const setup = createSetup('both');

function run(insns: readonly ClassicInsn[], packet: Uint8Array = new Uint8Array(64), facts = {}): number[] {
  const built = setup.build({ name: 'test', kind: 'classic', insns: toHex(encodeClassic(insns)) });
  if ('rejected' in built) throw new Error(built.rejected);
  return setup.engines.map((engine) => {
    const program = engine.prepare(built, setup.env);
    const result = runOnPacket(setup, program, packet, facts);
    program.release();
    return result;
  });
}

function refusal(insns: readonly ClassicInsn[]): string {
  try {
    checkClassic(insns);
    return 'taken';
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

describe('classic programs', () => {
  it('filter packets as tcpdump compiled them', () => {
    const filter = parseClassic(TCP_80);
    expect(run(filter, tcpPacket(80))).toEqual([262144, 262144]);
    expect(run(filter, tcpPacket(81))).toEqual([0, 0]);
    expect(run(filter, tcpPacket(80).subarray(0, 30))).toEqual([0, 0]);
  });

  it('compute on 32 bits without sign', () => {
    const minus = [insn(0x00, 1), insn(0x14, 2), insn(0x74, 28), RETURN_A];
    expect(run(minus)).toEqual([15, 15]);
    // A >= 0x80000000 compares as a large number.
    const large = [insn(0x00, 0xffff_ffff), insn(0x35, 0x8000_0000, 0, 1), insn(0x06, 7), insn(0x06, 8)];
    expect(run(large)).toEqual([7, 7]);
  });

  it('end with 0 where they divide by an index of 0 or read outside of the packet', () => {
    expect(run([insn(0x00, 5), insn(0x3c), insn(0x06, 9)])).toEqual([0, 0]);
    expect(run([insn(0x20, 61), insn(0x06, 9)])).toEqual([0, 0]);
    expect(run([insn(0x20, 60), insn(0x06, 9)])).toEqual([9, 9]);
  });

  it('read what is known of the packet', () => {
    const load = (offset: number) => [insn(0x20, 0xffff_f000 + offset), RETURN_A];
    expect(run(load(20), undefined, { mark: 77 })).toEqual([77, 77]);
    expect(run(load(0), undefined, { protocol: 0x0008 })).toEqual([0x800, 0x800]);
    expect(run(load(28), undefined, { ifindex: 2, hardware_type: 1 })).toEqual([1, 1]);
    // The payload of the TCP packet is behind 20 bytes of header.
    const packet = tcpPacket(80);
    packet[46] = 0x50;
    expect(run(load(52), packet, { protocol: 0x0008 })).toEqual([54, 54]);
  });

  it.each([
    ['an empty program', [], /1 to 4096 instructions/],
    ['an unknown code', [insn(0x0e)], /no code 0xe/],
    ['a missing return', [insn(0x00)], /last instruction is no return/],
    ['a division by 0', [insn(0x34, 0), RETURN_A], /instruction 0: division by the constant 0/],
    ['a shift by 32', [insn(0x64, 32), RETURN_A], /shift by 32/],
    ['a jump behind the end', [insn(0x05, 1), RETURN_A], /jump leaves/],
    ['a branch behind the end', [insn(0x15, 0, 0, 1), RETURN_A], /branch leaves/],
    ['M[16]', [insn(0x02, 16), RETURN_A], /16 words/],
    ['a word that was not written', [insn(0x60, 3), RETURN_A], /M\[3\] is read/],
    ['a word written on one path', [insn(0x15, 0, 0, 1), insn(0x02, 1), insn(0x60, 1), RETURN_A], /M\[1\]/],
    ['unknown ancillary data', [insn(0x20, 0xffff_f001), RETURN_A], /no ancillary data at offset 1/],
  ] as const)('refuse %s', (_, insns, message) => {
    expect(refusal(insns)).toMatch(message);
    expect(refusal(insns)).toMatch(/^EINVAL/);
  });

  it('leave dead code out', () => {
    const dead = [insn(0x05, 1), insn(0x00, 1), RETURN_A];
    expect(convertClassic(dead).length).toBeLessThan(
      convertClassic([insn(0x00, 1), insn(0x00, 1), RETURN_A]).length,
    );
    expect(run(dead)).toEqual([0, 0]);
  });

  it('run alike on both engines, whatever they are', () => {
    const random = seeded(7);
    for (let i = 0; i < 300; i++) {
      const insns = randomClassic(random, [0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 44, 48, 52, 60]);
      if (refusal(insns) !== 'taken') continue;
      const [interpreter, jit] = run(
        insns,
        Uint8Array.from({ length: 40 }, () => random(256)),
      );
      expect(jit, formatClassic(insns)).toBe(interpreter);
    }
  });
});

describe('text of classic programs', () => {
  it('is read as C rows, as decimals and as one line', () => {
    const filter = parseClassic(TCP_80);
    const rows = filter.map(({ code, jt, jf, k }) => `${code} ${jt} ${jf} ${k}`);
    expect(parseClassic(`${rows.length}\n${rows.join('\n')}\n`)).toEqual(filter);
    expect(parseClassic(`${rows.length},${rows.join(',')}`)).toEqual(filter);
    expect(decodeClassic(encodeClassic(filter))).toEqual(filter);
  });

  it.each(['', '{ 1, 2 }', '2\n1 2 3 4', '1\n1 2 3', '1\n70000 0 0 0', '{ 0x28, 0, 0, 12 }, x'])(
    'refuses %j',
    (text) => {
      if (text === '') expect(() => parseClassic(text)).toThrow(/number of instructions/);
      else expect(() => parseClassic(text)).toThrow(BpfError);
    },
  );

  const tcpdump = spawnSync('tcpdump', ['--version']).error === undefined;
  if (!tcpdump) console.log('skipped: listings beside tcpdump -d: there is no tcpdump');
  it
    .skipIf(!tcpdump)
    .each([
      'tcp port 80',
      'ip6 and udp',
      'net 10.0.0.0/8 and not arp',
      'ip[6:2] & 0x1fff != 0 or len > 1000',
      'vlan 5 and ether[20] % 3 = 1',
    ])('is what tcpdump -d shows: %s', (expression) => {
    const ask = (flag: string) =>
      spawnSync('tcpdump', ['-y', 'EN10MB', flag, expression], { encoding: 'utf8' }).stdout;
    const filter = parseClassic(ask('-ddd'));
    expect(parseClassic(ask('-dd'))).toEqual(filter);
    expect(formatClassic(filter)).toBe(ask('-d').trimEnd());
  });
});
