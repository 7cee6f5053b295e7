/** Tables of the BCC dialect and what user space does with them, on the embedded kernel with both engines. */
import { describe, expect, it } from 'vitest';
import { BPF, BPF_EXIST } from '../../src/bcc/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { fireProbe } from './support.ts';

for (const jit of [1, 0])
  describe(`bpf_jit_enable = ${jit}`, () => {
    const machine = () => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      return kernel;
    };
    const open = (text: string, more: object = {}) => {
      const kernel = machine();
      const printed: string[] = [];
      const write = (line: string) => {
        printed.push(line);
      };
      return { kernel, printed, b: new BPF({ text, kernel, write, ...more }) };
    };

    it('has maps of maps: look-ups in the inner table that user space has put there', () => {
      const { kernel, b } = open(`
        BPF_TABLE("hash", int, int, ex1, 16);
        BPF_TABLE("hash", int, int, ex2, 16);
        BPF_ARRAY_OF_MAPS(by_index, "ex1", 4);
        BPF_HASH_OF_MAPS(by_key, u64, "ex1", 4);
        BPF_HASH(found, int, int);
        int kprobe__look(struct pt_regs *ctx, int index, u64 key) {
          int k = 7;
          void *inner = by_index.lookup(&index);
          int *value = inner ? bpf_map_lookup_elem(inner, &k) : 0;
          if (value) found.update(&index, value);
          void *other = by_key.lookup(&key);
          value = other ? bpf_map_lookup_elem(other, &k) : 0;
          int at = 100 + index;
          if (value) found.update(&at, value);
          return 0;
        }`);
      b.get('ex1').set(7, 11);
      b.get('ex2').set(7, 22);
      b.get('by_index').set(1, b.get('ex1')).set(2, b.get('ex2'));
      b.get('by_key').set(55, b.get('ex2'));
      fireProbe(kernel, 'look', [1n, 55n]);
      fireProbe(kernel, 'look', [2n, 56n]);
      fireProbe(kernel, 'look', [3n, 56n]);
      expect(new Map(b.get('found'))).toEqual(
        new Map([
          [1, 11],
          [101, 22],
          [2, 22],
        ]),
      );
      expect(() => open('BPF_ARRAY_OF_MAPS(m, "nowhere", 4);')).toThrow(/'m' holds tables like 'nowhere'/);
    });

    it('pins tables, and takes what is pinned', () => {
      const kernel = machine();
      const text = `
        BPF_TABLE_PINNED("hash", u32, u64, ids, 16, "/sys/fs/bpf/bcc/ids");
        int kprobe__id(struct pt_regs *ctx, u32 id) { ids.increment(id); return 0; }`;
      const first = new BPF({ kernel, text });
      fireProbe(kernel, 'id', [3n]);
      first.cleanup();
      const second = new BPF({ kernel, text });
      fireProbe(kernel, 'id', [3n]);
      expect([...second.get('ids')]).toEqual([[3, 2]]);
      second.cleanup();
      // The kind is that of what is pinned; keys and values must be the same.
      const array = new BPF({ kernel, text: text.replace('"hash"', '"lru_hash"') });
      expect(array.get('ids').kind).toBe('hash');
      array.cleanup();
      expect(() => new BPF({ kernel, text: text.replace('u32, u64', 'u64, u64') })).toThrow(
        /'ids': what is pinned at .* has keys of 4 and values of 8 bytes/,
      );
    });

    it('lends tables to other programs', () => {
      const kernel = machine();
      const owner = new BPF({ kernel, text: 'BPF_TABLE_PUBLIC("hash", u32, u64, seen, 64);' });
      lendsNothingElsewhere(kernel);
      const user = new BPF({
        kernel,
        text: `
          BPF_TABLE("extern", u32, u64, seen, 0);
          int kprobe__see(struct pt_regs *ctx, u32 id) { seen.increment(id); return 0; }`,
      });
      fireProbe(kernel, 'see', [9n]);
      expect([...owner.get('seen')]).toEqual([[9, 1]]);
      expect(user.get('seen').maxEntries).toBe(64);
      owner.cleanup();
      // Who has borrowed it keeps it; nobody else gets it.
      fireProbe(kernel, 'see', [9n]);
      expect([...user.get('seen')]).toEqual([[9, 2]]);
      expect(() => new BPF({ kernel, text: 'BPF_TABLE("extern", u32, u64, seen, 0);' })).toThrow(
        /no program of this process lends a table 'seen'/,
      );
    });

    it('has every kind that BPF_TABLE knows', () => {
      const { b } = open(`
        BPF_TABLE("histogram", int, u64, h1, 8);
        BPF_TABLE("histogram", u64, u64, h2, 8);
        BPF_F_TABLE("lpm_trie", u64, u64, trie, 8, BPF_F_NO_PREALLOC);
        BPF_TABLE("percpu_hash", u32, u64, ph, 8);
        BPF_TABLE("lru_percpu_hash", u32, u64, lph, 8);
        BPF_TABLE("stacktrace", int, struct bpf_stacktrace, stacks, roundup_pow_of_two(1000));
        BPF_TABLE_SHARED("array", int, u64, shared, 8);
        BPF_QUEUESTACK("stack", st, u32, 8, 0);
        BPF_QUEUESTACK_SHARED("queue", q, u32, 8, 0);
        BPF_XSKMAP(xsks, 4);
        BPF_DEVMAP(devs, 4);
        BPF_CPUMAP(cpus, 1);
        BPF_SOCKHASH(socks);
        BPF_SOCKMAP(sm, 4);`);
      const kinds = Object.fromEntries(b.tables.map((name) => [name, b.get(name).kind]));
      expect(kinds).toEqual({
        h1: 'array',
        h2: 'hash',
        trie: 'lpm_trie',
        ph: 'percpu_hash',
        lph: 'lru_percpu_hash',
        stacks: 'stack_trace',
        shared: 'array',
        st: 'stack',
        q: 'queue',
        xsks: 'xskmap',
        devs: 'devmap',
        cpus: 'cpumap',
        socks: 'sockhash',
        sm: 'sockmap',
      });
      expect(b.get('stacks').maxEntries).toBe(1024);
      expect(() => open('BPF_TABLE("hush", int, int, t, 1);')).toThrow(/unknown kind of table 'hush'/);
    });

    it('does batches', () => {
      const { b } = open('BPF_HASH(t, u32, u64, 100); BPF_ARRAY(a, u32, 4);');
      const t = b.get('t');
      expect(t.itemsUpdateBatch([1, 2, 3, 4, 5].map((n) => [n, n * n] as const))).toBe(5);
      expect(new Map(t.itemsLookupBatch())).toEqual(new Map([1, 2, 3, 4, 5].map((n) => [n, n * n])));
      expect(t.itemsDeleteBatch([2, 4])).toBe(2);
      expect(new Set(t.keys())).toEqual(new Set([1, 3, 5]));
      expect(new Map(t.itemsLookupAndDeleteBatch())).toEqual(new Map([1, 3, 5].map((n) => [n, n * n])));
      expect(t.size).toBe(0);
      t.set(1, 1).set(2, 2);
      expect(t.itemsDeleteBatch()).toBe(2);
      expect(t.itemsDeleteBatch()).toBe(0);
      expect(() => t.itemsDeleteBatch([77])).toThrow(expect.objectContaining({ code: 'ENOENT' }));
      b.get('a').itemsUpdateBatch([
        [0, 5],
        [3, 6],
      ]);
      expect([...b.get('a').values()]).toEqual([5, 0, 0, 6]);
    });

    it('walks keys, clears entries, zeroes values', () => {
      const { b } = open('BPF_HASH(t, u32); BPF_ARRAY(a, u64, 2);');
      const t = b.get('t').set(1, 10).set(2, 20);
      const first = t.next();
      const second = t.next(first as number);
      expect(new Set([first, second])).toEqual(new Set([1, 2]));
      expect(t.next(second as number)).toBeUndefined();
      t.clearItem(1);
      expect([...t]).toEqual([[2, 20]]);
      t.zero();
      expect([...t]).toEqual([[2, 0]]);
      const a = b.get('a').set(0, 4).set(1, 5);
      a.clearItem(0);
      expect([...a.values()]).toEqual([0, 5]);
      a.clear();
      expect([...a.values()]).toEqual([0, 0]);
      expect(a.size).toBe(2);
    });

    it('gives stacks by their id, the innermost frame first', () => {
      const { kernel, b } = open(`
        BPF_STACK_TRACE(stacks, 64);
        struct key_t { int user; int kernel; };
        BPF_HASH(counts, struct key_t);
        int kprobe__here(struct pt_regs *ctx) {
          struct key_t key = {};
          key.kernel = stacks.get_stackid(ctx, 0);
          key.user = stacks.get_stackid(ctx, BPF_F_USER_STACK);
          counts.increment(key);
          return 0;
        }`);
      const stacks = {
        kernel: [0xffff_ffff_8100_0010n, 0xffff_ffff_8100_0020n],
        user: [0x40_1000n, 0x40_2000n],
      };
      for (let i = 0; i < 3; i++) fireProbe(kernel, 'here', [], { stacks });
      const [[key, count]] = b.get('counts').items() as [[{ user: number; kernel: number }, number]];
      expect(count).toBe(3);
      expect(b.get('stacks').walk(key.kernel)).toEqual(stacks.kernel);
      expect(b.get('stacks').walk(key.user)).toEqual(stacks.user);
      expect(b.get('stacks').walk(-14)).toEqual([]);
      expect(() => b.get('counts').walk(0)).toThrow(/has no stacks/);
    });

    it('prints histograms by buckets, and as JSON', () => {
      const { kernel, b, printed } = open(`
        struct key_t { u32 disk; u64 slot; };
        BPF_HISTOGRAM(dist, struct key_t);
        int kprobe__io(struct pt_regs *ctx, u32 disk, u64 size) {
          struct key_t key = { .disk = disk, .slot = bpf_log2l(size) };
          dist.atomic_increment(key);
          return 0;
        }`);
      for (const [disk, size] of [
        [1n, 1n],
        [2n, 4n],
        [1n, 5n],
      ] as const)
        fireProbe(kernel, 'io', [disk, size]);
      const options = { sectionHeader: 'disk', bucketSort: (list: unknown[]) => list.sort() as never };
      expect(b.get('dist').jsonHist({ ...options, valueType: 'bytes' })).toEqual([
        {
          bucket: 1,
          valueType: 'bytes',
          data: [
            { start: 0, end: 1, count: 1 },
            { start: 2, end: 3, count: 0 },
            { start: 4, end: 7, count: 1 },
          ],
        },
        {
          bucket: 2,
          valueType: 'bytes',
          data: [
            { start: 0, end: 1, count: 0 },
            { start: 2, end: 3, count: 0 },
            { start: 4, end: 7, count: 1 },
          ],
        },
      ]);
      b.get('dist').printLog2Hist('bytes', options);
      expect(printed.join('')).toContain('\ndisk = 1\n     bytes               : count     distribution\n');
      expect(printed.join('')).toContain('\ndisk = 2\n');
      b.get('dist').printJsonHist('bytes', options);
      expect(JSON.parse(printed.at(-1)!)).toHaveLength(2);
    });

    it('counts lost events of a perf buffer', () => {
      const { kernel, b } = open(`
        BPF_PERF_OUTPUT(events);
        struct big_t { u64 n; char room[240]; };
        int kprobe__emit(struct pt_regs *ctx, u64 n) {
          struct big_t big = { .n = n };
          events.perf_submit(ctx, &big, sizeof(big));
          return 0;
        }`);
      let lost = 0n;
      const seen: number[] = [];
      b.get('events').openPerfBuffer((event) => seen.push((event as { n: number }).n), {
        pageCount: 1,
        onLost: (count) => {
          lost += count;
        },
      });
      for (let n = 0n; n < 40n; n++) fireProbe(kernel, 'emit', [n]);
      b.perfBufferConsume();
      fireProbe(kernel, 'emit', [100n]);
      b.perfBufferConsume();
      expect(seen.at(-1)).toBe(100);
      expect(Number(lost) + seen.length).toBe(41);
      expect(lost).toBeGreaterThan(0n);
    });

    it('counts events for which a ring buffer had no room', () => {
      const { kernel, b } = open(`
        BPF_RINGBUF_OUTPUT(made, 1);
        BPF_RINGBUF_OUTPUT(sent, 1);
        struct big_t { u64 n; char room[240]; };
        int kprobe__emit(struct pt_regs *ctx, u64 n) {
          struct big_t *big = made.ringbuf_reserve(sizeof(struct big_t));
          if (big) {
            big->n = n;
            made.ringbuf_submit(big, 0);
          }
          struct big_t other = { .n = n };
          sent.ringbuf_output(&other, sizeof(other), 0);
          return 0;
        }`);
      const lost: Record<string, bigint> = {};
      const seen: Record<string, number> = {};
      for (const name of ['made', 'sent'])
        b.get(name).openRingBuffer(
          () => {
            seen[name] = (seen[name] ?? 0) + 1;
          },
          {
            onLost: (count) => {
              lost[name] = (lost[name] ?? 0n) + count;
            },
          },
        );
      for (let round = 0; round < 2; round++) {
        for (let n = 0n; n < 20n; n++) fireProbe(kernel, 'emit', [n]);
        b.ringBufferConsume();
      }
      for (const name of ['made', 'sent']) {
        expect(lost[name]).toBeGreaterThan(0n);
        expect(Number(lost[name]) + seen[name]!).toBe(40);
        expect(b.get(name).lost).toBe(lost[name]);
      }
      expect(b.tables).toEqual(['made', 'sent']);
    });

    it('says on stderr what was lost, where nobody asks', () => {
      const said: string[] = [];
      const { kernel, b } = open(
        `
        BPF_PERF_OUTPUT(events);
        BPF_RINGBUF_OUTPUT(ring, 1);
        int kprobe__emit(struct pt_regs *ctx) {
          char big[256] = {};
          events.perf_submit(ctx, &big, sizeof(big));
          ring.ringbuf_output(&big, sizeof(big), 0);
          return 0;
        }`,
        { writeError: (text: string) => said.push(text) },
      );
      b.get('events').openPerfBuffer(() => {}, { pageCount: 1 });
      b.get('ring').openRingBuffer(() => {});
      for (let n = 0; n < 40; n++) fireProbe(kernel, 'emit', []);
      b.perfBufferConsume();
      b.ringBufferConsume();
      fireProbe(kernel, 'emit', []);
      b.perfBufferConsume();
      expect(said).toHaveLength(2);
      for (const line of said) expect(line).toMatch(/^Possibly lost \d+ samples\n$/);
    });

    it('pushes onto what is full only where it may', () => {
      const { b } = open('BPF_QUEUE(queue, u64, 2);');
      const queue = b.get('queue');
      queue.push(1);
      queue.push(2);
      expect(() => queue.push(3)).toThrow(/queue/);
      queue.push(3, BPF_EXIST);
      expect([queue.pop(), queue.pop(), queue.pop()]).toEqual([2, 3, undefined]);
    });

    it('takes its licence from BPF_LICENSE', () => {
      const text = `
        #define BPF_LICENSE Proprietary
        int kprobe__f(struct pt_regs *ctx) { bpf_trace_printk("no"); return 0; }`;
      expect(() => open(text)).toThrow(/GPL/);
      expect(() => open(text.replace('Proprietary', 'Dual BSD/GPL'))).not.toThrow();
    });
  });

/** Names belong to a kernel: another one's program of that name lends nothing. */
function lendsNothingElsewhere(kernel: EmbeddedKernel): void {
  const other = new EmbeddedKernel();
  expect(() => new BPF({ kernel: other, text: 'BPF_TABLE("extern", u32, u64, seen, 0);' })).toThrow(/lends/);
  expect(kernel).not.toBe(other);
}
