/** Names of a large BTF are found by search at first and by an index later: both say the same. */
import { describe, expect, it } from 'vitest';
import { type Btf, BtfBuilder, parseBtf, sharedBtf } from '../../src/btf/index.ts';

const TYPES = 6000;

/** Structs and typedefs t0 … with twins, some with a flavour; every name is the end of another. */
function large(): Btf {
  const builder = new BtfBuilder();
  for (let i = 0; i < TYPES; i++) {
    const name = i % 100 === 0 ? `t${i}___old` : `t${i % 2500}`;
    builder.add({ kind: 'fwd', name, of: i % 3 === 0 ? 'union' : 'struct' });
    if (i % 7 === 0) builder.add({ kind: 'typedef', name: `long_t${i}`, type: 1 });
  }
  return builder.build();
}

describe('names', () => {
  const bytes = large().bytes;
  const index = new Map([...parseBtf(bytes).names()].map(([name, ids]) => [name, [...ids]]));

  it('are found without an index as with one', () => {
    const names = [...index.keys()];
    const wanted = [
      ...Array.from({ length: 50 }, (_, i) => names[(i * 97) % names.length]!),
      'ong_t7',
      '',
      '0',
      't',
    ];
    const searched = parseBtf(bytes);
    for (const name of wanted) {
      expect([name, searched.findAll(name)]).toEqual([name, index.get(name) ?? []]);
      expect(searched.find(name, 'typedef')).toBe(searched.findAll(name, 'typedef')[0]);
    }
  });

  it('are found after many look-ups', () => {
    const btf = parseBtf(bytes);
    for (const [name, ids] of index) expect([name, btf.findAll(name)]).toEqual([name, ids]);
  });

  it('are found by a part', () => {
    const flavoured = [...index].filter(([name]) => name.includes('___'));
    expect(flavoured).toHaveLength(TYPES / 100);
    const searched = [...parseBtf(bytes).namesWith('___')].map(([name, ids]) => [name, [...ids]]);
    expect(new Map(searched as typeof flavoured)).toEqual(new Map(flavoured));
  });

  it('belong to types that are read once', () => {
    expect(sharedBtf(bytes)).toBe(sharedBtf(bytes));
    expect(sharedBtf(bytes.slice())).not.toBe(sharedBtf(bytes));
  });
});
