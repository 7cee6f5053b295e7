/** What the tools share and strangers feed: DNS messages, addresses, names in flame graphs and tables. */
import { describe, expect, it } from 'vitest';
import { flameGraph, ipv6, parseDns, printable } from '../../examples/tools/common/index.ts';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

describe('DNS messages', () => {
  const question = '04 74657374 07 6578616d706c65 00 0001 0001';
  const head = (counts: string): string => `1234 8180 ${counts} 0000 0000`;

  it('have names with pointers, addresses, and data that is not looked into', () => {
    const answers =
      'c00c 0005 0001 0000003c 0006 03 777777 c011' +
      'c00c 0001 0001 0000003c 0004 c0000207' +
      'c00c 001c 0001 0000003c 0010 20010db8000000000000000000000001' +
      'c00c 0010 0001 0000003c 0003 026869';
    expect(parseDns(bytes(head('0001 0004') + question + answers))).toEqual({
      id: 0x1234,
      response: true,
      rcode: 'NOERROR',
      name: 'test.example',
      type: 'A',
      answers: ['www.example', '192.0.2.7', '2001:db8::1', 'TXT (3 bytes)'],
    });
  });

  it('that are cut, wrong or endless give what could be read', () => {
    expect(parseDns(new Uint8Array(5))).toBeUndefined();
    expect(parseDns(bytes(`${head('0001 0000')} c00c 0001 0001`))).toBeUndefined();
    expect(parseDns(bytes(`${head('0001 0000')} 3f61`))).toBeUndefined();
    expect(parseDns(bytes(`${head('0000 0000')} ${question}`))).toBeUndefined();
    expect(
      parseDns(bytes(`${head('0001 ffff')} ${question} c00c 0001 0001 0000003c 00ff 01`))?.answers,
    ).toEqual([]);
    expect(parseDns(bytes(`${head('0001 0000')} 03 1b5b2e 00 0001 0001`))?.name).toBe('\\027[\\046');
    const whole = bytes(`${head('0001 0001')} ${question} c00c 0001 0001 0000003c 0004 c0000207`);
    for (let cut = 0; cut < whole.length; cut++) parseDns(whole.subarray(0, cut));
    for (let at = 0; at < whole.length; at++)
      for (const value of [0, 0x3f, 0xc0, 0xff]) {
        const changed = Uint8Array.from(whole);
        changed[at] = value;
        parseDns(changed);
      }
  });
});

describe('flame graphs', () => {
  it('escape what names bring along, and leave out what cannot be seen', () => {
    const stacks = new Map([
      ['a;<script>alert(1)</script>;"&', 9_000_000],
      ['a;]]>', 1_000_000],
      ['b', 1],
    ]);
    const svg = flameGraph(stacks, { title: '<&>' });
    expect(svg).toContain('&lt;script&gt;alert(1)&lt;/script&gt; (9000000 samples, 90.00%)');
    expect(svg).toContain('<title>]]&gt; (1000000 samples, 10.00%)</title>');
    expect(svg).toContain('>&lt;&amp;&gt;</text>');
    expect(svg.match(/<script>/g)).toHaveLength(1);
    expect(svg).not.toContain('<title>b ');
  });

  it('of nothing is empty', () => {
    expect(flameGraph(new Map(), { title: 'nothing' })).toContain('all (0 samples, 0.00%)');
  });
});

describe('text', () => {
  it('of IPv6 addresses is the shortest (RFC 5952)', () => {
    const of = (hex: string): string => ipv6(bytes(hex));
    expect(of('00000000000000000000000000000001')).toBe('::1');
    expect(of('20010db8000000000001000000000001')).toBe('2001:db8::1:0:0:1');
    expect(of('20010db8000000010001000100010001')).toBe('2001:db8:0:1:1:1:1:1');
    expect(of('00000000000000000000ffff7f000001')).toBe('::ffff:127.0.0.1');
    expect(of('00000000000000000000000000000000')).toBe('::');
  });

  it('of names steers no terminal', () => {
    expect(printable('a\x1b[2Jb\n\u009b')).toBe('a?[2Jb??');
  });
});
