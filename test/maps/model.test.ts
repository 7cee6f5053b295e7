/** Large maps under random operations against models of a few lines: JavaScript's Map, and a search over all prefixes. */
import { describe, expect, it } from 'vitest';
import { programOps } from '../../src/maps/index.ts';
import { toHex } from '../../src/util/index.ts';
import { TestKernel, u32, u64 } from './env.ts';

function randomizer(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

describe.each([
  ['hash', 3],
  ['hash', 4],
  ['hash', 8],
  ['hash', 20],
  ['percpu_hash', 6],
])('%s with keys of %i bytes', (type, keySize) => {
  it('is a Map', () => {
    const kernel = new TestKernel(1);
    const map = kernel.create(type, { keySize, maxEntries: 3000 });
    const ops = programOps(kernel.ctx.module, map.info.type, keySize)!;
    const random = randomizer(keySize);
    const model = new Map<string, bigint>();
    const keyAt = kernel.memory.allocate(32, 'key');
    const valueAt = kernel.memory.allocate(8, 'value');
    const { address } = map.layout;
    for (let step = 0; step < 30_000; step++) {
      // Keys differ in the first, a middle or the last byte.
      const key = new Uint8Array(keySize);
      key[0] = random(64);
      key[keySize >> 1] ^= random(16);
      key[keySize - 1] ^= random(8);
      const name = toHex(key);
      kernel.memory.write(keyAt, key);
      const op = random(4);
      if (op === 0) {
        expect(ops.delete!(address, keyAt)).toBe(model.delete(name) ? 0 : -2);
      } else if (op === 1) {
        const at = ops.lookup!(address, keyAt);
        expect(at === 0 ? undefined : kernel.memory.readU64(at)).toBe(model.get(name));
      } else {
        const value = BigInt(step);
        kernel.memory.writeU64(valueAt, value);
        const flags = random(3);
        const has = model.has(name);
        const expected =
          flags === 1 && has ? -17 : flags === 2 && !has ? -2 : !has && model.size >= 3000 ? -7 : 0;
        expect(ops.update!(address, keyAt, valueAt, flags, 0)).toBe(expected);
        if (expected === 0) model.set(name, value);
      }
    }
    const keys = new Set<string>();
    for (let key = map.nextKey(null); typeof key !== 'number'; key = map.nextKey(key)) keys.add(toHex(key));
    expect([...keys].sort()).toEqual([...model.keys()].sort());
    expect(map.count()).toBe(model.size);
  });
});

describe.each([4, 6, 16])('lpm_trie with %i bytes of data', (dataSize) => {
  it('finds the longest prefix', () => {
    const kernel = new TestKernel(1);
    const map = kernel.create('lpm_trie', { keySize: 4 + dataSize, maxEntries: 500, flags: 1 });
    const ops = programOps(kernel.ctx.module, map.info.type, 4 + dataSize)!;
    const random = randomizer(dataSize);
    const model: { bits: string; value: bigint }[] = [];
    const keyAt = kernel.memory.allocate(64, 'key');
    const bitsOf = (data: Uint8Array) => [...data].map((b) => b.toString(2).padStart(8, '0')).join('');
    const draw = () => {
      const data = Uint8Array.from({ length: dataSize }, () => [0, 1, 0x80, 0xff, 0xaa][random(5)]);
      const length = random(4) === 0 ? dataSize * 8 : random(dataSize * 8 + 1);
      return { key: new Uint8Array([...u32(length), ...data]), bits: bitsOf(data), length };
    };
    for (let step = 0; step < 5000; step++) {
      const { key, bits, length } = draw();
      const prefix = bits.slice(0, length);
      const at = model.findIndex((entry) => entry.bits === prefix);
      if (random(3) === 0) {
        expect(map.delete(key)).toBe(at < 0 ? -2 : 0);
        if (at >= 0) model.splice(at, 1);
      } else {
        const value = BigInt(step);
        const expected = at < 0 && model.length >= 500 ? -28 : 0;
        expect(map.update(key, u64(value), 0)).toBe(expected);
        if (expected === 0 && at >= 0) model[at] = { bits: prefix, value };
        else if (expected === 0) model.push({ bits: prefix, value });
      }
      const wanted = draw();
      kernel.memory.write(keyAt, wanted.key);
      const found = ops.lookup!(map.layout.address, keyAt);
      let best: { bits: string; value: bigint } | undefined;
      for (const entry of model) {
        const covers = entry.bits.length <= wanted.length && wanted.bits.startsWith(entry.bits);
        if (covers && (best === undefined || entry.bits.length > best.bits.length)) best = entry;
      }
      expect(found === 0 ? undefined : kernel.memory.readU64(found)).toBe(best?.value);
    }
    const keys: string[] = [];
    for (let key = map.nextKey(null); typeof key !== 'number'; key = map.nextKey(key)) keys.push(toHex(key));
    expect(new Set(keys).size).toBe(model.length);
    expect(keys.length).toBe(model.length);
    expect(map.count()).toBe(model.length);
  });
});
