/** What is particular to one map type, through the operations that programs call. */
import { describe, expect, it } from 'vitest';
import { IMPLEMENTED_MAP_TYPES, MAP_HEADER, programOps, RingBufMap } from '../../src/maps/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { TestKernel, u32, u64 } from './env.ts';

/** Stores bytes where a program would have them and gives their offset. */
function put(kernel: TestKernel, bytes: Uint8Array): number {
  const at = kernel.memory.allocate(bytes.length, 'test');
  kernel.memory.write(at, bytes);
  return at;
}

const opsOf = (kernel: TestKernel, map: ReturnType<TestKernel['create']>) =>
  programOps(kernel.ctx.module, map.info.type, map.info.keySize)!;

describe('array', () => {
  it('has the layout that engines inline', () => {
    const kernel = new TestKernel();
    const map = kernel.create('array', { valueSize: 12, maxEntries: 5 });
    const key = put(kernel, u32(3));
    expect(map.layout.stride).toBe(16);
    expect(opsOf(kernel, map).lookup!(map.layout.address, key)).toBe(map.layout.values + 48);
    kernel.memory.write(key, u32(5));
    expect(opsOf(kernel, map).lookup!(map.layout.address, key)).toBe(0);
    kernel.memory.write(key, u32(0xffff_ffff));
    expect(opsOf(kernel, map).lookup!(map.layout.address, key)).toBe(0);
    expect(opsOf(kernel, map).delete!(map.layout.address, key)).toBe(-22);
  });

  it('gives direct addresses of single-element maps only', () => {
    const kernel = new TestKernel();
    const one = kernel.create('array', { valueSize: 10, maxEntries: 1 });
    expect(one.valueAddress(9)).toBe(one.layout.values + 9);
    expect(one.valueAddress(10)).toBe(-22);
    expect(one.valueAddress(-1)).toBe(-22);
    expect(kernel.create('array', { maxEntries: 2 }).valueAddress(0)).toBe(-524);
  });

  it('is constant when frozen and read-only for programs', () => {
    const kernel = new TestKernel();
    const map = kernel.create('array', { valueSize: 8, maxEntries: 1, flags: 1 << 7 });
    map.update(u32(0), u64(0x1122_3344_5566_7788n), 0);
    expect(map.info.frozen).toBeUndefined();
    map.freeze();
    expect(map.info.frozen).toBe(true);
    expect(map.info.constant?.(0, 8)).toBe(0x1122_3344_5566_7788n);
    expect(map.info.constant?.(4, 4)).toBe(0x1122_3344n);
    expect(map.info.constant?.(4, 8)).toBeUndefined();
  });
});

describe('hash', () => {
  it('an update leaves what older pointers see alone', () => {
    const kernel = new TestKernel();
    const map = kernel.create('hash');
    const { lookup, update } = opsOf(kernel, map);
    const { address } = map.layout;
    const key = put(kernel, u32(7));
    const value = put(kernel, u64(1));
    expect(update!(address, key, value, 0, 0)).toBe(0);
    const old = lookup!(address, key);
    kernel.memory.write(value, u64(2));
    expect(update!(address, key, value, 0, 0)).toBe(0);
    const fresh = lookup!(address, key);
    expect([old === fresh, kernel.memory.readU64(old), kernel.memory.readU64(fresh)]).toEqual([
      false,
      1n,
      2n,
    ]);
    expect(update!(address, key, value, 0, 1)).toBe(-22);
  });

  it('holds max_entries and no more, however often elements come and go', () => {
    const kernel = new TestKernel();
    const map = kernel.create('hash', { maxEntries: 1000, keySize: 8 });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 1000; i++) expect(map.update(u64(i * 7919), u64(i), 1)).toBe(0);
      expect(map.update(u64(1), u64(1), 0)).toBe(-7);
      expect(map.update(u64(7919), u64(5), 2)).toBe(0);
      expect(map.count()).toBe(1000);
      expect(map.dropped).toBe(round + 1);
      for (let i = 0; i < 1000; i++) expect(map.delete(u64(i * 7919))).toBe(0);
      expect(map.count()).toBe(0);
    }
  });

  it('keeps values 8-byte aligned for any key size', () => {
    const kernel = new TestKernel();
    for (const keySize of [1, 3, 4, 5, 8, 12, 16, 31]) {
      const map = kernel.create('hash', { keySize, valueSize: 3 });
      const key = put(kernel, new Uint8Array(keySize).fill(keySize));
      opsOf(kernel, map).update!(map.layout.address, key, put(kernel, u64(1)), 0, 0);
      const value = opsOf(kernel, map).lookup!(map.layout.address, key);
      expect([value > 0, value % 8]).toEqual([true, 0]);
      expect(map.delete(new Uint8Array(keySize).fill(keySize))).toBe(0);
    }
  });

  it('locks: BPF_F_LOCK updates in place and only maps with a lock take it', () => {
    const kernel = new TestKernel();
    const specialFields = [{ kind: 'spin_lock', offset: 8, size: 4 }] as const;
    const map = kernel.create('hash', { valueSize: 16, specialFields });
    const { lookup, update } = opsOf(kernel, map);
    const key = put(kernel, u32(1));
    const bytes = new Uint8Array(16).fill(0xee);
    const value = put(kernel, bytes);
    expect(update!(map.layout.address, key, value, 0, 0)).toBe(0);
    const at = lookup!(map.layout.address, key);
    expect(kernel.memory.u32[(at + 8) >>> 2]).toBe(0);
    // Where threads share the memory, the update would wait for a lock that is held.
    const held = TestKernel.shared ? 0 : 1;
    kernel.memory.u32[(at + 8) >>> 2] = held;
    kernel.memory.u8.fill(0x77, value, value + 16);
    expect(update!(map.layout.address, key, value, 4, 0)).toBe(0);
    expect(lookup!(map.layout.address, key)).toBe(at);
    expect([...kernel.memory.u32.slice(at >>> 2, (at >>> 2) + 4)]).toEqual([
      0x7777_7777,
      0x7777_7777,
      held,
      0x7777_7777,
    ]);
    // User space never sees the lock.
    expect([...(map.lookup(u32(1)) as Uint8Array).subarray(8, 12)]).toEqual([0, 0, 0, 0]);
    expect(map.freeze()).toBe(-524);
    const plain = kernel.create('hash');
    expect(opsOf(kernel, plain).update!(plain.layout.address, key, value, 4, 0)).toBe(-22);
  });

  it('makes elements as they are needed', () => {
    const kernel = new TestKernel();
    const map = kernel.create('hash', { maxEntries: 1 << 20, valueSize: 512 });
    expect(map.memory).toBeLessThan((TestKernel.shared ? 9 : 8) << 20);
  });
});

describe('exhausted memory', () => {
  it('is ENOMEM for the insert, and the map goes on', () => {
    for (const type of ['hash', 'lru_hash', 'lpm_trie']) {
      const kernel = new TestKernel(2, 80);
      const flags = type === 'lpm_trie' ? 1 : 0;
      const map = kernel.create(type, { keySize: 8, valueSize: 4096, maxEntries: 100_000, flags });
      const key = (i: number) => (type === 'lpm_trie' ? new Uint8Array([32, 0, 0, 0, ...u32(i)]) : u64(i));
      let stored = 0;
      let result = 0;
      const value = new Uint8Array(4096).fill(1);
      while (result === 0 && stored < 100_000) {
        result = map.update(key(stored), value, 0);
        if (result === 0) stored++;
      }
      expect([type, result]).toEqual([type, -12]);
      expect(stored).toBeGreaterThan(100);
      expect(map.count()).toBe(stored);
      expect(map.delete(key(0))).toBe(0);
      expect(map.update(key(1_000_000), value, 0)).toBe(0);
      map.free();
    }
  });

  it('refuses sizes that no machine has', () => {
    const kernel = new TestKernel();
    const before = kernel.memory.bytesUsed;
    for (const type of ['array', 'percpu_array', 'queue']) {
      const keySize = type === 'queue' ? 0 : 4;
      const sizes = { keySize, valueSize: 32_768, maxEntries: 0xffff_ffff };
      expect(() => kernel.create(type, sizes)).toThrow(expect.objectContaining({ code: 'ENOMEM' }));
    }
    expect(kernel.memory.bytesUsed).toBe(before);
  });
});

describe('per-CPU maps', () => {
  for (const type of ['percpu_array', 'percpu_hash', 'lru_percpu_hash']) {
    it(`${type}: programs see their CPU, user space all of them`, () => {
      const kernel = new TestKernel(3);
      const map = kernel.create(type, { valueSize: 4 });
      const { lookup, update, lookupPercpu } = opsOf(kernel, map);
      const { address } = map.layout;
      const key = put(kernel, u32(2));
      for (const cpu of [2, 0]) {
        kernel.cpu = cpu;
        expect(update!(address, key, put(kernel, u32(10 + cpu)), 0, 0)).toBe(0);
      }
      expect(map.userValueSize).toBe(24);
      const all = map.lookup(u32(2)) as Uint8Array;
      expect([...new Uint32Array(all.buffer)]).toEqual([10, 0, 0, 0, 12, 0]);
      kernel.cpu = 2;
      expect(kernel.memory.u32[lookup!(address, key) >>> 2]).toBe(12);
      expect(kernel.memory.u32[lookupPercpu!(address, key, 0) >>> 2]).toBe(10);
      expect(lookupPercpu!(address, key, 3)).toBe(0);
      expect(lookupPercpu!(address, key, 0xffff_ffff)).toBe(0);
    });
  }
});

describe('lru_hash', () => {
  it('evicts the oldest that was not used, and only when full', () => {
    const kernel = new TestKernel();
    const map = kernel.create('lru_hash', { maxEntries: 4 });
    const { lookup } = opsOf(kernel, map);
    const key = put(kernel, u32(0));
    for (let i = 0; i < 4; i++) map.update(u32(i), u64(i), 0);
    expect(map.count()).toBe(4);
    expect(lookup!(map.layout.address, key)).toBeGreaterThan(0);
    // User space looks without touching.
    map.lookup(u32(1));
    map.update(u32(4), u64(4), 0);
    const has = (i: number) => typeof map.lookup(u32(i)) !== 'number';
    expect([0, 1, 2, 3, 4].map(has)).toEqual([true, false, true, true, true]);
    for (let i = 5; i < 1000; i++) expect(map.update(u32(i), u64(i), 0)).toBe(0);
    expect(map.count()).toBe(4);
    expect([996, 997, 998, 999].map(has)).toEqual([true, true, true, true]);
    for (let i = 996; i < 1000; i++) expect(map.delete(u32(i))).toBe(0);
    expect(map.count()).toBe(0);
  });

  it('survives random use with its lists intact', () => {
    const kernel = new TestKernel();
    const map = kernel.create('lru_hash', { maxEntries: 16 });
    const { lookup, update, delete: remove } = opsOf(kernel, map);
    const key = put(kernel, u32(0));
    const value = put(kernel, u64(0));
    let state = 12345;
    for (let i = 0; i < 20_000; i++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      kernel.memory.u32[key >>> 2] = (state >>> 8) % 24;
      const op = (state >>> 24) % 4;
      if (op === 0) remove!(map.layout.address, key);
      else if (op === 1) lookup!(map.layout.address, key);
      else expect(update!(map.layout.address, key, value, 0, 0)).toBe(0);
    }
    let keys = 0;
    for (let k = map.nextKey(null); typeof k !== 'number'; k = map.nextKey(k)) keys++;
    expect(keys).toBe(map.count());
    expect(keys).toBeLessThanOrEqual(16);
  });
});

describe('ring buffer', () => {
  const make = (size = 4096) => {
    const kernel = new TestKernel();
    const map = kernel.create('ringbuf', { keySize: 0, valueSize: 0, maxEntries: size }) as RingBufMap;
    expect(map).toBeInstanceOf(RingBufMap);
    const wakes: number[] = [];
    kernel.ctx.module.onWakeup = (address) => wakes.push(address);
    return { kernel, map, wasm: kernel.ctx.module.wasm, address: map.layout.address, wakes };
  };

  it('lays records out as Linux does', () => {
    const { kernel, map, wasm, address } = make();
    const { data, consumer, producer } = map.areas;
    expect([address % 4096, consumer % 4096, producer % 4096, data % 4096]).toEqual([0, 0, 0, 0]);
    const a = wasm.ringbuf_reserve(address, 5, 0, 0);
    const b = wasm.ringbuf_reserve(address, 16, 0, 0);
    expect([a - data, b - data]).toEqual([8, 24]);
    expect(kernel.memory.u32[(a - 8) >>> 2]).toBe(0x8000_0005);
    wasm.ringbuf_submit(a, 0, 0);
    wasm.ringbuf_discard(b, 0, 0);
    expect(kernel.memory.u32[(a - 8) >>> 2]).toBe(5);
    expect(kernel.memory.u32[(b - 8) >>> 2]).toBe(0x4000_0010);
    expect(kernel.memory.readU64(producer)).toBe(40n);
  });

  it('is full one byte before its size, and counts what it drops', () => {
    const { map, wasm, address, kernel } = make();
    expect(wasm.ringbuf_reserve(address, 4096 - 8, 0, 0)).toBe(0);
    expect(wasm.ringbuf_reserve(address, 4096 - 16, 0, 0)).toBeGreaterThan(0);
    expect(wasm.ringbuf_reserve(address, 0, 0, 0)).toBe(0);
    expect(map.dropped).toBe(2);
    expect(wasm.ringbuf_reserve(address, 5000, 0, 0)).toBe(0);
    expect(wasm.ringbuf_reserve(address, 8, 1, 0)).toBe(0);
    expect(wasm.ringbuf_output(address, map.areas.data, 8, 0, 0)).toBe(-11);
    expect(wasm.ringbuf_output(address, map.areas.data, 8, 4, 0)).toBe(-22);
    // A consumer that lies about its position loses, not the kernel.
    kernel.memory.writeU64(map.areas.consumer, 0xffff_ffff_ffff_fff0n);
    expect(wasm.ringbuf_reserve(address, 8, 0, 0)).toBe(0);
  });

  it('a record over the end is in one piece, and at the start too', () => {
    const { kernel, map, wasm, address } = make();
    const { data, consumer } = map.areas;
    const first = wasm.ringbuf_reserve(address, 4000, 0, 0);
    wasm.ringbuf_submit(first, 0, 0);
    kernel.memory.writeU64(consumer, 4008n);
    const over = wasm.ringbuf_reserve(address, 200, 0, 0);
    expect(over - data).toBe(4016);
    for (let i = 0; i < 200; i++) kernel.memory.u8[over + i] = i;
    wasm.ringbuf_submit(over, 0, 0);
    expect([...kernel.memory.read(over, 200)]).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(kernel.memory.u8[data]).toBe(80);
    expect(kernel.memory.u8[data + 119]).toBe(199);
  });

  it('wakes readers that have caught up, unless told otherwise', () => {
    const { wasm, address, wakes } = make();
    const a = wasm.ringbuf_reserve(address, 8, 0, 0);
    const b = wasm.ringbuf_reserve(address, 8, 0, 0);
    wasm.ringbuf_submit(b, 0, 0);
    expect(wakes).toEqual([]);
    wasm.ringbuf_submit(a, 1, 0);
    expect(wakes).toEqual([]);
    wasm.ringbuf_output(address, a, 8, 2, 0);
    expect(wakes).toEqual([address]);
  });

  it('an unfinished record holds back space even after the consumer passed it', () => {
    const { kernel, map, wasm, address } = make();
    const a = wasm.ringbuf_reserve(address, 1000, 0, 0);
    kernel.memory.writeU64(map.areas.consumer, 1008n);
    expect(wasm.ringbuf_reserve(address, 3088, 0, 0)).toBe(0);
    wasm.ringbuf_submit(a, 0, 0);
    expect(wasm.ringbuf_reserve(address, 3088, 0, 0)).toBeGreaterThan(0);
  });
});

describe('maps of maps', () => {
  it('swaps the inner map with one store and holds references', () => {
    const kernel = new TestKernel();
    const a = kernel.create('hash');
    const b = kernel.create('hash');
    kernel.maps.set(3, a);
    kernel.maps.set(4, b);
    for (const type of ['array_of_maps', 'hash_of_maps']) {
      const outer = kernel.create(type, { valueSize: 4, inner: a });
      const { lookup } = opsOf(kernel, outer);
      const key = put(kernel, u32(1));
      expect(lookup!(outer.layout.address, key)).toBe(0);
      expect(outer.update(u32(1), u32(3), 0)).toBe(0);
      expect(outer.update(u32(2), u32(3), 0)).toBe(0);
      expect(lookup!(outer.layout.address, key)).toBe(a.layout.address);
      expect(outer.update(u32(1), u32(4), 0)).toBe(0);
      expect(lookup!(outer.layout.address, key)).toBe(b.layout.address);
      expect(outer.lookup(u32(1))).toEqual(u32(b.info.id));
      expect(outer.info.inner).toEqual(a.info);
      expect(outer.info.inner).not.toBe(a.info);
      outer.free();
      expect([...kernel.references.values()]).toEqual([0, 0]);
    }
  });

  it('takes only maps of the same shape', () => {
    const kernel = new TestKernel();
    const inner = kernel.create('array', { maxEntries: 2 });
    const outer = kernel.create('array_of_maps', { valueSize: 4, inner });
    const others = [
      kernel.create('array', { maxEntries: 3 }),
      kernel.create('array', { maxEntries: 2, valueSize: 16 }),
      kernel.create('hash', { maxEntries: 2 }),
      kernel.create('array', { maxEntries: 2, flags: 1 << 10 }),
    ];
    for (const [i, map] of others.entries()) {
      kernel.maps.set(10 + i, map);
      expect(outer.update(u32(0), u32(10 + i), 0)).toBe(-22);
    }
    expect(outer.update(u32(0), u32(99), 0)).toBe(-9);
    expect([...kernel.references.values()].every((n) => n === 0)).toBe(true);
    expect(() => kernel.create('array_of_maps', { valueSize: 4, inner: outer })).toThrow(BpfError);
    expect(() => kernel.create('array_of_maps', { valueSize: 4 })).toThrow(BpfError);
  });
});

describe('the registry', () => {
  it('types that are not there have a shape and no elements', () => {
    const kernel = new TestKernel();
    expect(IMPLEMENTED_MAP_TYPES).not.toContain('struct_ops');
    const map = kernel.create('sockmap');
    expect(map.shapeOnly).toBe(true);
    expect(map.info).toMatchObject({ keySize: 4, maxEntries: map.info.maxEntries });
    expect(map.update(u32(0), new Uint8Array(map.info.valueSize), 0)).toBe(-524);
    expect(map.lookup(u32(0))).toBe(-524);
    expect(kernel.create('array').shapeOnly).toBeUndefined();
  });

  it('headers are where programs and engines look', () => {
    expect([MAP_HEADER.HDR_VALUES, MAP_HEADER.HDR_STRIDE, MAP_HEADER.HDR_MAX_ENTRIES]).toEqual([24, 28, 12]);
  });
});
