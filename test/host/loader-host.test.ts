/** The loader on Linux: what only a real kernel has. Objects are compiled here; nothing stays behind. */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { BpfMap, BpfObject } from '../../src/libbpf/index.ts';
import { VerifierError } from '../../src/util/errors.ts';
import { compileText, skipReason as noClang } from '../object/compile.ts';
import { openHost, ownBpffs, skipReason } from './host-support.ts';

const HEAD = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
char _license[] SEC("license") = "GPL";
`;

const host = await openHost();
const why = noClang() ?? (typeof host === 'string' ? host : undefined);
if (why !== undefined || typeof host === 'string') {
  describe.skip(`the loader on Linux: ${skipReason('the loader on Linux', why ?? '')}`, () =>
    it('cannot run here', () => {}));
} else {
  const kernel = host;
  const opened: BpfObject[] = [];
  const open = (source: string): BpfObject => {
    const object = BpfObject.open(compileText(HEAD + source), { name: 'loader' });
    opened.push(object);
    return object;
  };
  const run = (object: BpfObject, name: string): number =>
    object.findProgram(name).testRun({ dataIn: new Uint8Array(64) }).retval;
  const refusal = (action: () => unknown): VerifierError => {
    try {
      action();
    } catch (error) {
      if (error instanceof VerifierError) return error;
      throw error;
    }
    throw new Error('was not refused');
  };
  afterEach(() => {
    for (const object of opened.splice(0)) object.close();
  });
  afterAll(() => kernel.shutdown());

  describe('externs', () => {
    it('kernel configuration and virtual variables', () => {
      const config = kernel.kernelConfig() ?? '';
      const hz = Number(/^CONFIG_HZ=(\d+)$/m.exec(config)?.[1]);
      expect(hz).toBeGreaterThan(0);
      const object = open(`
extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern unsigned long CONFIG_HZ __kconfig;
extern enum libbpf_tristate CONFIG_NET __kconfig;
extern enum libbpf_tristate CONFIG_NO_SUCH_THING __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[8] __kconfig __weak;
int version, hz, bits; char hostname[8];
SEC("socket") int f(void *ctx) {
  version = LINUX_KERNEL_VERSION; hz = CONFIG_HZ;
  bits = CONFIG_BPF_SYSCALL | (CONFIG_NET == TRI_YES) << 1 | (CONFIG_NO_SUCH_THING == TRI_NO) << 2;
  __builtin_memcpy(hostname, CONFIG_DEFAULT_HOSTNAME, 8);
  return 0;
}`).load(kernel);
      run(object, 'f');
      const [, major, minor, patch = '0'] =
        /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(readFileSync('/proc/sys/kernel/osrelease', 'utf8')) ?? [];
      const version = (Number(major) << 16) + (Number(minor) << 8) + Math.min(255, Number(patch));
      expect(object.globals).toMatchObject({ version, hz, bits: 7 });
    });

    it('a value that the type cannot hold, an option that is not there', () => {
      const hz = (rest: string): BpfObject =>
        open(`extern ${rest} __kconfig; int v; SEC("socket") int f(void *ctx) { v = CONFIG_HZ; return 0; }`);
      const small = hz('signed char CONFIG_HZ');
      expect(() => small.load(kernel)).toThrow(/CONFIG_HZ/);
      const given = hz('unsigned short CONFIG_HZ');
      expect(() => given.load(kernel, { kconfig: new Map([['CONFIG_HZ', '70000']]) })).toThrow(
        /CONFIG_HZ=70000 does not fit in 2 bytes/,
      );
      expect(() => given.load(kernel, { kconfig: new Map() })).toThrow(/CONFIG_HZ is not known/);
    });

    it('kernel functions and variables', () => {
      const object = open(`
struct rq { int cpu; };
extern const void vfs_read __ksym;
extern const void no_such_symbol __ksym __weak;
extern const struct rq no_such_rq __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern int bpf_no_such_kfunc(int) __ksym __weak;
__u64 address; int bits = 0, none = -1;
SEC("raw_tp/sched_switch") int f(void *ctx) {
  address = (__u64)&vfs_read;
  bits = (&no_such_symbol == 0) | (&no_such_rq == 0) << 1 | (bpf_no_such_kfunc == 0) << 2;
  bpf_rcu_read_lock();
  bpf_rcu_read_unlock();
  if (bpf_no_such_kfunc) none = bpf_no_such_kfunc(1);
  return 0;
}`).load(kernel);
      object.findProgram('f').testRun({ ctxIn: new Uint8Array(24) });
      const line = readFileSync('/proc/kallsyms', 'utf8')
        .split('\n')
        .find((one) => / vfs_read$/.test(one));
      expect(object.globals).toMatchObject({ bits: 7, none: -1 });
      expect(BigInt(object.globals.address as bigint)).toBe(BigInt(`0x${line?.split(' ')[0]}`));
    });

    it('kernel variables by type', () => {
      const object = open(`
struct rq { int cpu; } __attribute__((preserve_access_index));
extern const struct rq runqueues __ksym;
int cpu = -1;
SEC("raw_tp/sched_switch") int f(void *ctx) {
  struct rq *rq = (void *)bpf_per_cpu_ptr(&runqueues, 0);
  if (rq) cpu = rq->cpu;
  return 0;
}`);
      // Without CONFIG_KALLSYMS_ALL the kernel finds the type, but no address of any variable.
      if (/^CONFIG_KALLSYMS_ALL=y$/m.test(kernel.kernelConfig() ?? '')) {
        object
          .load(kernel)
          .findProgram('f')
          .testRun({ ctxIn: new Uint8Array(24) });
        expect(object.globals.cpu).toBe(0);
      } else {
        expect(refusal(() => object.load(kernel)).message).toMatch(/kernel symbol 'runqueues'/);
      }
    });

    it('what is missing is named; what is missing and used without a test is explained', () => {
      const source = (weak: string): string =>
        `extern int bpf_no_such_kfunc(int) __ksym ${weak};
SEC("socket") int f(void *ctx) { return bpf_no_such_kfunc(1); }`;
      expect(() => open(source('')).load(kernel)).toThrow(
        /extern \(func ksym\) 'bpf_no_such_kfunc': not found in kernel or module BTFs/,
      );
      const error = refusal(() => open(source('__weak')).load(kernel));
      expect(error.message).toBe(
        "<invalid kfunc call> kfunc 'bpf_no_such_kfunc' is referenced but wasn't resolved",
      );
      expect(() =>
        open(`extern int bpf_rcu_read_lock(struct bpf_insn *, int) __ksym;
SEC("socket") int f(void *ctx) { return bpf_rcu_read_lock(0, 1); }`).load(kernel),
      ).toThrow(/'bpf_rcu_read_lock': incompatible types, expected \[\d+\] func_proto, but kernel has/);
    });
  });

  it('a poisoned instruction that is reached is explained, with the log', () => {
    const object = open(`
struct task_struct { int no_such_field; } __attribute__((preserve_access_index));
SEC("raw_tp/sched_switch") int f(void *ctx) {
  struct task_struct *task = (void *)bpf_get_current_task();
  if (bpf_core_field_exists(task->no_such_field)) return 1;
  return BPF_CORE_READ(task, no_such_field);
}`);
    const error = refusal(() => object.load(kernel));
    expect(error.message).toMatch(
      /^<invalid CO-RE relocation> failed to resolve CO-RE relocation <byte_off> \[\d+\] struct task_struct\.no_such_field \(0:0 @ offset 0\)$/,
    );
    expect(error.hint).toMatch(/bpf_core_field_exists/);
    expect(error.log).toMatch(/\n\d+: <invalid CO-RE relocation>\nfailed to resolve/);
    expect(error.log).not.toMatch(/call unknown/);
    expect(error.source?.text).toMatch(/no_such_field/);
    expect(object.findProgram('f').unresolved).toHaveLength(1);
  });

  it('maps: settings before load, reuse, pins and what does not fit', async () => {
    const bpffs = await ownBpffs();
    const source = `
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, __u32); __type(value, int); __uint(pinning, LIBBPF_PIN_BY_NAME); } pinned SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, int); } shared SEC(".maps");
SEC("socket") int f(void *ctx) { __u32 key = 0; int *v = bpf_map_lookup_elem(&shared, &key); if (v) *v += 1; bpf_map_update_elem(&pinned, &key, &key, 0); return 0; }`;
    const first = open(source);
    first.mapSettings('shared').setMaxEntries(4);
    first.load(kernel, { pinRoot: `${bpffs}/dir` });
    expect(BpfMap.fromFd(kernel, first.findMap('shared').fd).definition.maxEntries).toBe(4);
    expect(() => first.mapSettings('shared').setMaxEntries(5)).toThrow(/made already/);
    const second = open(source);
    second.mapSettings('shared').setMaxEntries(4).reuse(first.findMap('shared'));
    second.load(kernel, { pinRoot: `${bpffs}/dir` });
    run(second, 'f');
    expect(first.findMap('shared').get(0)).toBe(1);
    expect(first.findMap('pinned').get(0)).toBe(0);
    const third = open(source);
    third.mapSettings('pinned').setMaxEntries(9);
    expect(() => third.load(kernel, { pinRoot: `${bpffs}/dir` })).toThrow(
      /'pinned': what is pinned at .*\/dir\/pinned has another shape: max_entries 8 instead of 9/,
    );
    kernel.unlink(`${bpffs}/dir/pinned`);
    const fourth = open(source);
    fourth.mapSettings('pinned').setPinPath(`${bpffs}/elsewhere`);
    fourth.mapSettings('shared').setAutocreate(false);
    const error = refusal(() => fourth.load(kernel));
    expect(error.message).toBe(
      "<invalid BPF map reference> BPF map 'shared' is referenced but wasn't created",
    );
    expect(kernel.readdir(bpffs)).not.toContain('elsewhere');
    kernel.unlink(`${bpffs}/dir`);
  });

  it('globals before and after load; sections of another size', () => {
    const object = open(`
const volatile int limit = 3;
struct pair { int a; char text[4]; } pair = { 1, "ab" };
__u64 sum;
int values[1] SEC(".data.values");
SEC("socket") int f(void *ctx) {
  for (int i = 0; i < 16; i++) { if (i >= limit) break; sum += i; }
  pair.a++;
  return limit;
}`);
    expect(object.globals).toMatchObject({ limit: 3, pair: { a: 1, text: 'ab' }, sum: 0 });
    object.globals.limit = 5;
    object.data('.data').set('pair', { a: 41, text: 'xyz' });
    object.mapSettings('.data.values').setValueSize(40);
    object.globals.values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    object.load(kernel);
    expect(run(object, 'f')).toBe(5);
    expect(object.globals).toMatchObject({ limit: 5, pair: { a: 42, text: 'xyz' }, sum: 10 });
    expect(object.data('.data.values').get('values')).toHaveLength(10);
    object.globals.sum = 100;
    run(object, 'f');
    expect(object.globals.sum).toBe(110);
    expect(() => {
      object.globals.limit = 1;
    }).toThrow(/constant once the object is loaded/);
  });

  describe('struct_ops', () => {
    const source = `
struct sock;
struct tcp_congestion_ops {
  __u32 (*ssthresh)(struct sock *sk);
  void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
  __u32 (*undo_cwnd)(struct sock *sk);
  int not_in_the_kernel;
  char name[16];
} __attribute__((preserve_access_index));
SEC("struct_ops") __u32 BPF_PROG(ssthresh, struct sock *sk) { return 5; }
SEC("struct_ops") __u32 BPF_PROG(undo_cwnd, struct sock *sk) { return 7; }
SEC("struct_ops") void BPF_PROG(cong_avoid, struct sock *sk, __u32 ack, __u32 acked) { }
#define OPS(NAME) { .ssthresh = (void *)ssthresh, .undo_cwnd = (void *)undo_cwnd, .cong_avoid = (void *)cong_avoid, .name = NAME }
SEC(".struct_ops.link") struct tcp_congestion_ops linked = OPS("tsbpf_linked");
SEC(".struct_ops") struct tcp_congestion_ops registered = OPS("tsbpf_plain");
`;
    const available = (): string[] =>
      readFileSync('/proc/sys/net/ipv4/tcp_available_congestion_control', 'utf8').trim().split(' ');

    it('a congestion control is there while it is attached', () => {
      const before = available();
      const object = open(source).load(kernel);
      expect(available()).toEqual(before);
      const links = object.attach();
      expect(available()).toEqual([...before, 'tsbpf_linked', 'tsbpf_plain']);
      for (const link of links) link.destroy();
      expect(available()).toEqual(before);
    });

    it('one by one, and without what is not made', () => {
      const before = available();
      const object = open(source);
      object.mapSettings('registered').setAutocreate(false);
      object.mapSettings('linked').setAutoattach(false);
      object.load(kernel);
      expect(object.attach()).toEqual([]);
      const link = object.attachStructOps('linked');
      expect(available()).toEqual([...before, 'tsbpf_linked']);
      link.destroy();
      const none = open(source);
      for (const name of ['registered', 'linked']) none.mapSettings(name).setAutocreate(false);
      none.load(kernel);
      expect(none.programs.some((program) => program.loaded)).toBe(false);
    });

    it('members that the kernel does not have must be zero, and others fit', () => {
      expect(() =>
        open(source.replace('.name = NAME', '.name = NAME, .not_in_the_kernel = 1')).load(kernel),
      ).toThrow(
        /map 'linked' implements struct tcp_congestion_ops: cannot find member not_in_the_kernel in kernel BTF/,
      );
      expect(() => open(source.replace('name[16]', 'name[20]')).load(kernel)).toThrow(
        /member name: unmatched size 20 != 16\(kernel\)/,
      );
      expect(() => open(source.replaceAll('tcp_congestion_ops', 'no_such_ops')).load(kernel)).toThrow(
        /no struct bpf_struct_ops_no_such_ops/,
      );
    });
  });
}
