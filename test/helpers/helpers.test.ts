import { describe, expect, it } from 'vitest';
import { IMPLEMENTED_HELPER_IDS, IMPLEMENTED_HELPERS } from '../../src/helpers/index.ts';
import { helperByName, helperParams, mapTypeByName } from '../../src/spec/index.ts';
import { u32, u64 } from '../maps/env.ts';
import { HelperBench, kernelPointer, userPointer } from './env.ts';

const text = (bench: HelperBench, at: number) => bench.memory.readCString(at);

describe('the table', () => {
  it('has only helpers that have rows, with as many words as the row says', () => {
    const bench = new HelperBench();
    expect(IMPLEMENTED_HELPER_IDS.length).toBe(IMPLEMENTED_HELPERS.length);
    for (const name of IMPLEMENTED_HELPERS) {
      const row = helperByName(name)!;
      const words = helperParams(row).reduce((n, abi) => n + (abi === 'u64' ? 2 : 1), 0);
      // An export of Wasm has exactly its parameters; a general map operation takes up to five.
      const fn = bench.table.resolve(row)?.fn;
      if (fn !== undefined && /^\d+$/.test(fn.name)) expect([name, fn.length]).toEqual([name, words]);
    }
  });

  it('specialises map operations to Wasm exports with the words of their rows', () => {
    const bench = new HelperBench();
    for (const type of [
      'array',
      'hash',
      'lru_hash',
      'percpu_array',
      'percpu_hash',
      'lru_percpu_hash',
      'lpm_trie',
    ]) {
      const map = bench.map(type, {
        keySize: type === 'lpm_trie' ? 8 : 4,
        flags: type === 'lpm_trie' ? 1 : 0,
      });
      for (const name of mapTypeByName(type)!.helpers) {
        const row = helperByName(name)!;
        const callee = bench.table.resolve(row, map);
        if (!/^bpf_map_(lookup|update|delete)/.test(name)) continue;
        const words = helperParams(row).reduce((n, abi) => n + (abi === 'u64' ? 2 : 1), 0);
        expect([type, name, callee?.fn.length]).toEqual([type, name, words]);
        expect(callee?.fn.name).toMatch(/^\d+$/);
      }
    }
  });

  it('does not know helpers that are not there', () => {
    const bench = new HelperBench();
    expect(bench.table.resolve(helperByName('bpf_sys_bpf')!)).toBeUndefined();
    expect(bench.table.resolve(helperByName('bpf_get_attach_cookie')!)).toBeUndefined();
  });

  it('nothing throws on odd words', () => {
    const bench = new HelperBench();
    const odd = [0, 1, -1, 0x7fff_ffff, -0x8000_0000, 0x1_0000, 0xffff_0000 | 0];
    for (const name of IMPLEMENTED_HELPERS) {
      // Locks are single stores on a proven address; loops would run long.
      if (/spin|bpf_loop|ringbuf_|_set_hash|change_type|hash_recalc/.test(name)) continue;
      const row = helperByName(name)!;
      const callee = bench.table.resolve(row);
      if (callee === undefined) continue;
      for (const a of odd) {
        for (const b of odd) {
          const words = [a, b, a, b, a, b, a, b];
          expect(() => callee.fn(...words), `${name}(${words.slice(0, 5)})`).not.toThrow();
        }
      }
    }
  });
});

describe('maps', () => {
  for (const known of [true, false]) {
    it(`lookup, update, delete (map ${known ? 'known' : 'found by its header'})`, () => {
      const bench = new HelperBench();
      const map = bench.map('hash');
      const { address } = map.layout;
      const key = bench.put(u32(9));
      const arg = known ? map : undefined;
      expect(bench.call('bpf_map_lookup_elem', [address, key], arg)).toBe(0n);
      expect(bench.call('bpf_map_update_elem', [address, key, bench.put(u64(77)), 0], arg)).toBe(0n);
      const at = Number(bench.call('bpf_map_lookup_elem', [address, key], arg));
      expect(bench.memory.readU64(at)).toBe(77n);
      expect(bench.call('bpf_map_update_elem', [address, key, at, 1], arg)).toBe(-17n);
      expect(bench.call('bpf_map_update_elem', [address, key, at, 1n << 32n], arg)).toBe(-22n);
      expect(bench.call('bpf_map_delete_elem', [address, key], arg)).toBe(0n);
      expect(bench.call('bpf_map_delete_elem', [address, key], arg)).toBe(-2n);
    });
  }

  it('push, peek, pop', () => {
    const bench = new HelperBench();
    const map = bench.map('stack', { keySize: 0 });
    const { address } = map.layout;
    const out = bench.put(u64(5));
    expect(bench.call('bpf_map_pop_elem', [address, out], map)).toBe(-2n);
    expect(bench.memory.readU64(out)).toBe(0n);
    for (const n of [1, 2]) bench.call('bpf_map_push_elem', [address, bench.put(u64(n)), 0], map);
    expect(bench.call('bpf_map_peek_elem', [address, out], map)).toBe(0n);
    expect(bench.memory.readU64(out)).toBe(2n);
  });

  it('for_each_map_elem stops, counts, and survives deletion while it walks', () => {
    const bench = new HelperBench();
    const map = bench.map('hash', { maxEntries: 64 });
    for (let i = 0; i < 50; i++) map.update(u32(i), u64(i), 0);
    const { address } = map.layout;
    const seen: number[] = [];
    bench.callback = (at, key, value, ctx) => {
      expect([at, ctx]).toEqual([address, 4711]);
      seen.push(bench.memory.u32[key >>> 2]);
      expect(bench.memory.readU64(value)).toBe(BigInt(seen.at(-1)!));
      map.delete(u32(seen.at(-1)!));
      return 0;
    };
    expect(bench.call('bpf_for_each_map_elem', [address, 1, 4711, 0])).toBe(50n);
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(map.count()).toBe(0);
    const array = bench.map('array', { maxEntries: 7 });
    const keys: number[] = [];
    bench.callback = (_map, key) => {
      keys.push(bench.memory.u32[key >>> 2]);
      return keys.length === 3 ? 1 : 0;
    };
    expect(bench.call('bpf_for_each_map_elem', [array.layout.address, 1, 0, 0])).toBe(3n);
    expect(keys).toEqual([0, 1, 2]);
    expect(bench.call('bpf_for_each_map_elem', [array.layout.address, 1, 0, 1])).toBe(-22n);
  });

  it('loop', () => {
    const bench = new HelperBench();
    const seen: number[] = [];
    bench.callback = (i, ctx) => {
      seen.push(i * 100 + ctx);
      return i === 4 ? 1 : 0;
    };
    expect(bench.call('bpf_loop', [3, 1, 7, 0])).toBe(3n);
    expect(seen).toEqual([7, 107, 207]);
    expect(bench.call('bpf_loop', [10, 1, 7, 0])).toBe(5n);
    expect(bench.call('bpf_loop', [0, 1, 7, 0])).toBe(0n);
    expect(bench.call('bpf_loop', [8 * 1024 * 1024 + 1, 1, 7, 0])).toBe(-7n);
    expect(bench.call('bpf_loop', [1, 1, 7, 1])).toBe(-22n);
  });

  it('ring buffer: output, query and the wakeup of its readers', () => {
    const bench = new HelperBench();
    const map = bench.map('ringbuf', { keySize: 0, valueSize: 0, maxEntries: 8192 });
    const { address } = map.layout;
    expect(bench.call('bpf_ringbuf_output', [address, bench.put(u64(1)), 8, 0], map)).toBe(0n);
    expect(bench.wakes).toEqual([{ map, flags: 0 }]);
    const answers = [0, 1, 2, 3, 4].map((flag) => bench.call('bpf_ringbuf_query', [address, flag], map));
    expect(answers).toEqual([16n, 8192n, 0n, 16n, 0n]);
  });
});

describe('machine', () => {
  it('gives 64-bit results at the place of results', () => {
    const bench = new HelperBench();
    expect(bench.call('bpf_ktime_get_ns')).toBe(0x1_2345_6789n);
    expect(bench.call('bpf_get_prandom_u32')).toBe(0xdead_beefn);
    expect(bench.call('bpf_get_current_pid_tgid')).toBe((41n << 32n) | 42n);
    expect(bench.call('bpf_get_current_uid_gid')).toBe((100n << 32n) | 1000n);
    bench.kernel.cpu = 1;
    expect(bench.call('bpf_get_smp_processor_id')).toBe(1n);
  });

  it('comm is cut and terminated', () => {
    const bench = new HelperBench();
    const at = bench.put(new Uint8Array(32).fill(0xff));
    expect(bench.call('bpf_get_current_comm', [at, 8])).toBe(0n);
    expect(text(bench, at)).toBe('a-long-');
    expect(bench.memory.u8[at + 8]).toBe(0xff);
    bench.call('bpf_get_current_comm', [at, 32]);
    expect([...bench.memory.read(at + 15, 17)].every((b) => b === 0)).toBe(true);
  });
});

describe('probe reads', () => {
  it('reads, and zeroes the destination on a fault', () => {
    const bench = new HelperBench();
    const from = bench.put('hello');
    const to = bench.put(new Uint8Array(16).fill(0xaa));
    expect(bench.call('bpf_probe_read_kernel', [to, 6, kernelPointer(from)])).toBe(0n);
    expect(text(bench, to)).toBe('hello');
    for (const bad of [
      0n,
      1n,
      kernelPointer(0x100),
      kernelPointer(0xffff_fff0),
      userPointer(from),
      BigInt(from),
    ]) {
      bench.memory.u8.fill(0xaa, to, to + 16);
      expect(bench.call('bpf_probe_read_kernel', [to, 8, bad])).toBe(-14n);
      expect(bench.memory.readU64(to)).toBe(0n);
      expect(bench.memory.u8[to + 8]).toBe(0xaa);
    }
    expect(bench.call('bpf_probe_read_kernel', [to, 0, 0])).toBe(0n);
  });

  it('user memory is what the process has', () => {
    const bench = new HelperBench();
    const from = bench.put('user text');
    bench.user = { start: from, end: from + 10 };
    const to = bench.put(new Uint8Array(32).fill(0xaa));
    expect(bench.call('bpf_probe_read_user', [to, 10, userPointer(from)])).toBe(0n);
    expect(bench.call('bpf_probe_read_user', [to, 11, userPointer(from)])).toBe(-14n);
    expect(bench.call('bpf_probe_read', [to, 10, userPointer(from)])).toBe(0n);
    // A string ends before the memory does.
    expect(bench.call('bpf_probe_read_user_str', [to, 32, userPointer(from)])).toBe(10n);
    expect(text(bench, to)).toBe('user text');
    expect(bench.call('bpf_probe_read_user_str', [to, 5, userPointer(from)])).toBe(5n);
    expect(text(bench, to)).toBe('user');
    bench.user = { start: from, end: from + 9 };
    expect(bench.call('bpf_probe_read_user_str', [to, 32, userPointer(from)])).toBe(-14n);
    expect(bench.memory.readU64(to)).toBe(0n);
    expect(bench.call('bpf_copy_from_user', [to, 4, userPointer(from)])).toBe(0n);
  });
});

describe('trace_printk', () => {
  it('prints a line and gives its length', () => {
    const bench = new HelperBench();
    const fmt = 'pid %d of %s: 0x%lx';
    const at = bench.put(fmt);
    const name = bench.put('init');
    const args = [at, fmt.length + 1, -1, kernelPointer(name), 0xffff_ffff_ffffn];
    expect(bench.call('bpf_trace_printk', args)).toBe(30n);
    expect(bench.lines).toEqual(['pid -1 of init: 0xffffffffffff']);
    expect(bench.call('bpf_trace_printk', [at, 3])).toBe(-22n);
    const many = '%d %d %d %d';
    expect(bench.call('bpf_trace_printk', [bench.put(many), many.length + 1])).toBe(-22n);
  });

  it('vprintk takes up to twelve', () => {
    const bench = new HelperBench();
    const fmt = '%d '.repeat(12);
    const data = bench.put(new Uint8Array(new BigUint64Array(13).map((_, i) => BigInt(i)).buffer));
    expect(bench.call('bpf_trace_vprintk', [bench.put(fmt), fmt.length + 1, data, 96])).toBe(26n);
    expect(bench.lines).toEqual(['0 1 2 3 4 5 6 7 8 9 10 11 ']);
    expect(bench.call('bpf_trace_vprintk', [bench.put(fmt), fmt.length + 1, data, 104])).toBe(-22n);
    expect(bench.call('bpf_trace_vprintk', [bench.put(fmt), fmt.length + 1, data, 95])).toBe(-22n);
  });

  it('a line ends at a NUL, and at 1023 bytes', () => {
    const bench = new HelperBench();
    bench.call('bpf_trace_printk', [bench.put('a%cb'), 5, 0]);
    expect(bench.call('bpf_trace_printk', [bench.put('%2000d'), 7, 1])).toBe(2000n);
    expect(bench.lines[0]).toBe('a');
    expect(bench.lines[1].length).toBe(1023);
  });
});

describe('dynptrs', () => {
  it('local memory: read, write, slices, bounds', () => {
    const bench = new HelperBench();
    const data = bench.put(Uint8Array.from({ length: 32 }, (_, i) => i));
    const ptr = bench.put(new Uint8Array(16).fill(0xff));
    const to = bench.put(new Uint8Array(32));
    expect(bench.call('bpf_dynptr_read', [to, 4, bench.put(new Uint8Array(16)), 0, 0])).toBe(-22n);
    expect(bench.call('bpf_dynptr_from_mem', [data, 32, 1, ptr])).toBe(-22n);
    expect(bench.memory.readU64(ptr)).toBe(0n);
    expect(bench.call('bpf_dynptr_from_mem', [data, 32, 0, ptr])).toBe(0n);
    expect(bench.call('bpf_dynptr_read', [to, 4, ptr, 28, 0])).toBe(0n);
    expect([...bench.memory.read(to, 4)]).toEqual([28, 29, 30, 31]);
    expect(bench.call('bpf_dynptr_read', [to, 4, ptr, 29, 0])).toBe(-7n);
    expect(bench.call('bpf_dynptr_read', [to, 4, ptr, 0xffff_ffff, 0])).toBe(-7n);
    expect(bench.call('bpf_dynptr_write', [ptr, 0, to, 4, 0])).toBe(0n);
    expect(bench.memory.u8[data]).toBe(28);
    expect(bench.call('bpf_dynptr_data', [ptr, 8, 24])).toBe(BigInt(data + 8));
    expect(bench.call('bpf_dynptr_data', [ptr, 9, 24])).toBe(0n);
  });

  it('ring-buffer records', () => {
    const bench = new HelperBench();
    const map = bench.map('ringbuf', { keySize: 0, valueSize: 0, maxEntries: 4096 });
    const ptr = bench.put(new Uint8Array(16));
    expect(bench.call('bpf_ringbuf_reserve_dynptr', [map.layout.address, 100, 0, ptr])).toBe(0n);
    expect(bench.call('bpf_dynptr_write', [ptr, 96, bench.put(u32(7)), 4, 0])).toBe(0n);
    bench.call('bpf_ringbuf_submit_dynptr', [ptr, 0]);
    expect(bench.wakes.length).toBe(1);
    expect(bench.memory.readU64(ptr)).toBe(0n);
    bench.call('bpf_ringbuf_discard_dynptr', [ptr, 0]);
    expect(bench.call('bpf_ringbuf_reserve_dynptr', [map.layout.address, 5000, 0, ptr])).toBe(-22n);
    expect(bench.call('bpf_ringbuf_query', [map.layout.address, 3])).toBe(112n);
  });
});

describe('packets', () => {
  it('bytes in and out, inside of the packet only', () => {
    const bench = new HelperBench();
    bench.packet = { start: bench.put(Uint8Array.from({ length: 40 }, (_, i) => i)), length: 40 };
    const to = bench.put(new Uint8Array(64).fill(0xaa));
    const ctx = bench.context();
    expect(bench.call('bpf_skb_load_bytes', [ctx, 30, to, 10])).toBe(0n);
    expect([...bench.memory.read(to, 3)]).toEqual([30, 31, 32]);
    expect(bench.call('bpf_skb_load_bytes', [ctx, 31, to, 10])).toBe(-14n);
    expect(bench.memory.u8[to]).toBe(0);
    expect(bench.call('bpf_skb_load_bytes', [ctx, 0xffff_fff0, to, 16])).toBe(-14n);
    expect(bench.call('bpf_skb_load_bytes_relative', [0, 0, to, 4, 1])).toBe(0n);
    expect(bench.memory.u8[to]).toBe(14);
    expect(bench.call('bpf_skb_load_bytes_relative', [0, 0, to, 4, 2])).toBe(-14n);
    bench.memory.u8.fill(0xcc, to, to + 8);
    expect(bench.call('bpf_xdp_store_bytes', [ctx, 32, to, 8])).toBe(0n);
    expect(bench.memory.u8[bench.packet.start + 39]).toBe(0xcc);
    expect(bench.call('bpf_xdp_store_bytes', [ctx, 33, to, 8])).toBe(-22n);
    expect(bench.call('bpf_skb_store_bytes', [ctx, 0, to, 8, 4])).toBe(-22n);
    expect(
      bench.call('bpf_perf_event_output', [
        0,
        bench.map('perf_event_array', { valueSize: 4 }).layout.address,
        1,
        to,
        4,
      ]),
    ).toBe(0n);
    expect(bench.samples).toEqual([{ index: 1, bytes: [0xcc, 0xcc, 0xcc, 0xcc] }]);
  });
});
