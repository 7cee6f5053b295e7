/** Callbacks that run later (timers, workqueues), and what elements of maps own. On both engines. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtinHeader, compile } from '../../src/compiler/index.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import type { GuestMemory } from '../../src/memory/index.ts';

const HEADER = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define __noinline __attribute__((noinline))
char LICENSE[] SEC("license") = "GPL";
long runs = 0; long last_key = 0; long last_time = 0; int result = 0; long delay = 0; int key_arg = 0; int again = 0;
`;

const TIMERS = (map: string): string => `${HEADER}
struct value { int number; struct bpf_timer timer; };
struct { __uint(type, BPF_MAP_TYPE_${map}); __uint(max_entries, 8); __type(key, int); __type(value, struct value); } timers SEC(".maps");
static int fired(void *map, int *key, struct value *value)
{
  runs++;
  last_key = *key;
  last_time = bpf_ktime_get_ns();
  value->number += 100;
  if (again) bpf_timer_start(&value->timer, delay, 0);
  result = bpf_timer_cancel(&value->timer) == -35;
  return 0;
}
SEC("tc") int arm(struct __sk_buff *skb)
{
  struct value init = {};
  int key = key_arg;
  struct value *value = bpf_map_lookup_elem(&timers, &key);
  if (!value) { bpf_map_update_elem(&timers, &key, &init, 0); value = bpf_map_lookup_elem(&timers, &key); }
  if (!value) return -1;
  value->number = 7;
  int error = bpf_timer_init(&value->timer, &timers, 1);
  if (error && error != -16) return error;
  if (error == -16) result = -16;
  error = bpf_timer_set_callback(&value->timer, fired);
  if (error) return error;
  return bpf_timer_start(&value->timer, delay, 0);
}
SEC("tc") int bare(struct __sk_buff *skb)
{
  int key = key_arg;
  struct value *value = bpf_map_lookup_elem(&timers, &key);
  return value ? bpf_timer_start(&value->timer, 0, 0) : -1;
}
SEC("tc") int unknown_clock(struct __sk_buff *skb)
{
  int key = key_arg;
  struct value *value = bpf_map_lookup_elem(&timers, &key);
  return value ? bpf_timer_init(&value->timer, &timers, 3) : -1;
}
SEC("tc") int cancel(struct __sk_buff *skb)
{
  int key = key_arg;
  struct value *value = bpf_map_lookup_elem(&timers, &key);
  return value ? bpf_timer_cancel(&value->timer) : -1;
}
SEC("tc") int forget(struct __sk_buff *skb) { int key = key_arg; return bpf_map_delete_elem(&timers, &key); }
`;

const WORK = `${HEADER}
extern int bpf_wq_init(struct bpf_wq *wq, void *p__map, unsigned int flags) __ksym;
extern int bpf_wq_start(struct bpf_wq *wq, unsigned int flags) __ksym;
extern int bpf_wq_set_callback_impl(struct bpf_wq *wq, int (*callback)(void *map, int *key, void *value), unsigned int flags, void *aux__prog) __ksym;
struct value { int number; struct bpf_wq work; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, int); __type(value, struct value); } works SEC(".maps");
static int work(void *map, int *key, void *value) { runs++; last_key = *key; return 0; }
SEC("tc") int start(struct __sk_buff *skb)
{
  struct value init = {};
  int key = 5;
  bpf_map_update_elem(&works, &key, &init, 0);
  struct value *value = bpf_map_lookup_elem(&works, &key);
  if (!value) return -1;
  if (bpf_wq_init(&value->work, &works, 1) != -22) return -2;
  int error = bpf_wq_init(&value->work, &works, 0);
  if (!error) error = bpf_wq_set_callback_impl(&value->work, work, 0, (void *)0);
  if (!error) error = bpf_wq_start(&value->work, 0);
  if (!error && runs != 0) return -3;
  return error;
}
`;

const OWNERS = `${HEADER}
#define __kptr __attribute__((btf_type_tag("kptr")))
struct object { long words[16]; };
extern void *bpf_obj_new_impl(unsigned long long local_type_id__k, void *meta__ign) __ksym;
extern void bpf_obj_drop_impl(void *p__alloc, void *meta__ign) __ksym;
struct value { int number; struct object __kptr *object; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, int); __type(value, struct value); } owners SEC(".maps");
SEC("tc") int give(struct __sk_buff *skb)
{
  struct value init = {};
  int key = key_arg;
  bpf_map_update_elem(&owners, &key, &init, 0);
  struct value *value = bpf_map_lookup_elem(&owners, &key);
  if (!value) return -1;
  struct object *object = bpf_obj_new_impl(__builtin_btf_type_id(*(struct object *)0, 0), (void *)0);
  if (!object) return -2;
  object = bpf_kptr_xchg(&value->object, object);
  if (object) bpf_obj_drop_impl(object, (void *)0);
  return 0;
}
SEC("tc") int overwrite(struct __sk_buff *skb) { struct value init = {}; int key = key_arg; return bpf_map_update_elem(&owners, &key, &init, 0); }
SEC("tc") int forget(struct __sk_buff *skb) { int key = key_arg; return bpf_map_delete_elem(&owners, &key); }
`;

function build(text: string): Uint8Array {
  const options = { builtinHeader, noWarnings: true };
  const { object, diagnostics } = compile({
    files: { read: () => undefined },
    main: 'test.bpf.c',
    text,
    options,
  });
  if (object === null) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return object;
}

const u32 = (value: number): Uint8Array => new Uint8Array(new Uint32Array([value]).buffer);

describe.each([
  ['compiled', () => ({})],
  ['interpreted', () => ({ engines: { jit: createInterpreter({ strict: true }) } })],
] as const)('%s', (_, options) => {
  let kernel: EmbeddedKernel;
  let object: BpfObject;
  const open = (text: string): void => {
    object = BpfObject.open(build(text)).load(kernel);
  };
  beforeEach(() => {
    kernel = new EmbeddedKernel(options());
    kernel.simulator.setTime(1_000_000n);
  });
  afterEach(() => kernel.shutdown());
  const run = (name: string): number =>
    object.findProgram(name).testRun({ dataIn: new Uint8Array(64) }).retval | 0;
  const get = (name: string): number => Number(object.globals[name]);
  const set = (name: string, value: number | bigint): void => {
    object.globals[name] = value;
  };
  const time = (at: number): void => kernel.simulator.setTime(BigInt(at));

  describe.each(['ARRAY', 'HASH', 'LRU_HASH'])('timers of a %s map', (type) => {
    beforeEach(() => open(TIMERS(type)));

    it('run when their time has come, with their element', () => {
      set('delay', 5000n);
      set('key_arg', 3);
      expect(run('arm')).toBe(0);
      time(1_004_999);
      expect(get('runs')).toBe(0);
      time(2_000_000);
      expect(get('runs')).toBe(1);
      expect(get('last_key')).toBe(3);
      expect(get('last_time')).toBe(1_005_000);
      expect(get('result')).toBe(1);
      const value = object.findMap('timers').getBytes(u32(3))!;
      expect(new DataView(value.buffer, value.byteOffset).getInt32(0, true)).toBe(107);
      time(3_000_000);
      expect(get('runs')).toBe(1);
    });

    it('start themselves again', () => {
      set('delay', 1000n);
      set('again', 1);
      expect(run('arm')).toBe(0);
      time(1_010_500);
      expect(get('runs')).toBe(10);
      expect(get('last_time')).toBe(1_010_000);
    });

    it('run in order of their times', () => {
      for (const [key, delay] of [
        [1, 300n],
        [2, 100n],
        [3, 200n],
      ] as const) {
        set('key_arg', key);
        set('delay', delay);
        expect(run('arm')).toBe(0);
      }
      time(1_000_250);
      expect(get('runs')).toBe(2);
      expect(get('last_key')).toBe(3);
      time(1_001_000);
      expect(get('last_key')).toBe(1);
    });

    it('are cancelled, with their callback', () => {
      set('delay', 100n);
      expect(run('arm')).toBe(0);
      expect(run('cancel')).toBe(1);
      expect(run('cancel')).toBe(0);
      expect(run('bare')).toBe(-22);
      expect(run('arm')).toBe(0);
      expect(get('result')).toBe(-16);
      time(2_000_000);
      expect(get('runs')).toBe(1);
    });

    it('end with their element', () => {
      set('delay', 100n);
      const timers = object.findMap('timers');
      const overwrite = (): void => timers.set(0, { number: 0, timer: { __opaque: [0n, 0n] } });
      const ends: (() => unknown)[] = [overwrite];
      if (type !== 'ARRAY')
        ends.push(
          () => run('forget'),
          () => timers.delete(0),
        );
      ends.forEach((end, i) => {
        expect(run('arm')).toBe(0);
        end();
        time((i + 2) * 1_000_000);
      });
      expect(get('runs')).toBe(0);
    });

    it('hold their program, and end with the map', () => {
      set('delay', 100n);
      expect(run('arm')).toBe(0);
      for (const program of object.programs) program.close();
      time(2_000_000);
      expect(get('runs')).toBe(1);
      object.close();
      expect(kernel.objGetNextId({ kind: 'prog', startId: 0 })).toBeNull();
      expect(kernel.objGetNextId({ kind: 'map', startId: 0 })).toBeNull();
    });

    it('know three clocks', () => {
      set('delay', 100n);
      set('key_arg', 1);
      expect(run('arm')).toBe(0);
      expect(run('unknown_clock')).toBe(-22);
    });
  });

  it('timers run by themselves while the clock does', async () => {
    kernel.shutdown();
    kernel = new EmbeddedKernel(options());
    open(TIMERS('HASH'));
    set('delay', 200_000_000n);
    expect(run('arm')).toBe(0);
    expect(get('runs')).toBe(0);
    await expect.poll(() => get('runs')).toBe(1);
  });

  it('work runs when the program has ended', () => {
    open(WORK);
    expect(run('start')).toBe(0);
    expect(get('runs')).toBe(1);
    expect(get('last_key')).toBe(5);
  });

  it('objects go with the element of a hash map that owns them', () => {
    open(OWNERS);
    let memory: GuestMemory | undefined;
    kernel.observe({ onMachine: (own) => (memory = own), onInsn: () => {} });
    kernel.observe(null);
    const held = (): number => [...memory!.blocks()].filter(({ label }) => label === 'bpf_obj_new').length;
    expect(run('give')).toBe(0);
    expect(held()).toBe(1);
    expect(run('forget')).toBe(0);
    expect(held()).toBe(0);
    expect(run('give')).toBe(0);
    expect(run('overwrite')).toBe(0);
    expect(held()).toBe(0);
    expect(run('give')).toBe(0);
    object.findMap('owners').delete(0);
    expect(held()).toBe(0);
  });
});
