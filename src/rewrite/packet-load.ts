/**
 * Legacy packet loads (BPF_LD | BPF_ABS and BPF_IND; RFC 9669 section 5.5): the functions behind them.
 *
 * R6 holds the context. Data is big-endian in the packet and in host order in R0. Negative offsets count from the
 * headers: SKF_NET_OFF (-0x100000) from the network header, SKF_LL_OFF (-0x200000) from the link layer. An offset outside
 * of the packet ends the program (in a subprogram: its frame) with R0 = 0; the function then stores a negative number.
 *
 * Packets are linear, so what lies between the edges that the context holds is loaded in place; the function is called for
 * what does not.
 */
import * as c from '../asm/construct.ts';
import { accessBytes, insnMode, MODE } from '../asm/opcodes.ts';
import type { CallableFunction } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import type { PacketOps } from '../contracts/runtime.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { RUN_STATE } from '../memory/layout.ts';
import { MODELLED_SKB } from '../spec/contexts/modelled.ts';
import { ERRNO } from '../util/errno.ts';
import type { Emitter } from './emitter.ts';

const SKF_NET_OFF = -0x10_0000;
const SKF_LL_OFF = -0x20_0000;
const ETH_HLEN = 14;

/** Functions (context, offset) by size in bytes; the value stands at RUN_STATE.helperResult, negative: out of range. */
export interface PacketLoads {
  readonly 1: CallableFunction;
  readonly 2: CallableFunction;
  readonly 4: CallableFunction;
}

/** Offset in memory of `size` bytes at `offset` of the packet, or -1. */
function locate(
  packets: Pick<PacketOps, 'data' | 'headers'>,
  ctx: number,
  offset: number,
  size: number,
): number {
  const { start, length } = packets.data(ctx);
  const end = start + length;
  if (offset >= 0) return offset + size <= length ? start + offset : -1;
  if (offset < SKF_LL_OFF) return -1;
  const headers = packets.headers?.(ctx) ?? { link: start, network: start + ETH_HLEN };
  const at =
    offset >= SKF_NET_OFF ? headers.network + offset - SKF_NET_OFF : headers.link + offset - SKF_LL_OFF;
  return at >= Math.min(headers.link, start) && at + size <= end ? at : -1;
}

export function createPacketLoads(
  memory: GuestMemory,
  packets: Pick<PacketOps, 'data' | 'headers'>,
): PacketLoads {
  const load = (size: 1 | 2 | 4): CallableFunction => ({
    name: `packet_load_${8 * size}`,
    params: ['u32', 'u32'],
    result: 'u64',
    fn: (ctx: number, offset: number): void => {
      const at = locate(packets, ctx, offset | 0, size);
      if (at < 0) {
        memory.writeHalves(memory.cpuDelta + RUN_STATE.helperResult, -ERRNO.EFAULT, -1);
        return;
      }
      const { view } = memory;
      const value =
        size === 1 ? view.getUint8(at) : size === 2 ? view.getUint16(at, false) : view.getInt32(at, false);
      memory.writeHalves(memory.cpuDelta + RUN_STATE.helperResult, value, 0);
    },
  });
  return { 1: load(1), 2: load(2), 4: load(4) };
}

const SIZES = { 1: 'b', 2: 'h', 4: 'w' } as const;

/** Emits what stands for a legacy packet load. R1 to R5 are free: the load clobbers them. */
export function emitPacketLoad(out: Emitter, origin: number, insn: Insn, loads: PacketLoads): void {
  const size = accessBytes(insn.code) as 1 | 2 | 4;
  const put = (...insns: Insn[]) => {
    for (const one of insns) out.emit(origin, one);
  };
  // R2: the offset, as 32 bits without sign. First of all: the index may be in any register that is used below.
  if (insnMode(insn.code) === MODE.IND)
    put(c.mov32Reg(c.R2, insn.src as c.Reg), c.alu32Imm('add', c.R2, insn.imm));
  else put(c.mov32Imm(c.R2, insn.imm));
  const inPlace = [
    c.alu64Reg('add', c.R1, c.R2),
    c.ldx(SIZES[size], c.R0, c.R1),
    ...(size === 1 ? [] : [c.swap('be', (8 * size) as 16 | 32, c.R0)]),
  ];
  // R1: the packet's start; R3: what would remain behind the bytes to load.
  put(
    c.ldx('dw', c.R1, c.R6, MODELLED_SKB.data),
    c.ldx('dw', c.R3, c.R6, MODELLED_SKB.data_end),
    c.alu64Reg('sub', c.R3, c.R1),
    c.alu64Reg('sub', c.R3, c.R2),
    c.jumpImm(64, 'jslt', c.R3, size, inPlace.length + 1),
    ...inPlace,
    c.ja(CALL_LENGTH),
    c.mov64Reg(c.R1, c.R6),
  );
  out.emit(origin, c.callHelper(0), { kind: 'function', callee: loads[size] });
  put(c.jumpImm(64, 'jsge', c.R0, 0, 2), c.mov64Imm(c.R0, 0), c.exit());
}

/** Instructions of the call and its end. */
const CALL_LENGTH = 5;
