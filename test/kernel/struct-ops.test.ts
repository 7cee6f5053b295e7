/** struct_ops on the embedded kernel: structs of programs are registered by their map or by a link, and called by member, on both engines. */
import { describe, expect, it } from 'vitest';
import { builtinHeader, compile, formatDiagnostics } from '../../src/compiler/index.ts';
import type { KernelObjectArg } from '../../src/contracts/events.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';

function build(text: string): Uint8Array {
  const { object, sources, diagnostics } = compile({
    main: 'test.bpf.c',
    text,
    files: { read: () => undefined },
    options: { builtinHeader, debug: true },
  });
  expect(formatDiagnostics(sources, diagnostics)).toBe('');
  return object!;
}

const TYPES = `
typedef unsigned int u32;
typedef unsigned long long u64;
struct sock { int sk_id; };
struct tcp_sock { struct sock sk; u32 snd_cwnd; };
struct module;
struct ack_sample { u32 pkts_acked; };
struct tcp_congestion_ops {
  u32 (*ssthresh)(struct sock *sk);
  void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
  u32 (*undo_cwnd)(struct sock *sk);
  int (*delta)(struct sock *sk);
  char name[16];
  u32 flags;
  u32 key;
  struct module *owner;
};
struct bpf_dummy_ops_state { int val; };
struct bpf_dummy_ops { int (*test_1)(struct bpf_dummy_ops_state *cb); };
`;

/** What the kernel's own BTF says of these structs. */
const kernelBtf = BpfObject.open(
  build(`${TYPES}
struct bpf_struct_ops_common_value { int refcnt; int state; };
struct bpf_struct_ops_tcp_congestion_ops {
  struct bpf_struct_ops_common_value common;
  struct tcp_congestion_ops data __attribute__((aligned(64)));
};
struct bpf_struct_ops_bpf_dummy_ops {
  struct bpf_struct_ops_common_value common;
  struct bpf_dummy_ops data __attribute__((aligned(64)));
};
struct bpf_struct_ops_tcp_congestion_ops a;
struct bpf_struct_ops_bpf_dummy_ops b;
struct tcp_sock c;
`),
).spec.btf!;

const PROGRAMS = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
char LICENSE[] SEC("license") = "GPL";
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
${TYPES}
#pragma clang attribute pop
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } calls SEC(".maps");
SEC("struct_ops") u32 BPF_PROG(ssthresh, struct sock *sk)
{
  u32 zero = 0;
  u64 *n = bpf_map_lookup_elem(&calls, &zero);
  if (n) *n += 1;
  return ((struct tcp_sock *)sk)->snd_cwnd / 2;
}
SEC("struct_ops") u32 BPF_PROG(undo_cwnd, struct sock *sk) { return bpf_get_current_pid_tgid(); }
SEC("struct_ops") int BPF_PROG(delta, struct sock *sk) { return -sk->sk_id; }
SEC("struct_ops") void BPF_PROG(cong_avoid, struct sock *sk, u32 ack, u32 acked)
{
  ((struct tcp_sock *)sk)->snd_cwnd += acked;
}
#define OPS(NAME) { .ssthresh = (void *)ssthresh, .undo_cwnd = (void *)undo_cwnd, .cong_avoid = (void *)cong_avoid, .delta = (void *)delta, .name = NAME }
`;
const LINKED = 'SEC(".struct_ops.link") struct tcp_congestion_ops linked = OPS("one");\n';
const PLAIN = 'SEC(".struct_ops") struct tcp_congestion_ops plain = OPS("two");\n';

describe.each([0, 1])('struct_ops, bpf_jit_enable = %d', (jit) => {
  function load(source: string): { kernel: EmbeddedKernel; object: BpfObject } {
    const kernel = new EmbeddedKernel({ kernelBtf, possibleCpus: 2 });
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    return { kernel, object: BpfObject.open(build(PROGRAMS + source)).load(kernel) };
  }
  const sock: KernelObjectArg = {
    kind: 'object',
    struct: 'tcp_sock',
    members: { sk: { sk_id: 7 }, snd_cwnd: 20 },
  };
  const code = (deed: () => unknown): string => {
    try {
      deed();
    } catch (error) {
      return (error as { code: string }).code;
    }
    return 'none';
  };

  it('is registered while its link or its element is there', () => {
    const { kernel, object } = load(LINKED + PLAIN);
    const names = () => kernel.simulator.structOps('tcp_congestion_ops').map(({ name }) => name);
    expect(names()).toEqual([]);
    const links = object.attach();
    expect(names()).toEqual(['one', 'two']);
    expect(kernel.simulator.structOps('no_such_ops')).toEqual([]);
    for (const link of links) link.destroy();
    expect(names()).toEqual([]);
    kernel.shutdown();
  });

  it('members are called with arguments, and return what their prototypes say', () => {
    const { kernel, object } = load(LINKED);
    object.attach();
    const [ops] = kernel.simulator.structOps();
    expect(ops!.members).toEqual(['ssthresh', 'cong_avoid', 'undo_cwnd', 'delta']);
    expect(ops!.call('ssthresh', [sock], { cpu: 1 }).value).toBe(10);
    expect((object.findMap('calls').get(0) as unknown[]).map(Number)).toEqual([0, 1]);
    expect(ops!.call('delta', [sock]).value).toBe(-7);
    expect(ops!.call('undo_cwnd', [sock], { process: { pid: 33 } }).value).toBe(33);
    const { value, args } = ops!.call('cong_avoid', [sock, 0n, 5n]);
    expect(value).toBe(0);
    expect(args).toEqual([{ sk: { sk_id: 7 }, snd_cwnd: 25 }, undefined, undefined]);
    kernel.shutdown();
  });

  it('what cannot be called is said', () => {
    const { kernel, object } = load(LINKED);
    const [link] = object.attach();
    const [ops] = kernel.simulator.structOps();
    expect(code(() => ops!.call('in_ack_event', [sock]))).toBe('ENOENT');
    expect(code(() => ops!.call('ssthresh', []))).toBe('EINVAL');
    expect(code(() => ops!.call('ssthresh', [sock], { cpu: 2 }))).toBe('ENXIO');
    link!.destroy();
    expect(code(() => ops!.call('ssthresh', [sock]))).toBe('ENODEV');
    kernel.shutdown();
  });

  it('the element says its state, and is filled once', () => {
    const { kernel, object } = load(PLAIN);
    const mapFd = object.findMap('plain').fd;
    const key = new Uint8Array(4);
    const state = () => new DataView(kernel.mapLookupElem({ mapFd, key })!.buffer).getUint32(4, true);
    expect(state()).toBe(0);
    expect(code(() => kernel.mapDeleteElem({ mapFd, key }))).toBe('ENOENT');
    const empty = kernel.mapLookupElem({ mapFd, key })!;
    expect(code(() => kernel.mapUpdateElem({ mapFd, key, value: empty }))).toBe('EINVAL');
    const value = empty.slice();
    value[4] = 1;
    expect(code(() => kernel.mapUpdateElem({ mapFd, key, value }))).toBe('EINVAL');
    const link = object.attachStructOps('plain');
    expect(state()).toBe(1);
    expect(code(() => object.attachStructOps('plain'))).toBe('EBUSY');
    expect(code(() => kernel.mapUpdateElem({ mapFd, key, value: empty }))).toBe('EBUSY');
    expect(code(() => kernel.linkCreate({ progFd: 0, mapFd, attachType: 44 }))).toBe('EINVAL');
    link.destroy();
    expect(state()).toBe(2);
    kernel.shutdown();
  });

  it('refuses what Linux refuses', () => {
    const refusals: [string, string][] = [
      ['{ .ssthresh = (void *)ssthresh, .name = "x" }', 'EINVAL'],
      ['OPS("")', 'EINVAL'],
      ['OPS("a b")', 'EINVAL'],
      [
        '{ .flags = 0x20, .ssthresh = (void *)ssthresh, .undo_cwnd = (void *)undo_cwnd, .cong_avoid = (void *)cong_avoid, .name = "x" }',
        'EINVAL',
      ],
      [
        '{ .key = 5, .ssthresh = (void *)ssthresh, .undo_cwnd = (void *)undo_cwnd, .cong_avoid = (void *)cong_avoid, .name = "x" }',
        'EINVAL',
      ],
      ['OPS("two")', 'EEXIST'],
      ['OPS("three")', 'none'],
    ];
    for (const [value, expected] of refusals) {
      const { kernel, object } = load(`${PLAIN}SEC(".struct_ops") struct tcp_congestion_ops x = ${value};`);
      object.attachStructOps('plain');
      expect(
        code(() => object.attachStructOps('x')),
        value,
      ).toBe(expected);
      const left = kernel.simulator.structOps().map(({ name }) => name);
      expect(left).toEqual(expected === 'none' ? ['two', 'three'] : ['two']);
      kernel.shutdown();
    }
  });

  it('a struct that is there for tests only is never registered', () => {
    const { kernel, object } = load(`${PLAIN}
SEC("struct_ops/test_1") int BPF_PROG(test_1, struct bpf_dummy_ops_state *cb) { return 1; }
SEC(".struct_ops") struct bpf_dummy_ops dummy = { .test_1 = (void *)test_1 };`);
    expect(code(() => object.attachStructOps('dummy'))).toBe('EOPNOTSUPP');
    kernel.shutdown();
  });

  it('stays registered without its descriptor, until it is deleted', () => {
    const { kernel, object } = load(PLAIN);
    object.attachStructOps('plain');
    const info = kernel.objGetInfoByFd({ bpfFd: object.findMap('plain').fd });
    kernel.close(object.findMap('plain').fd);
    expect(kernel.simulator.structOps().map(({ name }) => name)).toEqual(['two']);
    expect(kernel.simulator.structOps()[0]!.call('ssthresh', [sock]).value).toBe(10);
    const mapFd = kernel.objGetFdById({ kind: 'map', id: info.id });
    kernel.mapDeleteElem({ mapFd, key: new Uint8Array(4) });
    kernel.close(mapFd);
    expect(kernel.simulator.structOps()).toEqual([]);
    expect(code(() => kernel.objGetFdById({ kind: 'map', id: info.id }))).toBe('ENOENT');
    kernel.shutdown();
  });
});
