/**
 * Helpers that move or change packets, called by the same program on the embedded kernel (verifier, both engines, hooks) and on
 * the kernel of the machine.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { helperByName } from '../../src/spec/index.ts';
import { alignUp, BpfError, fromHex, toHex } from '../../src/util/index.ts';
import { insn, whyNoProbe } from './probe.ts';
import { HostBpf, type HostCommand } from './server.ts';

const why = whyNoProbe();
if (why !== null) console.log(`skipped: packet helpers against the kernel: ${why}`);

const XDP = 6;
const SCHED_CLS = 3;
const ARRAY = 2;
const [R0, R1, R6] = [0, 1, 6];

type Arg = number | Uint8Array | 'ctx';

interface Outcome {
  readonly ret: string;
  readonly bufs: readonly string[];
  readonly out: string;
}

const low = (value: number): number => Number(BigInt.asIntN(32, BigInt(value)));
const high = (value: number): number => Number(BigInt.asIntN(32, BigInt(value) >> 32n));
const valueAddress = (register: number, fd: number, offset: number): string =>
  insn(0x18, register, 2, 0, fd) + insn(0, 0, 0, 0, offset);

/** One call of a helper; buffers and R0 lie in the value of an array map, as in bpf_server.py. */
function embedded(
  kernel: EmbeddedKernel,
  type: number,
  id: number,
  args: readonly Arg[],
  data: Uint8Array,
): Outcome {
  const buffers = args.filter((arg): arg is Uint8Array => arg instanceof Uint8Array);
  const offsets: number[] = [];
  let size = 8;
  for (const buffer of buffers) {
    offsets.push(size);
    size += alignUp(buffer.length, 8);
  }
  const map = kernel.mapCreate({ mapType: ARRAY, keySize: 4, valueSize: size + 8, maxEntries: 1 });
  const key = new Uint8Array(4);
  const value = new Uint8Array(size + 8);
  buffers.forEach((buffer, i) => {
    value.set(buffer, offsets[i]);
  });
  kernel.mapUpdateElem({ mapFd: map, key, value });
  let code = insn(0xbf, R6, R1);
  let next = 0;
  args.forEach((arg, i) => {
    if (arg === 'ctx') code += insn(0xbf, i + 1, R6);
    else if (typeof arg === 'number') code += insn(0x18, i + 1, 0, 0, low(arg)) + insn(0, 0, 0, 0, high(arg));
    else code += valueAddress(i + 1, map, offsets[next++]);
  });
  code += insn(0x85, 0, 0, 0, id) + valueAddress(R1, map, 0) + insn(0x7b, R1, R0);
  code += insn(0xb7, R0, 0, 0, type === XDP ? 2 : 0) + insn(0x95);
  let prog: Fd | undefined;
  try {
    prog = kernel.progLoad({ progType: type, insns: fromHex(code)!, license: 'GPL' });
    const run = kernel.progTestRun({ progFd: prog, dataIn: data });
    const after = kernel.mapLookupElem({ mapFd: map, key })!;
    return {
      ret: new DataView(after.buffer, after.byteOffset).getBigInt64(0, true).toString(),
      bufs: buffers.map((buffer, i) => toHex(after.subarray(offsets[i], offsets[i] + buffer.length))),
      out: toHex(run.dataOut),
    };
  } catch (error) {
    if (error instanceof BpfError) return { ret: `${error.code}: ${error.message}`, bufs: [], out: '' };
    throw error;
  } finally {
    if (prog !== undefined) kernel.close(prog);
    kernel.close(map);
  }
}

const packet = (length: number): Uint8Array => {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + 1) & 255);
  bytes.set([8, 0, 0x45], 12);
  return bytes;
};

describe.skipIf(why !== null)('packet helpers behave as the kernel does', () => {
  let host: HostBpf;
  beforeAll(async () => {
    host = await HostBpf.open();
  });
  afterAll(() => host?.close());

  async function compare(
    name: string,
    type: number,
    calls: readonly { args: readonly Arg[]; data?: Uint8Array }[],
  ) {
    const { id } = helperByName(name)!;
    const answers = await host.run(
      calls.map(
        ({ args, data = packet(64) }): HostCommand => ({
          op: 'helper',
          type,
          id,
          args: args.map((arg) =>
            arg === 'ctx' ? { ctx: true } : typeof arg === 'number' ? arg : { buf: toHex(arg) },
          ),
          data: toHex(data),
        }),
      ),
    );
    for (const jit of [0, 1]) {
      const kernel = new EmbeddedKernel({ possibleCpus: 2 });
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      for (const [i, { args, data = packet(64) }] of calls.entries()) {
        const what = `${name}(${args.map((a) => (a instanceof Uint8Array ? toHex(a) : a)).join(', ')}) on ${data.length} bytes, jit ${jit}`;
        const theirs = answers[i];
        if (theirs.load !== undefined) throw new Error(`${what} does not load: ${theirs.log}`);
        const ours = embedded(kernel, type, id, args, data);
        expect({ what, ...ours }).toEqual({
          what,
          ret: String(theirs.ret),
          bufs: theirs.bufs,
          out: theirs.out,
        });
      }
      kernel.shutdown();
    }
  }

  const deltas = [
    0, 1, -1, 4, -4, 14, 40, 49, 50, 51, 64, 100, -14, -100, -191, -192, -200, -216, -217, -240, -256, -257,
  ];
  const ctxAnd = (values: readonly number[], ...more: number[]) =>
    values.map((value) => ({ args: ['ctx' as const, value, ...more] }));

  it('bpf_xdp_adjust_head', () => compare('bpf_xdp_adjust_head', XDP, ctxAnd(deltas)));
  it('bpf_xdp_adjust_tail', () =>
    compare('bpf_xdp_adjust_tail', XDP, ctxAnd([...deltas, 200, 1000, 3000, 3400, 3455, 3456, 3457, 4000])));
  it('bpf_xdp_adjust_meta', () =>
    compare('bpf_xdp_adjust_meta', XDP, ctxAnd([...deltas, -32, -8, -6, -252, -255])));
  it('bpf_xdp_get_buff_len', () =>
    compare('bpf_xdp_get_buff_len', XDP, [{ args: ['ctx'] }, { args: ['ctx'], data: packet(200) }]));
  it('bpf_xdp_load_bytes, bpf_xdp_store_bytes', async () => {
    const calls = [0, 1, 60, 61, 64, 0xffff, 0x1_0000, 0xffff_ffff].map((offset) => ({
      args: ['ctx' as const, offset, Uint8Array.of(1, 2, 3, 4), 4],
    }));
    await compare('bpf_xdp_load_bytes', XDP, calls);
    await compare('bpf_xdp_store_bytes', XDP, calls);
  });

  it('bpf_skb_load_bytes, bpf_skb_store_bytes', async () => {
    const calls = [0, 1, 60, 61, 64, 0x7fff_ffff, 0xffff_ffff].map((offset) => ({
      args: ['ctx' as const, offset, Uint8Array.of(1, 2, 3, 4), 4],
    }));
    await compare('bpf_skb_load_bytes', SCHED_CLS, calls);
    await compare(
      'bpf_skb_store_bytes',
      SCHED_CLS,
      calls.map(({ args }) => ({ args: [...args, 0] })),
    );
  });
  it('bpf_skb_pull_data', () => compare('bpf_skb_pull_data', SCHED_CLS, ctxAnd([0, 1, 34, 64, 65, 1000])));
  // Buffers of the embedded kernel do not grow: what Linux reallocates for is left out here.
  it('bpf_skb_change_tail', () =>
    compare('bpf_skb_change_tail', SCHED_CLS, [
      ...ctxAnd([0, 13, 14, 20, 33, 34, 63, 64, 16_065, 20_000], 0),
      ...ctxAnd([64], 1),
    ]));
  it('bpf_skb_change_head', () =>
    compare('bpf_skb_change_head', SCHED_CLS, [
      ...ctxAnd([0, 1, 14, 32, 64, 100, 16_001, 0xffff_ffff], 0),
      ...ctxAnd([4], 1),
    ]));
  it('bpf_skb_change_type', () => compare('bpf_skb_change_type', SCHED_CLS, ctxAnd([0, 1, 3, 4, 7])));
});
