/**
 * Random operation sequences on the embedded maps and on the kernel's own: results and errnos must be equal. The order in
 * which hash maps are walked is each kernel's own; there the sets of keys are compared.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EmbeddedMap, RingBufMap } from '../../src/maps/index.ts';
import { helperByName, mapTypeByName } from '../../src/spec/index.ts';
import { BPF_CMD } from '../../src/uapi/index.ts';
import { alignUp, fromHex, toHex } from '../../src/util/index.ts';
import { type MapSizes, TestKernel } from '../maps/env.ts';
import { whyNoProbe } from './probe.ts';
import { HostBpf, type HostCommand, type HostResult } from './server.ts';

const why = whyNoProbe();
if (why !== null) console.log(`skipped: maps against the kernel: ${why}`);

/** A small generator with a seed: the same sequences on every run. */
function randomizer(seed: number): (limit: number) => number {
  let state = seed >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % limit;
  };
}

interface Case extends MapSizes {
  readonly type: string;
  /** Order of keys is the kernel's business. */
  readonly unordered?: true;
  /** Keys are drawn from so many; default max_entries + 3. */
  readonly keys?: number;
  readonly lpm?: true;
  /** Values whose first word is one of these, and 0 otherwise. */
  readonly words?: readonly number[];
}

const NO_PREALLOC = 1;
const CASES: readonly Case[] = [
  { type: 'array', keySize: 4, valueSize: 8, maxEntries: 5 },
  { type: 'array', keySize: 4, valueSize: 13, maxEntries: 3 },
  { type: 'percpu_array', keySize: 4, valueSize: 8, maxEntries: 4 },
  { type: 'percpu_array', keySize: 4, valueSize: 5, maxEntries: 3 },
  { type: 'hash', keySize: 4, valueSize: 8, maxEntries: 6, unordered: true },
  { type: 'hash', keySize: 8, valueSize: 4, maxEntries: 6, flags: NO_PREALLOC, unordered: true },
  { type: 'hash', keySize: 16, valueSize: 3, maxEntries: 7, unordered: true },
  { type: 'hash', keySize: 7, valueSize: 40, maxEntries: 7, flags: NO_PREALLOC, unordered: true },
  { type: 'hash', keySize: 1, valueSize: 1, maxEntries: 3, unordered: true },
  { type: 'percpu_hash', keySize: 4, valueSize: 8, maxEntries: 6, unordered: true },
  { type: 'percpu_hash', keySize: 8, valueSize: 6, maxEntries: 4, flags: NO_PREALLOC, unordered: true },
  // Eviction is each kernel's own: the maps never get full.
  { type: 'lru_hash', keySize: 4, valueSize: 8, maxEntries: 200, keys: 9, unordered: true },
  { type: 'lru_percpu_hash', keySize: 8, valueSize: 8, maxEntries: 200, keys: 9, unordered: true },
  { type: 'queue', keySize: 0, valueSize: 8, maxEntries: 3 },
  { type: 'queue', keySize: 0, valueSize: 3, maxEntries: 1 },
  { type: 'stack', keySize: 0, valueSize: 8, maxEntries: 3 },
  { type: 'stack', keySize: 0, valueSize: 12, maxEntries: 2 },
  { type: 'lpm_trie', keySize: 8, valueSize: 4, maxEntries: 6, flags: NO_PREALLOC, lpm: true },
  { type: 'lpm_trie', keySize: 5, valueSize: 8, maxEntries: 8, flags: NO_PREALLOC, lpm: true },
  { type: 'lpm_trie', keySize: 20, valueSize: 8, maxEntries: 20, flags: NO_PREALLOC, lpm: true },
  { type: 'lpm_trie', keySize: 7, valueSize: 2, maxEntries: 12, flags: NO_PREALLOC, lpm: true },
  { type: 'devmap', keySize: 4, valueSize: 4, maxEntries: 3, words: [0, 1, 1, 999] },
  { type: 'devmap', keySize: 4, valueSize: 8, maxEntries: 3, words: [0, 1, 1, 999] },
  { type: 'devmap_hash', keySize: 4, valueSize: 8, maxEntries: 3, words: [0, 1, 1, 999], unordered: true },
  { type: 'cpumap', keySize: 4, valueSize: 4, maxEntries: 4, words: [0, 1, 64, 16384, 16385] },
];

type Operation = 'lookup' | 'update' | 'delete' | 'next' | 'lookup_delete';
const COMMANDS: Record<Operation, number> = {
  lookup: BPF_CMD.BPF_MAP_LOOKUP_ELEM,
  update: BPF_CMD.BPF_MAP_UPDATE_ELEM,
  delete: BPF_CMD.BPF_MAP_DELETE_ELEM,
  next: BPF_CMD.BPF_MAP_GET_NEXT_KEY,
  lookup_delete: BPF_CMD.BPF_MAP_LOOKUP_AND_DELETE_ELEM,
};

interface Step {
  readonly op: Operation;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array;
  readonly flags: number;
}

function keyOf(test: Case, random: (limit: number) => number): Uint8Array {
  const key = new Uint8Array(test.keySize ?? 4);
  if (test.lpm) {
    const bits = (key.length - 4) * 8;
    key[0] = random(12) === 0 ? bits + random(3) : random(bits + 1);
    // Few distinct bits, so that prefixes meet; what is beyond the prefix is left in the key.
    for (let i = 4; i < key.length; i++) key[i] = [0, 0x80, 0xc0, 0x81, 0xff][random(5)];
    return key;
  }
  const n = random(test.keys ?? (test.maxEntries ?? 4) + 3);
  for (let i = 0; i < key.length; i++)
    key[i] = i === 0 ? n : test.type.includes('array') || test.words ? 0 : (n * 37 * i) & 255;
  if (key.length === 4 && random(40) === 0) key.fill(255);
  return key;
}

function steps(test: Case, count: number, seed: number, valueSize: number): Step[] {
  const random = randomizer(seed);
  const keyless = (test.keySize ?? 4) === 0;
  const ops: Operation[] = ['lookup', 'update', 'update', 'update', 'delete', 'next', 'lookup_delete'];
  return Array.from({ length: count }, () => {
    const op = ops[random(ops.length)];
    const key = keyless && op !== 'next' ? new Uint8Array(0) : keyOf(test, random);
    const value = Uint8Array.from({ length: valueSize }, () => (test.words ? 0 : random(256)));
    if (test.words) new DataView(value.buffer).setUint32(0, test.words[random(test.words.length)], true);
    const flags =
      op === 'update' && random(2) === 0 ? [1, 2, 3, 4, 0, 8][random(6)] : random(30) === 0 ? 4 : 0;
    return { op, key: op === 'next' && random(6) === 0 ? null : key, value, flags };
  });
}

/** What the command does before it asks the map: kernel/bpf/syscall.c. */
function embedded(map: EmbeddedMap, step: Step): { ret: number; out: string } {
  const EINVAL = -22;
  const key = step.key ?? new Uint8Array(0);
  let result: Uint8Array | number;
  switch (step.op) {
    case 'lookup':
      result = step.flags !== 0 ? EINVAL : map.lookup(key, step.flags);
      break;
    case 'update':
      // BPF_F_LOCK on a value without a lock.
      result = (step.flags & 4) !== 0 ? EINVAL : map.update(key, step.value, step.flags);
      break;
    case 'delete':
      result = step.flags !== 0 ? EINVAL : map.delete(key);
      break;
    case 'next':
      result = step.flags !== 0 ? EINVAL : map.nextKey(step.key);
      break;
    case 'lookup_delete':
      result = step.flags !== 0 ? EINVAL : map.lookupAndDelete(key, step.flags);
      break;
  }
  return typeof result === 'number' ? { ret: result, out: '' } : { ret: 0, out: toHex(result) };
}

/** All keys in order, by walking. */
async function hostKeys(host: HostBpf, fd: number, keySize: number): Promise<string[]> {
  const keys: string[] = [];
  for (let key: string | null = null; keys.length < 1000; ) {
    const [next]: HostResult[] = await host.run([{ op: 'elem', cmd: COMMANDS.next, fd, key, out: keySize }]);
    if (next.ret < 0) break;
    key = next.out;
    keys.push(key);
  }
  return keys;
}

function embeddedKeys(map: EmbeddedMap): string[] {
  const keys: string[] = [];
  for (let key: Uint8Array | null = null; keys.length < 1000; ) {
    const next: Uint8Array | number = map.nextKey(key);
    if (typeof next === 'number') break;
    key = next;
    keys.push(toHex(key));
  }
  return keys;
}

describe.skipIf(why !== null)('maps behave as the kernel does', () => {
  let host: HostBpf;
  beforeAll(async () => {
    host = await HostBpf.open();
  });
  afterAll(() => host?.close());

  const ROUNDS = Number(process.env.TSBPF_MAP_ROUNDS ?? 3);
  for (const [index, test] of CASES.entries()) {
    const title = `${test.type} key ${test.keySize} value ${test.valueSize} max ${test.maxEntries} flags ${test.flags ?? 0}`;
    it(title, async () => {
      const row = mapTypeByName(test.type)!;
      for (let round = 0; round < ROUNDS; round++) {
        const kernel = new TestKernel(host.cpus);
        // As on the machine: the loopback interface alone, as far as these values go.
        kernel.interfaceExists = (ifindex) => ifindex === 1;
        const map = kernel.create(test.type, test);
        const [created] = await host.run([
          {
            op: 'create',
            type: row.id,
            key: test.keySize!,
            value: test.valueSize!,
            max: test.maxEntries!,
            flags: test.flags ?? 0,
          },
        ]);
        const fd = created.ret;
        expect(fd).toBeGreaterThan(0);
        const valueSize = row.perCpu ? alignUp(test.valueSize!, 8) * host.cpus : test.valueSize!;
        const sequence = steps(test, 400, 1 + index * 1000 + round, valueSize);
        const commands = sequence.map(
          (step): HostCommand => ({
            op: 'elem',
            cmd: COMMANDS[step.op],
            fd,
            key: step.key === null || step.key.length === 0 ? null : toHex(step.key),
            value: step.op === 'update' ? toHex(step.value) : '',
            out:
              step.op === 'next'
                ? Math.max(1, test.keySize!)
                : step.op === 'update' || step.op === 'delete'
                  ? 0
                  : valueSize,
            flags: step.flags,
          }),
        );
        const answers = await host.run(commands);
        for (const [at, step] of sequence.entries()) {
          const ours = embedded(map, step);
          const theirs = answers[at];
          const out = step.op === 'update' || step.op === 'delete' ? '' : theirs.out;
          const what = `step ${at} of round ${round}: ${step.op} ${toHex(step.key ?? new Uint8Array(0))} flags ${step.flags}`;
          if (test.unordered && step.op === 'next' && ours.ret >= 0 && theirs.ret >= 0) continue;
          // At the end of one walk, in the middle of the other.
          if (test.unordered && step.op === 'next' && step.flags === 0) continue;
          expect({ what, ret: ours.ret, out: ours.out }).toEqual({ what, ret: theirs.ret, out });
        }
        if (test.keySize! > 0) {
          const theirs = await hostKeys(host, fd, test.keySize!);
          const ours = embeddedKeys(map);
          if (test.unordered) {
            theirs.sort();
            ours.sort();
          }
          expect(ours).toEqual(theirs);
          expect(ours.every((key) => fromHex(key) !== null)).toBe(true);
        }
        map.free();
        await host.run([{ op: 'close', fd }]);
      }
    });
  }

  it('ring buffer: records, positions, when it is full', async () => {
    const SIZE = 4096;
    const random = randomizer(77);
    const kernel = new TestKernel(host.cpus);
    const map = kernel.create('ringbuf', { keySize: 0, valueSize: 0, maxEntries: SIZE }) as RingBufMap;
    const [{ ret: fd }] = await host.run([
      { op: 'create', type: map.info.type.id, key: 0, value: 0, max: SIZE },
    ]);
    const { consumer, producer, data } = map.areas;
    const output = helperByName('bpf_ringbuf_output')!.id;
    const from = kernel.memory.allocate(SIZE, 'test');
    for (let step = 0; step < 150; step++) {
      const bytes = Uint8Array.from({ length: 1 + random(random(5) === 0 ? 3000 : 300) }, () => random(256));
      kernel.memory.write(from, bytes);
      const ours = kernel.ctx.module.wasm.ringbuf_output(map.layout.address, from, bytes.length, 0, 0);
      const position = Number(kernel.memory.readU64(producer));
      const consume = random(4) === 0 ? { consume: position } : {};
      const [theirs, area] = await host.run([
        {
          op: 'helper',
          type: 1,
          id: output,
          args: [{ fd }, { buf: toHex(bytes) }, bytes.length, 0],
          data: '00'.repeat(64),
        },
        { op: 'ring', fd, size: SIZE, ...consume },
      ]);
      expect([step, ours, position]).toEqual([step, theirs.ret, area.producer]);
      if ('consume' in consume) kernel.memory.writeU64(consumer, BigInt(position));
      const mine = kernel.memory.read(data, SIZE);
      const kernels = fromHex(area.out)!;
      // Where a record says it lies is counted in pages from the map's header, which is each kernel's own.
      const end = Math.min(position, SIZE);
      for (let at = 0; position <= SIZE && at < end; ) {
        const header = new DataView(mine.buffer).getUint32(at, true);
        mine.fill(0, at + 4, at + 8);
        kernels.fill(0, at + 4, at + 8);
        at += (header + 15) & ~7;
      }
      if (position <= SIZE) expect(toHex(mine)).toBe(toHex(kernels));
    }
    await host.run([{ op: 'close', fd }]);
  });
});
