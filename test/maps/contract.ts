/** What every map type must do, whatever its semantics: run once a type with a description of its keys and values. */
import { describe, expect, it } from 'vitest';
import type { EmbeddedMap } from '../../src/maps/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { type MapSizes, TestKernel } from './env.ts';

export interface MapContract {
  readonly type: string;
  readonly sizes: MapSizes;
  /** Sizes that need a live kernel (inner maps). */
  readonly prepare?: (kernel: TestKernel) => MapSizes;
  /** The `i`th key and a value for it; keys 0..2 fit in the map. Absent: the type has no elements for user space. */
  readonly key?: (i: number) => Uint8Array;
  readonly value?: (i: number, kernel: TestKernel) => Uint8Array;
  /** Elements exist from the start and cannot be deleted. */
  readonly fixed?: true;
  /** Deleting an empty slot succeeds, and BPF_NOEXIST is always refused. */
  readonly slots?: true;
  /** User space reads something else than it wrote (ids for fds), or nothing at all. */
  readonly readsBack?: 'same' | 'other' | 'no';
}

function collect(map: EmbeddedMap): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let key = map.nextKey(null); typeof key !== 'number' && keys.length < 100; key = map.nextKey(key))
    keys.push(key);
  return keys;
}

export function mapContract(contract: MapContract): void {
  describe(`${contract.type}: contract`, () => {
    const make = (kernel = new TestKernel()): { kernel: TestKernel; map: EmbeddedMap } => {
      const sizes = { ...contract.sizes, ...contract.prepare?.(kernel) };
      return { kernel, map: kernel.create(contract.type, sizes) };
    };

    it('describes itself in linear memory as MAP_CREATE asked', () => {
      const { kernel, map } = make();
      const { u32 } = kernel.memory;
      const at = map.layout.address >>> 2;
      const { type, keySize, valueSize, maxEntries, flags, id } = map.info;
      expect([...u32.slice(at, at + 6)]).toEqual([type.id, keySize, valueSize, maxEntries, flags, id]);
      expect(map.memory).toBeGreaterThan(0);
    });

    it('gives back all memory and all references', () => {
      const kernel = new TestKernel();
      const before = kernel.memory.bytesUsed;
      const { map } = make(kernel);
      const { key, value } = contract;
      if (key && value) for (let i = 0; i < 3; i++) map.update(key(i), value(i, kernel), 0);
      map.free();
      for (const inner of kernel.maps.values()) inner.free();
      expect([...kernel.references.values()].every((count) => count === 0)).toBe(true);
      // What stays is the scratch of the commands.
      expect(kernel.memory.bytesUsed - before).toBeLessThanOrEqual(4096);
    });

    it('leaves nothing behind where memory is exhausted', () => {
      const kernel = new TestKernel(2, 64);
      const inner = contract.prepare?.(kernel) ?? {};
      const before = kernel.memory.bytesUsed;
      let failed = false;
      try {
        kernel.create(contract.type, { ...contract.sizes, ...inner, maxEntries: 1 << 26 });
      } catch (error) {
        failed = true;
        expect(error).toBeInstanceOf(BpfError);
        expect(['ENOMEM', 'E2BIG']).toContain((error as BpfError).code);
      }
      if (failed) expect(kernel.memory.bytesUsed).toBe(before);
    });

    it('is frozen once, for user space', () => {
      const { kernel, map } = make();
      expect(map.freeze()).toBe(0);
      expect(map.freeze()).toBe(-16);
      const { key, value } = contract;
      if (key && value) {
        expect(map.update(key(0), value(0, kernel), 0)).toBe(-1);
        expect(map.delete(key(0))).toBe(-1);
      }
    });

    const { key, value, fixed, slots, readsBack = 'same' } = contract;
    if (key === undefined || value === undefined) return;

    it('stores, finds, replaces and deletes', () => {
      const { kernel, map } = make();
      for (let i = 0; i < 3; i++) expect(map.update(key(i), value(i, kernel), 0)).toBe(0);
      for (let i = 0; i < 3; i++) {
        const found = map.lookup(key(i));
        if (readsBack === 'same') expect(found).toEqual(value(i, kernel));
        else if (readsBack === 'no') expect(found).toBe(-524);
        else expect(found).toBeInstanceOf(Uint8Array);
      }
      expect(map.update(key(1), value(2, kernel), 0)).toBe(0);
      if (readsBack === 'same') expect(map.lookup(key(1))).toEqual(value(2, kernel));
      expect(map.delete(key(1))).toBe(fixed ? -22 : 0);
      if (!fixed) {
        expect(map.delete(key(1))).toBe(slots ? 0 : -2);
        if (readsBack !== 'no') expect(map.lookup(key(1))).toBe(-2);
      }
    });

    it('walks all keys once, and starts over after an unknown one', () => {
      const { kernel, map } = make();
      for (let i = 0; i < 3; i++) map.update(key(i), value(i, kernel), 0);
      const keys = collect(map).map(String);
      for (let i = 0; i < 3; i++) expect(keys).toContain(String(key(i)));
      expect(new Set(keys).size).toBe(keys.length);
      const start = map.nextKey(new Uint8Array(map.info.keySize).fill(0xff));
      expect(String(start)).toBe(keys[0]);
    });

    it('refuses unknown flags', () => {
      const { kernel, map } = make();
      for (const flags of [3, 8, 0x8000_0000]) expect(map.update(key(0), value(0, kernel), flags)).toBe(-22);
    });
  });
}
