/** A run's budget: what it stops, on both engines, and what is left of a program that was stopped. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder, R0, R1, R2, R3, R6, R7, reg } from '../../src/asm/index.ts';
import { builtinHeader, compile } from '../../src/compiler/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel, type Oops } from '../../src/kernel/index.ts';
import { BpfObject, RingBufferReader } from '../../src/libbpf/index.ts';
import type { GuestMemory } from '../../src/memory/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { BpfError } from '../../src/util/index.ts';

const DATA = new Uint8Array(64);

/** Programs that own something while they loop: records, an object of their own, one that was in a map, a lock. */
const OWNERS = `
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
extern void *bpf_obj_new_impl(__u64 id, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *p, void *meta) __ksym;
extern int bpf_res_spin_lock(struct bpf_res_spin_lock *lock) __ksym;
extern void bpf_res_spin_unlock(struct bpf_res_spin_lock *lock) __ksym;
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __array(name, val) typeof(val) *name[]
struct object { long a; };
struct value { struct object __kptr *object; };
struct locked { struct bpf_res_spin_lock lock; int n; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int); __type(value, struct value); } owners SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int); __type(value, struct locked); } locks SEC(".maps");
struct ring { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps"), inner SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 1); __type(key, int); __array(values, struct ring); } inner_of SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 1); __type(key, int); __type(value, int); } programs SEC(".maps");
int rounds = 10;
static int round(int i, long *sum) { *sum += i; return 0; }
static struct object *make(void) { return bpf_obj_new_impl(__builtin_btf_type_id(*(struct object *)0, 0), (void *)0); }
SEC("tc") int target(struct __sk_buff *skb) {
  int key = 0, i;
  void *other = bpf_map_lookup_elem(&inner_of, &key);
  if (!other) return 1;
  long *more = bpf_ringbuf_reserve(other, 8, 0);
  if (!more) return 1;
  long *record = bpf_ringbuf_reserve(&ring, 8, 0);
  if (!record) { bpf_ringbuf_discard(more, 0); return 1; }
  *more = *record = 0;
  bpf_for(i, 0, rounds) *record += i;
  bpf_ringbuf_submit(record, 0);
  bpf_ringbuf_submit(more, 0);
  return 2;
}
SEC("tc") int enter(struct __sk_buff *skb) { bpf_tail_call(skb, &programs, 0); return 9; }
SEC("tc") int keep(struct __sk_buff *skb) {
  int key = 0;
  long sum = 0;
  struct object *object = make();
  if (!object) return -1;
  bpf_loop(rounds, round, &sum, 0);
  struct value *value = bpf_map_lookup_elem(&owners, &key);
  if (value) object = bpf_kptr_xchg(&value->object, object);
  if (object) bpf_obj_drop_impl(object, (void *)0);
  return 3;
}
SEC("tc") int exchange(struct __sk_buff *skb) {
  int key = 0;
  long sum = 0;
  struct value *value = bpf_map_lookup_elem(&owners, &key);
  if (!value) return -1;
  struct object *object = bpf_kptr_xchg(&value->object, (void *)0);
  if (!object) return -2;
  bpf_loop(rounds, round, &sum, 0);
  object = bpf_kptr_xchg(&value->object, object);
  if (object) bpf_obj_drop_impl(object, (void *)0);
  return 4;
}
static int hold(void) {
  int key = 0, i;
  struct locked *value = bpf_map_lookup_elem(&locks, &key);
  if (!value) return -1;
  if (bpf_res_spin_lock(&value->lock)) return -2;
  bpf_for(i, 0, rounds) value->n += i;
  bpf_res_spin_unlock(&value->lock);
  return 5;
}
SEC("tc") int lock(struct __sk_buff *skb) { return hold(); }
SEC("tc") int lock_again(struct __sk_buff *skb) { return hold(); }
char _license[] SEC("license") = "GPL";
`;

function compiled(text: string): Uint8Array {
  const options = { builtinHeader, noWarnings: true };
  const files = { read: () => undefined };
  const { object, diagnostics } = compile({ files, main: 'owners.bpf.c', text, options });
  if (object === null) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return object;
}

interface Setup {
  readonly kernel: EmbeddedKernel;
  readonly oopses: Oops[];
  load(program: ProgramBuilder): Fd;
  /** R0, or the error's code. */
  run(progFd: Fd): number | string;
}

function setUp(budget: number | undefined, jit: 0 | 1): Setup {
  const oopses: Oops[] = [];
  const kernel = new EmbeddedKernel({
    onOops: (oops) => oopses.push(oops),
    ...(budget === undefined ? {} : { budget }),
  });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  return {
    kernel,
    oopses,
    load: (program) =>
      kernel.progLoad({
        progType: progTypeByName('xdp')!.id,
        insns: encodeProgram(program.build()),
        license: 'GPL',
      }),
    run: (progFd) => {
      try {
        return kernel.progTestRun({ progFd, dataIn: DATA }).retval;
      } catch (error) {
        if (error instanceof BpfError) return error.code;
        throw error;
      }
    },
  };
}

/** Counts to `rounds` in a loop. */
const loop = (rounds: number) =>
  new ProgramBuilder().mov64(R0, 0).label('again').alu64('add', R0, 1).jmp('jlt', R0, rounds, 'again').exit();

/** `rounds` calls of a function from a loop. */
const calls = (rounds: number) =>
  new ProgramBuilder()
    .mov64(R6, 0)
    .label('again')
    .callLocal('function')
    .alu64('add', R6, 1)
    .jmp('jlt', R6, rounds, 'again')
    .mov64(R0, reg(R6))
    .exit()
    .label('function')
    .mov64(R0, 1)
    .exit();

for (const jit of [1, 0] as const) {
  describe(`a budget, bpf_jit_enable = ${jit}`, () => {
    it.each([
      ['loop rounds', loop, 1],
      ['calls in a loop', calls, 2],
    ] as const)('bounds %s', (_, build, each) => {
      const rounds = 100;
      const needed = each * rounds;
      const enough = setUp(needed, jit);
      const progFd = enough.load(build(rounds));
      expect(enough.run(progFd)).toBe(rounds);
      // Each run has its own.
      expect(enough.run(progFd)).toBe(rounds);
      expect(enough.oopses).toEqual([]);

      const tight = setUp(needed - 1, jit);
      const stopped = tight.load(build(rounds));
      expect(tight.run(stopped)).toBe('ETIMEDOUT');
      expect(tight.oopses).toHaveLength(1);
      expect(tight.oopses[0]!.message).toMatch(/used up its budget of loop rounds and calls/);
      expect(tight.oopses[0]!.error).toMatchObject({ reason: 'budget' });
      // Of what was put into the program nothing is shown.
      expect(tight.oopses[0]!.message).not.toMatch(/nospec|nested run/);
      if (jit === 0) expect(tight.oopses[0]!.message).toMatch(/R10 = \w+ \(the end of the stack\)/);
      // It is not run again.
      expect(tight.run(stopped)).toBe('EFAULT');
      // Others are.
      expect(tight.run(tight.load(build(10)))).toBe(10);
    });

    it.each([
      ['R0', R0],
      ['R2', R2],
    ])(
      'bounds loops over elements, whose rounds are done whether they are in vectors or not: %s',
      (_, place) => {
        const rounds = 64;
        /** What the program returned, and how many elements it has written. */
        const written = (budget: number | undefined) => {
          const s = setUp(budget, jit);
          const attr = { keySize: 4, valueSize: 4 * rounds, maxEntries: 1 };
          const mapFd = s.kernel.mapCreate({ mapType: mapTypeByName('array')!.id, ...attr });
          const program = new ProgramBuilder()
            .ldMapValue(R6, mapFd)
            .mov64(R1, 0)
            .label('again')
            .mov64(place, reg(R6))
            .alu64('add', place, reg(R1))
            .st('w', place, 0, 7)
            .alu64('add', R1, 4)
            .jmp('jne', R1, 4 * rounds, 'again')
            .mov64(R0, 3)
            .exit();
          const progFd = s.load(program);
          const info = s.kernel.objGetInfoByFd({ bpfFd: progFd });
          if (jit === 1) expect(info.kind === 'prog' && info.jitedDump).toMatch(/v128\.store/);
          const result = s.run(progFd);
          const value = s.kernel.mapLookupElem({ mapFd, key: new Uint8Array(4) })!;
          return [result, value.filter((byte) => byte === 7).length];
        };
        expect(written(undefined)).toEqual([3, rounds]);
        expect(written(rounds)).toEqual([3, rounds]);
        expect(written(rounds - 1)).toEqual(['ETIMEDOUT', rounds - 1]);
        expect(written(10)).toEqual(['ETIMEDOUT', 10]);
      },
    );

    it('bounds loops in one another, and gives nothing for rounds that were not made', () => {
      // 6 rounds of 1 + 5; then up to 100, left after 4.
      const build = () =>
        new ProgramBuilder()
          .mov64(R0, 0)
          .mov64(R6, 6)
          .label('outer')
          .mov64(R7, 0)
          .label('inner')
          .alu64('add', R0, 1)
          .alu64('add', R7, 1)
          .jmp('jlt', R7, 5, 'inner')
          .alu64('add', R6, -1)
          .jmp('jne', R6, 0, 'outer')
          .label('again')
          .alu64('add', R0, 1)
          .jmp('jeq', R6, 3, 'out')
          .alu64('add', R6, 1)
          .jmp('jlt', R6, 100, 'again')
          .label('out')
          .exit();
      const needed = 6 * (1 + 5) + 4;
      for (const budget of [needed, needed + 1, 1000]) {
        const s = setUp(budget, jit);
        const progFd = s.load(build());
        expect([s.run(progFd), s.run(progFd)]).toEqual([34, 34]);
      }
      for (const budget of [0, 1, 7, needed - 5, needed - 1]) {
        const s = setUp(budget, jit);
        expect(s.run(s.load(build()))).toBe('ETIMEDOUT');
      }
    });

    it('leaves atomic operations what they are', () => {
      const s = setUp(100, jit);
      const program = new ProgramBuilder()
        .st('dw', 10, -8, 5)
        .callLocal('function')
        .mov64(R1, 2)
        .atomic('fetch_add', 'dw', 10, R1, -8)
        .mov64(R0, reg(R1))
        .exit()
        .label('function')
        .mov64(R0, 1)
        .exit();
      expect(s.run(s.load(program))).toBe(5);
    });

    it('bounds rounds of bpf_loop', () => {
      // 100 rounds of a callback.
      const file = readFileSync(new URL('../../bench/objects/calls.bpf.o', import.meta.url));
      const program = (s: Setup) => BpfObject.open(file).load(s.kernel).findProgram('loop').fd;
      const enough = setUp(100, jit);
      expect(enough.run(program(enough))).toBe(4950);
      const tight = setUp(99, jit);
      expect(tight.run(program(tight))).toBe('ETIMEDOUT');
    });

    it('counts what tail-called programs do', () => {
      const s = setUp(60, jit);
      const programs = s.kernel.mapCreate({
        mapType: mapTypeByName('prog_array')!.id,
        keySize: 4,
        valueSize: 4,
        maxEntries: 1,
      });
      const target = s.load(loop(50));
      s.kernel.mapUpdateElem({
        mapFd: programs,
        key: new Uint8Array(4),
        value: Uint8Array.from([target, 0, 0, 0]),
      });
      const start = (rounds: number) =>
        s.load(
          new ProgramBuilder()
            .mov64(R7, 0)
            .label('again')
            .alu64('add', R7, 1)
            .jmp('jlt', R7, rounds, 'again')
            .ldMapFd(R2, programs)
            .mov64(R3, 0)
            .callHelper('bpf_tail_call')
            .mov64(R0, 0)
            .exit(),
        );
      expect(s.run(start(5))).toBe(50);
      expect(s.run(start(20))).toBe('ETIMEDOUT');
      // Nor does a caller without loops change what its run may do.
      const plain = new ProgramBuilder()
        .ldMapFd(R2, programs)
        .mov64(R3, 0)
        .callHelper('bpf_tail_call')
        .mov64(R0, 0);
      const straight = s.load(plain.exit());
      expect(s.run(straight)).toBe(50);
      expect(s.run(straight)).toBe(50);
    });

    it('gives back what the stopped run had reserved', () => {
      const s = setUp(50, jit);
      const ring = s.kernel.mapCreate({
        mapType: mapTypeByName('ringbuf')!.id,
        keySize: 0,
        valueSize: 0,
        maxEntries: 4096,
      });
      const write = (rounds: number) =>
        s.load(
          new ProgramBuilder()
            .ldMapFd(R1, ring)
            .mov64(R2, 8)
            .mov64(R3, 0)
            .callHelper('bpf_ringbuf_reserve')
            .jmp('jeq', R0, 0, 'out')
            .mov64(R6, reg(R0))
            .mov64(R7, 0)
            .label('again')
            .alu64('add', R7, 1)
            .jmp('jlt', R7, rounds, 'again')
            .stx('dw', R6, R7)
            .mov64(R1, reg(R6))
            .mov64(R2, 0)
            .callHelper('bpf_ringbuf_submit')
            .label('out')
            .mov64(R0, 2)
            .exit(),
        );
      const reader = new RingBufferReader(s.kernel, ring);
      expect(s.run(write(10))).toBe(2);
      expect(s.run(write(1000))).toBe('ETIMEDOUT');
      expect(s.run(write(20))).toBe(2);
      // The record of the stopped run is in nobody's way.
      expect(reader.consume().map((record) => record[0])).toEqual([10, 20]);
    });

    it('gives back what the stopped run had, whoever reserved it and wherever it came from', () => {
      const oopses: Oops[] = [];
      const kernel = new EmbeddedKernel({ onOops: (oops) => oopses.push(oops), budget: 50 });
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      let memory: GuestMemory | undefined;
      kernel.observe({ onMachine: (of) => (memory = of), onInsn: () => {} });
      kernel.observe(null);
      const object = BpfObject.open(compiled(OWNERS)).load(kernel);
      const fd = (name: string) => object.findProgram(name).fd;
      const test = (name: string) => kernel.progTestRun({ progFd: fd(name), dataIn: DATA }).retval | 0;
      const put = (map: string, value: number) =>
        kernel.mapUpdateElem({
          mapFd: object.findMap(map).fd,
          key: new Uint8Array(4),
          value: new Uint8Array(Uint32Array.of(value).buffer),
        });
      const objects = () => [...memory!.blocks()].filter(({ label }) => label.startsWith('bpf_')).length;
      put('programs', fd('target'));
      put('inner_of', object.findMap('inner').fd);
      expect(['enter', 'keep', 'exchange', 'lock'].map(test)).toEqual([2, 3, 4, 5]);
      expect(objects()).toBe(1);
      put('object.data', 1000);
      expect(() => test('exchange')).toThrow(/budget/);
      expect(objects()).toBe(0);
      expect(() => test('keep')).toThrow(/budget/);
      expect(objects()).toBe(0);
      expect(() => test('lock')).toThrow(/budget/);
      expect(() => test('enter')).toThrow(/budget/);
      // What is told of is the line of the program that was tail-called.
      const last = oopses.at(-1)!;
      expect(last.program).toBe('enter');
      expect(last.source?.text).toMatch(/bpf_for\(i, 0, rounds\) \*record/);
      put('object.data', 5);
      expect([test('target'), test('lock_again')]).toEqual([2, 5]);
      // The stopped run's records are in nobody's way.
      for (const ring of ['ring', 'inner'])
        expect(new RingBufferReader(kernel, object.findMap(ring).fd).consume()).toHaveLength(2);
      kernel.shutdown();
    });

    it('detaches the program', () => {
      const s = setUp(50, jit);
      const progFd = s.load(loop(1000));
      const link = s.kernel.linkCreate({ progFd, targetIfindex: 1, attachType: 37 });
      expect(link).toBeGreaterThan(0);
      for (let i = 0; i < 2; i++) s.kernel.simulator.receive({ ifindex: 1, data: DATA });
      expect(s.oopses).toHaveLength(1);
      expect(s.kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({ details: { ifindex: 0 } });
    });

    it('leaves a program that was stopped to nobody', () => {
      const s = setUp(50, jit);
      const progFd = s.load(loop(1000));
      const other = s.load(loop(5));
      const programs = s.kernel.mapCreate({
        mapType: mapTypeByName('prog_array')!.id,
        keySize: 4,
        valueSize: 4,
        maxEntries: 1,
      });
      const linkFd = s.kernel.linkCreate({ progFd: other, targetIfindex: 1, attachType: 37 });
      expect(s.run(progFd)).toBe('ETIMEDOUT');
      const refusals: (() => unknown)[] = [
        () => s.kernel.progTestRun({ progFd, dataIn: DATA }),
        () => s.kernel.linkUpdate({ linkFd, newProgFd: progFd }),
        () => s.kernel.linkCreate({ progFd, targetIfindex: 1, attachType: 37 }),
        () =>
          s.kernel.mapUpdateElem({
            mapFd: programs,
            key: new Uint8Array(4),
            value: new Uint8Array(Uint32Array.of(progFd).buffer),
          }),
      ];
      for (const refused of refusals) expect(refused).toThrow(expect.objectContaining({ code: 'EFAULT' }));
    });
  });
}

describe('the budget of a kernel', () => {
  it.each([0.5, -1, 2 ** 31, Number.NaN])('is not %s', (budget) => {
    expect(() => new EmbeddedKernel({ budget })).toThrow(BpfError);
  });

  it('is absent by default', () => {
    const s = setUp(undefined, 1);
    expect(s.run(s.load(loop(100_000)))).toBe(100_000);
  });
});
