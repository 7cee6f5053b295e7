/**
 * Later bugs of verifier and loader that take types, several programs or program arrays: CVE-2024-47703, CVE-2024-50063, CVE-2024-58098,
 * CVE-2024-58100, CVE-2025-40123. Each is a program or a pair of them that a kernel with the bug took.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assemble, encodeProgram } from '../../../src/asm/index.ts';
import { BtfBuilder, btfInt } from '../../../src/btf/index.ts';
import { builtinHeader, compile } from '../../../src/compiler/index.ts';
import type { Fd } from '../../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../../src/kernel/index.ts';
import { BpfObject, type BpfProgram } from '../../../src/libbpf/index.ts';
import { attachTypeByName, mapTypeByName, progTypeByName } from '../../../src/spec/index.ts';
import type { BpfError, VerifierError } from '../../../src/util/index.ts';

const HEADER = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define noinline __attribute__((noinline))
char LICENSE[] SEC("license") = "GPL";
`;

const types = new BtfBuilder();
const int = types.add(btfInt('int', 4, { signed: true }));
const hook = (name: string, params: number): number => {
  const proto = types.add({
    kind: 'func_proto',
    returnType: int,
    params: Array.from({ length: params }, (_, i) => ({ name: `a${i}`, type: int })),
  });
  return types.add({ kind: 'func', name: `bpf_lsm_${name}`, type: proto, linkage: 'static' });
};
const OPEN = hook('file_open', 1);
const PERMISSION = hook('inode_permission', 2);
const KERNEL = types.build();

let kernel: EmbeddedKernel;
beforeEach(() => {
  kernel = new EmbeddedKernel({ kernelBtf: KERNEL });
});
afterEach(() => kernel.shutdown());

function object(text: string, target?: BpfProgram): BpfObject {
  const { object: bytes } = compile({
    files: { read: () => undefined },
    main: 'cve.bpf.c',
    text: HEADER + text,
    options: { builtinHeader, noWarnings: true },
  });
  const opened = BpfObject.open(bytes!);
  if (target !== undefined)
    for (const program of opened.programs)
      program.attachTarget = { name: program.spec.attachTo!, program: target };
  return opened.load(kernel);
}

function reason(deed: () => unknown): string {
  try {
    deed();
  } catch (error) {
    const { log = '' } = error as VerifierError;
    const lines = log.split('\n').filter((line) => line !== '' && !line.startsWith('processed '));
    return lines.at(-1) ?? (error as BpfError).code;
  }
  return 'accepted';
}

const code = (error: unknown): unknown => expect.objectContaining({ code: error });

function lsm(attachBtfId: number, text = 'r0 = 0\nexit'): Fd {
  return kernel.progLoad({
    progType: progTypeByName('lsm')!.id,
    expectedAttachType: attachTypeByName('LSM_MAC')!.id,
    attachBtfId,
    insns: encodeProgram(assemble(text)),
    license: 'GPL',
    logLevel: 1,
  });
}

describe('CVE-2024-47703: results of LSM hooks that the kernel takes for something else', () => {
  it('are refused', () => {
    expect(reason(() => lsm(OPEN, 'r0 = 1\nexit'))).toMatch(
      /^At program exit the register R0 has smin=1 smax=1/,
    );
    expect(reason(() => lsm(OPEN, 'r0 = -1\nexit'))).toBe('accepted');
  });
});

const array = (): Fd =>
  kernel.mapCreate({ mapType: mapTypeByName('prog_array')!.id, keySize: 4, valueSize: 4, maxEntries: 4 });
const put = (mapFd: Fd, slot: number, progFd: Fd): void =>
  kernel.mapUpdateElem({
    mapFd,
    key: new Uint8Array(new Uint32Array([slot]).buffer),
    value: new Uint8Array(new Uint32Array([progFd]).buffer),
  });

describe('CVE-2024-50063: tail calls between programs of different hooks', () => {
  it('have no array', () => {
    const map = array();
    put(map, 0, lsm(OPEN));
    put(map, 1, lsm(OPEN));
    expect(() => put(map, 2, lsm(PERMISSION))).toThrow(code('EINVAL'));
  });
});

describe('CVE-2025-40123: tail calls between programs of different attach types', () => {
  it('have no array', () => {
    const load = (attachType: string): Fd =>
      kernel.progLoad({
        progType: progTypeByName('cgroup_sock_addr')!.id,
        expectedAttachType: attachTypeByName(attachType)!.id,
        insns: encodeProgram(assemble('r0 = 1\nexit')),
        license: 'GPL',
      });
    const map = array();
    put(map, 0, load('CGROUP_INET4_CONNECT'));
    expect(() => put(map, 1, load('CGROUP_INET4_BIND'))).toThrow(code('EINVAL'));
  });
});

describe('CVE-2024-58098: packet pointers over calls of global functions that move the packet', () => {
  it('are no longer good', () => {
    const text = `
noinline int move(struct xdp_md *ctx) { return bpf_xdp_adjust_head(ctx, 4); }
SEC("xdp") int use(struct xdp_md *ctx)
{
  int *data = (void *)(long)ctx->data;
  if ((void *)(data + 1) > (void *)(long)ctx->data_end)
    return XDP_PASS;
  move(ctx);
  return *data;
}`;
    expect(reason(() => object(text))).toMatch(/invalid mem access 'scalar'$/);
  });
});

describe('CVE-2024-58100: a replacement that moves the packet of a function that does not', () => {
  it('is refused', () => {
    const target = object(`
noinline int look(struct xdp_md *ctx) { return ctx->ingress_ifindex; }
SEC("xdp") int use(struct xdp_md *ctx)
{
  int *data = (void *)(long)ctx->data;
  if ((void *)(data + 1) > (void *)(long)ctx->data_end)
    return XDP_PASS;
  look(ctx);
  return *data;
}`).findProgram('use');
    const text = 'SEC("freplace/look") int e(struct xdp_md *ctx) { return bpf_xdp_adjust_head(ctx, 4); }';
    expect(reason(() => object(text, target))).toBe(
      'Extension program changes packet data, while original does not',
    );
  });
});
