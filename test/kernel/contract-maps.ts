/** Map commands of the `Kernel` contract: creation, elements, batches, freezing, descriptors with fewer rights. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  code,
  expectCode,
  fromU32,
  idOf,
  makeMap,
  mapType,
  type OpenSubject,
  type Subject,
  type SubjectKernel,
  u32,
  u64,
} from './subject.ts';

const F = {
  NO_PREALLOC: 1,
  NO_COMMON_LRU: 2,
  NUMA_NODE: 4,
  RDONLY: 8,
  WRONLY: 16,
  RDONLY_PROG: 128,
  WRONLY_PROG: 256,
  MMAPABLE: 1024,
};
const [ANY, NOEXIST, EXIST, LOCK] = [0, 1, 2, 4];

export function mapContract(open: OpenSubject): void {
  let subject: Subject;
  let kernel: SubjectKernel;
  beforeEach(() => {
    subject = open();
    kernel = subject.kernel;
  });
  afterEach(() => subject.done());

  describe('MAP_CREATE', () => {
    it('refuses what no map can be', () => {
      expectCode('EINVAL', () => makeMap(kernel, 'array', { mapType: 0 }));
      expectCode('EINVAL', () => makeMap(kernel, 'array', { mapType: 999 }));
      expectCode('EINVAL', () => makeMap(kernel, 'array', { keySize: 8 }));
      expectCode('EINVAL', () => makeMap(kernel, 'array', { valueSize: 0 }));
      expectCode('EINVAL', () => makeMap(kernel, 'array', { maxEntries: 0 }));
      expectCode('EINVAL', () => makeMap(kernel, 'hash', { keySize: 0 }));
      expectCode('EINVAL', () => makeMap(kernel, 'hash', { maxEntries: 0 }));
      expectCode('EINVAL', () => makeMap(kernel, 'queue', { keySize: 4 }));
      expectCode('EINVAL', () => makeMap(kernel, 'lpm_trie', { keySize: 8 }));
      expectCode('EINVAL', () => makeMap(kernel, 'ringbuf', { keySize: 0, valueSize: 0, maxEntries: 100 }));
      expectCode('EINVAL', () => makeMap(kernel, 'ringbuf', { keySize: 4, valueSize: 0, maxEntries: 4096 }));
      expectCode('E2BIG', () => makeMap(kernel, 'array', { valueSize: 0xffff_ff00 }));
    });

    it('checks the flags of the type', () => {
      expectCode('EINVAL', () => makeMap(kernel, 'array', { mapFlags: F.NO_PREALLOC }));
      expectCode('EINVAL', () => makeMap(kernel, 'array', { mapFlags: 1 << 30 }));
      expectCode('EINVAL', () => makeMap(kernel, 'array', { mapFlags: F.RDONLY | F.WRONLY }));
      expectCode('EINVAL', () => makeMap(kernel, 'array', { mapFlags: F.RDONLY_PROG | F.WRONLY_PROG }));
      expectCode('ok', () => makeMap(kernel, 'hash', { mapFlags: F.NO_PREALLOC }));
      expectCode('ENOTSUPP', () => makeMap(kernel, 'lru_hash', { mapFlags: F.NO_PREALLOC }));
      expectCode('ok', () => makeMap(kernel, 'array', { mapFlags: F.MMAPABLE }));
    });

    it('checks the name', () => {
      expect(idOf(kernel, makeMap(kernel, 'array', { mapName: 'a_name.15_chars' }))).toBeGreaterThan(0);
      expectCode('EINVAL', () => makeMap(kernel, 'array', { mapName: 'with space' }));
      expectCode('EINVAL', () => makeMap(kernel, 'array', { mapName: 'sixteen_letters_' }));
    });

    it('gives what it was asked for as info', () => {
      const fd = makeMap(kernel, 'hash', {
        keySize: 12,
        valueSize: 5,
        maxEntries: 7,
        mapFlags: F.NO_PREALLOC,
        mapName: 'shape',
      });
      expect(kernel.objGetInfoByFd({ bpfFd: fd })).toMatchObject({
        kind: 'map',
        type: mapType('hash'),
        keySize: 12,
        valueSize: 5,
        maxEntries: 7,
        mapFlags: F.NO_PREALLOC,
        name: 'shape',
        btfId: 0,
        mapExtra: 0n,
      });
    });

    it('wants a template for maps of maps', () => {
      expectCode('EBADF', () => makeMap(kernel, 'array_of_maps', { innerMapFd: 9999 }));
      const inner = makeMap(kernel, 'array');
      const outer = makeMap(kernel, 'array_of_maps', { innerMapFd: inner });
      expect(outer).toBeGreaterThan(0);
      expectCode('EINVAL', () => makeMap(kernel, 'array_of_maps', { innerMapFd: outer }));
      const programs = makeMap(kernel, 'prog_array');
      expectCode('ENOTSUPP', () => makeMap(kernel, 'array_of_maps', { innerMapFd: programs }));
    });
  });

  describe('elements', () => {
    it('of an array are always there', () => {
      const mapFd = makeMap(kernel, 'array');
      expect(kernel.mapLookupElem({ mapFd, key: u32(0) })).toEqual(u32(0));
      kernel.mapUpdateElem({ mapFd, key: u32(3), value: u32(7) });
      expect(kernel.mapLookupElem({ mapFd, key: u32(3) })).toEqual(u32(7));
      expect(kernel.mapLookupElem({ mapFd, key: u32(4) })).toBeNull();
      expectCode('E2BIG', () => kernel.mapUpdateElem({ mapFd, key: u32(4), value: u32(7) }));
      expectCode('EEXIST', () => kernel.mapUpdateElem({ mapFd, key: u32(0), value: u32(7), flags: NOEXIST }));
      expectCode('ok', () => kernel.mapUpdateElem({ mapFd, key: u32(0), value: u32(7), flags: EXIST }));
      expectCode('EINVAL', () => kernel.mapUpdateElem({ mapFd, key: u32(0), value: u32(7), flags: 3 }));
      expectCode('EINVAL', () => kernel.mapUpdateElem({ mapFd, key: u32(0), value: u32(7), flags: LOCK }));
      expectCode('EINVAL', () => kernel.mapLookupElem({ mapFd, key: u32(0), flags: LOCK }));
      expectCode('EINVAL', () => kernel.mapLookupElem({ mapFd, key: u32(0), flags: NOEXIST }));
      expectCode('EINVAL', () => kernel.mapDeleteElem({ mapFd, key: u32(0) }));
      expectCode('ENOTSUPP', () => kernel.mapLookupAndDeleteElem({ mapFd, key: u32(0) }));
    });

    it('of a hash come and go', () => {
      const mapFd = makeMap(kernel, 'hash', { valueSize: 8, maxEntries: 2 });
      expect(kernel.mapLookupElem({ mapFd, key: u32(1) })).toBeNull();
      expectCode('ENOENT', () => kernel.mapDeleteElem({ mapFd, key: u32(1) }));
      expectCode('ENOENT', () => kernel.mapUpdateElem({ mapFd, key: u32(1), value: u64(1), flags: EXIST }));
      kernel.mapUpdateElem({ mapFd, key: u32(1), value: u64(1), flags: NOEXIST });
      expectCode('EEXIST', () => kernel.mapUpdateElem({ mapFd, key: u32(1), value: u64(2), flags: NOEXIST }));
      kernel.mapUpdateElem({ mapFd, key: u32(2), value: u64(2), flags: ANY });
      expectCode('E2BIG', () => kernel.mapUpdateElem({ mapFd, key: u32(3), value: u64(3) }));
      kernel.mapUpdateElem({ mapFd, key: u32(2), value: u64(22), flags: EXIST });
      expect(kernel.mapLookupAndDeleteElem({ mapFd, key: u32(2) })).toEqual(u64(22));
      expect(kernel.mapLookupAndDeleteElem({ mapFd, key: u32(2) })).toBeNull();
      kernel.mapDeleteElem({ mapFd, key: u32(1) });
      expect(kernel.mapGetNextKey({ mapFd, key: null })).toBeNull();
    });

    it('are walked key by key', () => {
      const array = makeMap(kernel, 'array');
      expect(fromU32(kernel.mapGetNextKey({ mapFd: array, key: null }))).toBe(0);
      expect(fromU32(kernel.mapGetNextKey({ mapFd: array, key: u32(0) }))).toBe(1);
      expect(kernel.mapGetNextKey({ mapFd: array, key: u32(3) })).toBeNull();
      // A key that is not there starts over.
      expect(fromU32(kernel.mapGetNextKey({ mapFd: array, key: u32(77) }))).toBe(0);
      const hash = makeMap(kernel, 'hash', { maxEntries: 40 });
      for (let i = 0; i < 40; i++) kernel.mapUpdateElem({ mapFd: hash, key: u32(i), value: u32(i) });
      const seen: number[] = [];
      for (let key = kernel.mapGetNextKey({ mapFd: hash, key: null }); key !== null; ) {
        seen.push(fromU32(key)!);
        key = kernel.mapGetNextKey({ mapFd: hash, key });
      }
      expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
      expectCode('ENOTSUPP', () => {
        const mapFd = makeMap(kernel, 'ringbuf', { keySize: 0, valueSize: 0, maxEntries: 4096 });
        kernel.mapGetNextKey({ mapFd, key: null });
      });
    });

    it('of queues and stacks have no keys', () => {
      const none = new Uint8Array();
      const queue = makeMap(kernel, 'queue', { keySize: 0, maxEntries: 2 });
      const stack = makeMap(kernel, 'stack', { keySize: 0, maxEntries: 2 });
      for (const mapFd of [queue, stack]) {
        expect(kernel.mapLookupAndDeleteElem({ mapFd, key: none })).toBeNull();
        kernel.mapUpdateElem({ mapFd, key: none, value: u32(1) });
        kernel.mapUpdateElem({ mapFd, key: none, value: u32(2) });
        expectCode('E2BIG', () => kernel.mapUpdateElem({ mapFd, key: none, value: u32(3) }));
        kernel.mapUpdateElem({ mapFd, key: none, value: u32(3), flags: EXIST });
        expectCode('EINVAL', () => kernel.mapUpdateElem({ mapFd, key: none, value: u32(3), flags: NOEXIST }));
        expectCode('EINVAL', () => kernel.mapGetNextKey({ mapFd, key: none }));
      }
      expect(fromU32(kernel.mapLookupElem({ mapFd: queue, key: none }))).toBe(2);
      expect(fromU32(kernel.mapLookupAndDeleteElem({ mapFd: queue, key: none }))).toBe(2);
      expect(fromU32(kernel.mapLookupAndDeleteElem({ mapFd: stack, key: none }))).toBe(3);
    });

    it('of per-CPU maps have one value a CPU', () => {
      const mapFd = makeMap(kernel, 'percpu_array', { valueSize: 4 });
      const { possibleCpus } = kernel.features();
      const value = new Uint8Array(8 * possibleCpus);
      for (let cpu = 0; cpu < possibleCpus; cpu++) value[8 * cpu] = cpu + 1;
      kernel.mapUpdateElem({ mapFd, key: u32(1), value });
      expect(kernel.mapLookupElem({ mapFd, key: u32(1) })).toEqual(value);
    });
  });

  describe('descriptors', () => {
    it('that are closed, wrong, or no maps', () => {
      const mapFd = makeMap(kernel, 'array');
      kernel.close(mapFd);
      expectCode('EBADF', () => kernel.mapUpdateElem({ mapFd, key: u32(0), value: u32(0) }));
      expectCode('EBADF', () => kernel.mapFreeze({ mapFd }));
      expectCode('EBADF', () => kernel.close(mapFd));
      expectCode('EINVAL', () => kernel.objPin({ pathname: `${subject.bpffs}/closed`, bpfFd: mapFd }));
      expectCode('EBADFD', () => kernel.objGetInfoByFd({ bpfFd: mapFd }));
    });

    it('read-only and write-only for user space', () => {
      const readOnly = makeMap(kernel, 'hash', { mapFlags: F.RDONLY });
      expectCode('EPERM', () => kernel.mapUpdateElem({ mapFd: readOnly, key: u32(0), value: u32(0) }));
      expectCode('EPERM', () => kernel.mapDeleteElem({ mapFd: readOnly, key: u32(0) }));
      expect(kernel.mapLookupElem({ mapFd: readOnly, key: u32(0) })).toBeNull();
      expectCode('EPERM', () => kernel.mapFreeze({ mapFd: readOnly }));
      const writeOnly = makeMap(kernel, 'hash', { mapFlags: F.WRONLY });
      kernel.mapUpdateElem({ mapFd: writeOnly, key: u32(0), value: u32(0) });
      expectCode('EPERM', () => kernel.mapLookupElem({ mapFd: writeOnly, key: u32(0) }));
      expectCode('EPERM', () => kernel.mapGetNextKey({ mapFd: writeOnly, key: null }));
      expectCode('EPERM', () => kernel.mapLookupBatch({ mapFd: writeOnly, count: 1 }));
      kernel.mapDeleteElem({ mapFd: writeOnly, key: u32(0) });
    });

    it('opened again by id with fewer rights', () => {
      const map = makeMap(kernel, 'array');
      const id = idOf(kernel, map);
      const readOnly = kernel.objGetFdById({ kind: 'map', id, openFlags: F.RDONLY });
      expectCode('EPERM', () => kernel.mapUpdateElem({ mapFd: readOnly, key: u32(0), value: u32(0) }));
      expect(kernel.mapLookupElem({ mapFd: readOnly, key: u32(0) })).toEqual(u32(0));
      expectCode('EINVAL', () => kernel.objGetFdById({ kind: 'map', id, openFlags: F.RDONLY | F.WRONLY }));
      expectCode('EINVAL', () => kernel.objGetFdById({ kind: 'map', id, openFlags: 1 << 20 }));
    });
  });

  describe('MAP_FREEZE', () => {
    it('ends writing by commands', () => {
      const mapFd = makeMap(kernel, 'array');
      kernel.mapUpdateElem({ mapFd, key: u32(0), value: u32(5) });
      kernel.mapFreeze({ mapFd });
      expectCode('EPERM', () => kernel.mapUpdateElem({ mapFd, key: u32(0), value: u32(6) }));
      expectCode('EPERM', () => kernel.mapUpdateBatch({ mapFd, keys: [u32(0)], values: [u32(6)] }));
      expect(kernel.mapLookupElem({ mapFd, key: u32(0) })).toEqual(u32(5));
      // A frozen map gives nobody the right to write, which freezing needs.
      expectCode('EPERM', () => kernel.mapFreeze({ mapFd }));
      // Opened anew it is frozen, too.
      const again = kernel.objGetFdById({ kind: 'map', id: idOf(kernel, mapFd) });
      expectCode('EPERM', () => kernel.mapUpdateElem({ mapFd: again, key: u32(0), value: u32(6) }));
    });
  });

  describe('batches', () => {
    const fill = (type: string, count: number, attr: object = {}) => {
      const mapFd = makeMap(kernel, type, { maxEntries: count, ...attr });
      const keys = Array.from({ length: count }, (_, i) => u32(i));
      expect(kernel.mapUpdateBatch({ mapFd, keys, values: keys.map((_, i) => u32(100 + i)) })).toBe(count);
      return mapFd;
    };
    const walk = (mapFd: number, count: number, limit = 100) => {
      const found: [number, number][] = [];
      const sizes: number[] = [];
      let inBatch: Uint8Array | null = null;
      for (let i = 0; i < limit; i++) {
        const batch = kernel.mapLookupBatch({ mapFd, inBatch, count });
        sizes.push(batch.keys.length);
        batch.keys.forEach((key, at) => {
          found.push([fromU32(key)!, fromU32(batch.values[at])!]);
        });
        inBatch = batch.outBatch;
        if (inBatch === null) break;
      }
      return { found: found.sort((a, b) => a[0] - b[0]), sizes };
    };

    it('walk an array in pieces', () => {
      const mapFd = fill('array', 10);
      const { found } = walk(mapFd, 4);
      expect(found).toEqual(Array.from({ length: 10 }, (_, i) => [i, 100 + i]));
    });

    it('walk a hash in pieces', () => {
      const mapFd = fill('hash', 100);
      const { found } = walk(mapFd, 40);
      expect(found).toEqual(Array.from({ length: 100 }, (_, i) => [i, 100 + i]));
    });

    it('say that the end is reached', () => {
      const mapFd = fill('hash', 5);
      const batch = kernel.mapLookupBatch({ mapFd, count: 5 });
      expect(batch.keys).toHaveLength(5);
      expect(batch.outBatch).toBeNull();
      const empty = makeMap(kernel, 'hash');
      expect(kernel.mapLookupBatch({ mapFd: empty, count: 3 })).toEqual({
        keys: [],
        values: [],
        outBatch: null,
      });
      expect(kernel.mapLookupBatch({ mapFd, count: 0 }).keys).toEqual([]);
    });

    it('take elements out', () => {
      const mapFd = fill('hash', 6);
      const batch = kernel.mapLookupAndDeleteBatch({ mapFd, count: 6 });
      expect(batch.keys.map(fromU32).sort()).toEqual([0, 1, 2, 3, 4, 5]);
      expect(kernel.mapGetNextKey({ mapFd, key: null })).toBeNull();
    });

    it('update and delete', () => {
      const mapFd = fill('hash', 6);
      expect(kernel.mapDeleteBatch({ mapFd, keys: [u32(1), u32(3)] })).toBe(2);
      expect(kernel.mapLookupElem({ mapFd, key: u32(3) })).toBeNull();
      expectCode('ENOENT', () => kernel.mapDeleteBatch({ mapFd, keys: [u32(0), u32(1), u32(2)] }));
      // Until the one that failed they were done.
      expect(kernel.mapLookupElem({ mapFd, key: u32(0) })).toBeNull();
      expect(kernel.mapLookupElem({ mapFd, key: u32(2) })).not.toBeNull();
      expect(
        code(() => kernel.mapUpdateBatch({ mapFd, keys: [u32(9)], values: [u32(1)], elemFlags: LOCK })),
      ).toBe('EINVAL');
    });

    it('refuse flags and types without batches', () => {
      const mapFd = fill('array', 2);
      expectCode('EINVAL', () => kernel.mapLookupBatch({ mapFd: fill('hash', 2), count: 1, flags: 1 }));
      expectCode('ok', () => kernel.mapLookupBatch({ mapFd, count: 1, flags: 1 }));
      expectCode('EINVAL', () => kernel.mapLookupBatch({ mapFd, count: 1, elemFlags: NOEXIST }));
      expectCode('EINVAL', () => kernel.mapLookupBatch({ mapFd, count: 1, elemFlags: LOCK }));
      expectCode('ENOTSUPP', () => kernel.mapLookupAndDeleteBatch({ mapFd, count: 1 }));
      const queue = makeMap(kernel, 'queue', { keySize: 0 });
      expectCode('ENOTSUPP', () => kernel.mapLookupBatch({ mapFd: queue, count: 1 }));
      expectCode('ENOTSUPP', () =>
        kernel.mapUpdateBatch({ mapFd: queue, keys: [new Uint8Array()], values: [u32(1)] }),
      );
      // A token that is no key starts over.
      expect(kernel.mapLookupBatch({ mapFd, inBatch: u32(99), count: 1 }).keys).toEqual([u32(0)]);
    });
  });
}
