/** struct_ops on both kernels: the same commands on the same congestion controls, with the same answers. */
import { describe, expect, it } from 'vitest';
import { sharedBtf } from '../../src/btf/index.ts';
import { builtinHeader, compile } from '../../src/compiler/index.ts';
import type { Kernel } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { openHost, skipReason } from './host-support.ts';

const FUNCTIONS =
  '.ssthresh = (void *)ssthresh, .undo_cwnd = (void *)undo_cwnd, .cong_avoid = (void *)cong_avoid';
/** What is registered by its element, and by a link. */
const PLAIN: Readonly<Record<string, string>> = {
  plain: `${FUNCTIONS}, .name = "tsbpf_a"`,
  same: `${FUNCTIONS}, .name = "tsbpf_a"`,
  nameless: FUNCTIONS,
  misnamed: `${FUNCTIONS}, .name = "a b"`,
  dotted: `${FUNCTIONS}, .name = "tsbpf.a"`,
  few: '.ssthresh = (void *)ssthresh, .name = "tsbpf_b"',
  none: '.name = "tsbpf_c"',
  keyed: `${FUNCTIONS}, .name = "tsbpf_d", .key = 5`,
  flagged: `${FUNCTIONS}, .name = "tsbpf_e", .flags = 0x20`,
};
const LINKED: Readonly<Record<string, string>> = {
  linked: `${FUNCTIONS}, .name = "tsbpf_l"`,
  few_linked: '.ssthresh = (void *)ssthresh, .name = "tsbpf_m"',
};
const NAMES = [...Object.keys(PLAIN), 'dummy', ...Object.keys(LINKED)];

const define = (section: string, structs: Readonly<Record<string, string>>): string =>
  Object.entries(structs)
    .map(([name, value]) => `SEC("${section}") struct tcp_congestion_ops ${name} = { ${value} };`)
    .join('\n');

const SOURCE = `#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
char LICENSE[] SEC("license") = "GPL";
struct tcp_congestion_ops {
  __u32 (*ssthresh)(struct sock *sk);
  void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
  __u32 (*undo_cwnd)(struct sock *sk);
  __u32 key, flags;
  char name[16];
} __attribute__((preserve_access_index));
struct bpf_dummy_ops_state { int val; } __attribute__((preserve_access_index));
struct bpf_dummy_ops { int (*test_1)(struct bpf_dummy_ops_state *cb); } __attribute__((preserve_access_index));
SEC("struct_ops") __u32 BPF_PROG(ssthresh, struct sock *sk) { return 5; }
SEC("struct_ops") __u32 BPF_PROG(undo_cwnd, struct sock *sk) { return 7; }
SEC("struct_ops") void BPF_PROG(cong_avoid, struct sock *sk, __u32 ack, __u32 acked) { }
SEC("struct_ops") int BPF_PROG(test_1, struct bpf_dummy_ops_state *cb) { return 1; }
${define('.struct_ops', PLAIN)}
${define('.struct_ops.link', LINKED)}
SEC(".struct_ops") struct bpf_dummy_ops dummy = { .test_1 = (void *)test_1 };
`;
const BPF_STRUCT_OPS = 44;

/** What each command answered: an errno, or the start of what it gave. */
function answers(kernel: Kernel, code: Uint8Array): string[] {
  const said: string[] = [];
  const say = <T>(what: string, deed: () => T): T | undefined => {
    try {
      const result = deed();
      said.push(`${what}: ${result instanceof Uint8Array ? result.subarray(0, 8).join() : 'done'}`);
      return result;
    } catch (error) {
      said.push(`${what}: ${(error as { code?: string }).code ?? error}`);
      return undefined;
    }
  };
  const object = BpfObject.open(code).load(kernel);
  try {
    const key = new Uint8Array(4);
    const other = Uint8Array.of(1, 0, 0, 0);
    const fd = (name: string) => object.findMap(name).fd;
    const link = (name: string) =>
      kernel.linkCreate({ progFd: 0, mapFd: fd(name), attachType: BPF_STRUCT_OPS });
    const mapFd = fd('plain');
    const value = say('look up', () => kernel.mapLookupElem({ mapFd, key }))!;
    say('look up another', () => kernel.mapLookupElem({ mapFd, key: other }));
    say('delete what is not there', () => kernel.mapDeleteElem({ mapFd, key }));
    say('update to zero', () => kernel.mapUpdateElem({ mapFd, key, value }));
    say('update another', () => kernel.mapUpdateElem({ mapFd, key: other, value }));
    say('update with flags', () => kernel.mapUpdateElem({ mapFd, key, value, flags: 1 }));
    for (const at of [0, 4]) {
      const state = value.slice();
      state[at] = 1;
      say(`update byte ${at}`, () => kernel.mapUpdateElem({ mapFd, key, value: state }));
    }
    const links = NAMES.map((name) => say(name, () => object.attachStructOps(name)));
    for (const name of ['plain', 'linked']) {
      say(`look up ${name}`, () => kernel.mapLookupElem({ mapFd: fd(name), key }));
      say(`${name} again`, () => object.attachStructOps(name));
    }
    for (const name of ['plain', 'linked', 'few']) say(`link ${name}`, () => link(name));
    say('delete what is linked', () => kernel.mapDeleteElem({ mapFd: fd('linked'), key }));
    for (const [what, from] of Object.entries({ first: null, zero: key, one: other }))
      say(`key after ${what}`, () => kernel.mapGetNextKey({ mapFd, key: from }));
    links.forEach((one, i) => {
      say(`destroy ${NAMES[i]}`, () => one?.destroy());
    });
    say('look up what is deleted', () => kernel.mapLookupElem({ mapFd, key }));
    say('delete again', () => kernel.mapDeleteElem({ mapFd, key }));
    say('update what is deleted', () => kernel.mapUpdateElem({ mapFd, key, value }));
    const linkFd = say('link again', () => link('linked'))!;
    say('detach', () => kernel.linkDetach({ linkFd }));
    say('look up what is detached', () => kernel.mapLookupElem({ mapFd: fd('linked'), key }));
    kernel.close(linkFd);
    return said;
  } finally {
    object.close();
  }
}

const host = await openHost();
const why = typeof host === 'string' ? skipReason('struct_ops on both kernels', host) : '';
describe.skipIf(why !== '')(`struct_ops on both kernels ${why}`, () => {
  it('the embedded kernel answers as Linux does', () => {
    const kernel = host as Kernel;
    const types = kernel.kernelBtf();
    const { object } = compile({
      main: 'ops.bpf.c',
      text: SOURCE,
      files: { read: () => undefined },
      options: { builtinHeader, debug: true },
    });
    const embedded = new EmbeddedKernel({ kernelBtf: sharedBtf(types!) });
    try {
      const expected = answers(kernel, object!);
      expect(expected).toContain('plain: done');
      expect(answers(embedded, object!)).toEqual(expected);
    } finally {
      embedded.shutdown();
    }
  });
});
