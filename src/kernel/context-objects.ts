/**
 * Contexts of programs as tracing programs see them: the kernel's own struct behind the facade (`xdp_buff` for `xdp_md`), laid out as the
 * kernel's types say, with what the modelled context knows. Made for one run of a tracing program; what it writes is lost.
 */
import type { BtfInput } from '../btf/index.ts';
import type { GuestMemory } from '../memory/index.ts';
import { kernelAddress } from '../memory/index.ts';
import { MODELLED_SKB, MODELLED_XDP } from '../spec/index.ts';

export interface ContextObject {
  readonly struct: string;
  readonly members: (memory: GuestMemory, ctx: number) => Readonly<Record<string, BtfInput>>;
}

const pointer = (memory: GuestMemory, at: number): bigint => memory.view.getBigUint64(at, true);

/** By the name of the facade. */
export const CONTEXT_OBJECTS: Readonly<Record<string, ContextObject>> = {
  xdp_md: {
    struct: 'xdp_buff',
    members: (memory, ctx) => {
      const field = (name: keyof typeof MODELLED_XDP): number => ctx + MODELLED_XDP[name];
      const u32 = (name: keyof typeof MODELLED_XDP): number => memory.view.getUint32(field(name), true);
      const start = u32('buffer');
      return {
        data: pointer(memory, field('data')),
        data_end: pointer(memory, field('data_end')),
        data_meta: pointer(memory, field('data_meta')),
        data_hard_start: start === 0 ? pointer(memory, field('data')) : kernelAddress(start),
        rxq: { dev: { ifindex: u32('ingress_ifindex') }, queue_index: u32('rx_queue_index') },
      };
    },
  },
  __sk_buff: {
    struct: 'sk_buff',
    members: (memory, ctx) => {
      const u32 = (name: keyof typeof MODELLED_SKB): number =>
        memory.view.getUint32(ctx + MODELLED_SKB[name], true);
      return {
        len: u32('len'),
        data: pointer(memory, ctx + MODELLED_SKB.data),
        mark: u32('mark'),
        priority: u32('priority'),
        hash: u32('hash'),
        protocol: u32('protocol') & 0xffff,
        queue_mapping: u32('queue_mapping') & 0xffff,
        skb_iif: u32('ingress_ifindex'),
        dev: { ifindex: u32('ifindex') },
      };
    },
  },
};
