import { expect, it } from 'vitest';
import { IMPLEMENTED_MAP_TYPES } from '../../src/maps/index.ts';
import { type MapContract, mapContract } from './contract.ts';
import { type TestKernel, u32, u64 } from './env.ts';

const both = (i: number): Uint8Array => new Uint8Array([...u64(i + 1), ...u64(100 + i)]);
const inner = (kernel: TestKernel) => {
  const template = kernel.create('array', { maxEntries: 2 });
  kernel.maps.set(3, template);
  kernel.maps.set(4, kernel.create('array', { maxEntries: 2 }));
  kernel.maps.set(5, kernel.create('array', { maxEntries: 2 }));
  return { inner: template };
};
const HASHED = { key: u32, value: u64, sizes: { keySize: 4, valueSize: 8, maxEntries: 8 } };
const PER_CPU = { ...HASHED, value: both };
const prefix = (i: number): Uint8Array => Uint8Array.of(8 + i, 0, 0, 0, 10 + 64 * i, 0, 0, 0);

const CONTRACTS: readonly MapContract[] = [
  { type: 'array', ...HASHED, fixed: true },
  { type: 'percpu_array', ...PER_CPU, fixed: true },
  { type: 'hash', ...HASHED },
  { type: 'lru_hash', ...HASHED },
  { type: 'percpu_hash', ...PER_CPU },
  { type: 'lru_percpu_hash', ...PER_CPU },
  {
    type: 'lpm_trie',
    sizes: { keySize: 8, valueSize: 8, maxEntries: 8, flags: 1 },
    key: prefix,
    value: u64,
  },
  {
    type: 'prog_array',
    sizes: { valueSize: 4, maxEntries: 4 },
    key: u32,
    value: (i) => u32(100 + i),
    readsBack: 'other',
  },
  {
    type: 'perf_event_array',
    sizes: { valueSize: 4, maxEntries: 4 },
    key: u32,
    value: (i) => u32(100 + i),
    readsBack: 'no',
  },
  {
    type: 'array_of_maps',
    sizes: { valueSize: 4, maxEntries: 4 },
    prepare: inner,
    key: u32,
    value: (i) => u32(3 + i),
    readsBack: 'other',
  },
  {
    type: 'hash_of_maps',
    sizes: { valueSize: 4, maxEntries: 4 },
    prepare: inner,
    key: u32,
    value: (i) => u32(3 + i),
    readsBack: 'other',
  },
  {
    type: 'devmap',
    ...HASHED,
    sizes: { valueSize: 8, maxEntries: 8 },
    value: (i) => u64(i + 1),
    slots: true,
  },
  { type: 'devmap_hash', ...HASHED, value: (i) => u64(i + 1) },
  {
    type: 'cpumap',
    sizes: { valueSize: 4, maxEntries: 8 },
    prepare: (kernel) => ({ maxEntries: kernel.ctx.possibleCpus }),
    key: (i) => u32(i % 2),
    value: () => u32(64),
    slots: true,
  },
  { type: 'queue', sizes: { keySize: 0 } },
  { type: 'stack', sizes: { keySize: 0 } },
  // Programs write it: test/helpers/stack.test.ts.
  { type: 'stack_trace', sizes: { valueSize: 80, maxEntries: 8 } },
  { type: 'ringbuf', sizes: { keySize: 0, valueSize: 0, maxEntries: 4096 } },
  { type: 'arena', sizes: { keySize: 0, valueSize: 0, maxEntries: 4, flags: 1 << 10 } },
];

for (const contract of CONTRACTS) mapContract(contract);

it('every implemented type has its contract', () => {
  expect(CONTRACTS.map(({ type }) => type).sort()).toEqual([...IMPLEMENTED_MAP_TYPES].sort());
});
