/** What tracing programs see of the contexts of programs: the kernel's own struct, as its types say. */
import { describe, expect, it } from 'vitest';
import { BtfBuilder, type BtfType } from '../../src/btf/index.ts';
import { builtinHeader, compile } from '../../src/compiler/index.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';

/** A kernel whose `xdp_buff` is laid out in its own way. */
function kernelTypes() {
  const types = new BtfBuilder();
  const number = types.add({
    kind: 'int',
    name: 'unsigned int',
    size: 4,
    signed: false,
    char: false,
    bool: false,
    bitOffset: 0,
    bits: 32,
  });
  const pointer = (type: number): number => types.add({ kind: 'ptr', type });
  const struct = (
    name: string,
    size: number,
    members: readonly (readonly [string, number, number])[],
  ): number =>
    types.add({
      kind: 'struct',
      name,
      size,
      members: members.map(([member, type, at]) => ({ name: member, type, bitOffset: at * 8, bitSize: 0 })),
    } as BtfType);
  const anything = pointer(0);
  const device = struct('net_device', 16, [['ifindex', number, 12]]);
  const queue = struct('xdp_rxq_info', 16, [
    ['dev', pointer(device), 0],
    ['queue_index', number, 8],
  ]);
  const buffer = struct('xdp_buff', 64, [
    ['rxq', pointer(queue), 0],
    ['data_end', anything, 24],
    ['data', anything, 32],
    ['data_meta', anything, 40],
    ['data_hard_start', anything, 48],
  ]);
  const facade = struct('xdp_md', 24, []);
  struct('bpf_ctx_convert', 128, [
    ['BPF_PROG_TYPE_XDP_prog', facade, 0],
    ['BPF_PROG_TYPE_XDP_kern', buffer, 24],
  ]);
  return types.build();
}

const SOURCE = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
`;
const TARGET = `${SOURCE}SEC("xdp") int target(struct xdp_md *ctx) { return ctx->data_end - ctx->data == 60 ? XDP_PASS : XDP_DROP; }`;
const TRACE = `${SOURCE}
struct net_device { int ifindex; } __attribute__((preserve_access_index));
struct xdp_rxq_info { struct net_device *dev; unsigned queue_index; } __attribute__((preserve_access_index));
struct xdp_buff { void *data, *data_end; struct xdp_rxq_info *rxq; } __attribute__((preserve_access_index));
long length = 0; int ifindex = 0; int result = 0;
SEC("fexit/target") int look(unsigned long long *ctx)
{
  struct xdp_buff *xdp = (void *)ctx[0];
  length = (long)xdp->data_end - (long)xdp->data;
  ifindex = xdp->rxq->dev->ifindex;
  result = ctx[1];
  return 0;
}`;

function open(text: string): BpfObject {
  const { object, diagnostics } = compile({
    files: { read: () => undefined },
    main: 'test.bpf.c',
    text,
    options: { builtinHeader, noWarnings: true },
  });
  if (object === null) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return BpfObject.open(object);
}

describe.each([
  ['compiled', {}],
  ['interpreted', { engines: { jit: createInterpreter({ strict: true }) } }],
] as const)('%s', (_, options) => {
  it('fexit sees an xdp_buff, and the program its own context', () => {
    const kernelBtf = kernelTypes();
    const kernel = new EmbeddedKernel({ ...options, kernelBtf });
    const target = open(TARGET).load(kernel);
    const trace = open(TRACE);
    trace.findProgram('look').attachTarget = { name: 'target', program: target.findProgram('target') };
    trace.load(kernel, { kernelBtf }).findProgram('look').attach();
    const ifindex = kernel.simulator.addInterface('eth0');
    const { retval } = target.findProgram('target').testRun({ dataIn: new Uint8Array(60) });
    expect(retval).toBe(2);
    expect(trace.globals.length).toBe(60);
    expect(trace.globals.result).toBe(2);
    target.findProgram('target').attach({ interface: ifindex });
    kernel.simulator.receive({ ifindex, data: new Uint8Array(61) });
    expect(trace.globals.length).toBe(61);
    expect(trace.globals.result).toBe(1);
    expect(trace.globals.ifindex).toBe(ifindex);
    kernel.shutdown();
  });
});
