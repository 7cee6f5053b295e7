import { describe, expect, it } from 'vitest';
import { toJson } from '../../src/cli/json.ts';
import { duration, grouped } from '../../src/cli/output.ts';
import { formatAddress, parseAddress, parseAssignment, parseValue } from '../../src/cli/values.ts';

describe('map entries on the command line', () => {
  it.each([
    ['counts:5=1', { map: 'counts', key: '5', value: '1' }],
    ['blocked:fd00::/8=1', { map: 'blocked', key: 'fd00::/8', value: '1' }],
    ['flows:{"a":"x=y:z"}={"b":[1,2]}', { map: 'flows', key: '{"a":"x=y:z"}', value: '{"b":[1,2]}' }],
    ['queue:=7', { map: 'queue', key: '', value: '7' }],
  ])('%s', (text, parts) => {
    expect(parseAssignment(text)).toEqual(parts);
  });

  it.each([
    ['10', 4, 10n],
    ['-0x10', 8, -16n],
    ['true', 1, true],
    ['XDP_PASS', 4, 'XDP_PASS'],
    ['{"a":1}', 8, { a: 1 }],
    ['hex:0a42', 2, Uint8Array.of(0x0a, 0x42)],
    ['10.66.0.1', 4, Uint8Array.of(10, 66, 0, 1)],
    // An address of another size than the key is text.
    ['10.66.0.1', 16, '10.66.0.1'],
    ['02:00:00:00:00:01', 6, Uint8Array.of(2, 0, 0, 0, 0, 1)],
    ['10.66.0.0/16', 8, Uint8Array.of(16, 0, 0, 0, 10, 66, 0, 0)],
  ])('%s for %d bytes', (text, size, value) => {
    expect(parseValue(text, size)).toEqual(value);
  });

  it.each(['10.0.0.0/33', 'fd00::/129', 'hex:0', '{"a":'])('refuses %s', (text) => {
    expect(() => parseValue(text, 8)).toThrow();
  });
});

describe('addresses', () => {
  it.each([
    '0.0.0.0',
    '255.1.2.3',
    '::',
    '::1',
    'fd00::',
    'fd00::2',
    '1:2:3:4:5:6:7:8',
    '1:0:0:2::3',
    '2001:db8::1:0:0:1',
  ])('%s', (text) => {
    expect(formatAddress(parseAddress(text)!)).toBe(text);
  });

  it.each(['256.0.0.1', '1.2.3', '1::2::3', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', 'g::', ':'])(
    '%s is none',
    (text) => {
      expect(parseAddress(text)).toBeUndefined();
    },
  );
});

describe('text for people and machines', () => {
  it('keeps all digits in JSON', () => {
    const value = {
      a: 2n ** 64n - 1n,
      b: [1, undefined],
      c: undefined,
      d: Uint8Array.of(1, 255),
      e: null,
      f: {},
    };
    expect(toJson(value)).toBe('{"a":18446744073709551615,"b":[1,null],"d":"01ff","e":null,"f":{}}');
    expect(JSON.parse(toJson({ x: [{ y: 'z"' }] }, 2))).toEqual({ x: [{ y: 'z"' }] });
  });

  it('groups digits and chooses units', () => {
    expect([grouped(999), grouped(1234567)]).toEqual(['999', '1,234,567']);
    expect([12, 1500, 2.5e6, 3e9].map(duration)).toEqual(['12 ns', '1.50 µs', '2.50 ms', '3.00 s']);
  });
});
