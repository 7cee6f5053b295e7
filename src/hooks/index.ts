/** From events and packets to the contexts of program types; the registry of what has a test run. */
import type { Hook, LiveContext, PacketSource } from '../contracts/hooks.ts';
import type { PacketOps } from '../contracts/runtime.ts';
import type { GuestMemory } from '../memory/index.ts';
import { InternalError } from '../util/errors.ts';
import type { PacketMemory } from './packet-memory.ts';
import { RAW_TRACEPOINT_HOOK } from './raw-tracepoint.ts';
import { SKB_HOOK, SkbContexts, type SkbPacket } from './skb.ts';
import { SYSCALL_HOOK } from './syscall.ts';
import { XDP_HOOK, XdpContexts, type XdpFrame } from './xdp.ts';

export { EventContexts, userPlace } from './events.ts';

const HOOKS: readonly Hook[] = [XDP_HOOK, SKB_HOOK, RAW_TRACEPOINT_HOOK, SYSCALL_HOOK];

/** How a program type is test-run; undefined where it cannot be. */
export function testRunHook(progType: string): Hook['testRun'] {
  return HOOKS.find((hook) => hook.progTypes.includes(progType))?.testRun;
}

/** All contexts with packets of one kernel, and the packet helpers' way to them. */
export class PacketContexts implements PacketSource {
  /** Dispatches to the packet behind a context. */
  readonly ops: PacketOps;
  readonly #live = new Map<number, PacketMemory>();
  readonly #xdp: XdpContexts;
  readonly #skb: SkbContexts;

  constructor(memory: GuestMemory) {
    const register = (ctx: number, packet: PacketMemory) => {
      this.#live.set(ctx, packet);
    };
    this.#xdp = new XdpContexts(memory, register);
    this.#skb = new SkbContexts(memory, register);
    this.ops = {
      adjustHead: (ctx, delta) => this.#packet(ctx).adjustHead(ctx, delta),
      adjustTail: (ctx, delta) => this.#packet(ctx).adjustTail(ctx, delta),
      adjustMeta: (ctx, delta) => this.#packet(ctx).adjustMeta(ctx, delta),
      data: (ctx) => this.#packet(ctx).data(),
      headers: (ctx) => this.#packet(ctx).headers(),
    };
  }

  xdp(frame: XdpFrame): LiveContext {
    return this.#xdp.open(frame);
  }

  skb(packet: SkbPacket): LiveContext {
    return this.#skb.open(packet);
  }

  #packet(ctx: number): PacketMemory {
    const packet = this.#live.get(ctx);
    if (packet === undefined) throw new InternalError(`no packet behind the context at ${ctx}`);
    return packet;
  }
}
