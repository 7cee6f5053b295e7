/**
 * bpf_redirect and bpf_redirect_map: the helpers remember where the packet goes, and the packet goes there when the program
 * returns the action (kernel: struct bpf_redirect_info).
 */
import type { PacketVerdict } from '../contracts/kernel.ts';
import type { BpfMap } from '../contracts/maps.ts';
import type { ProgTypeRow } from '../spec/types.ts';
import { XDP_ACTION } from '../uapi/index.ts';

export type Redirect = NonNullable<PacketVerdict['redirect']>;

/** What bpf_redirect answers in programs of a context: the action, the refusal, and the flags that it knows. */
const BY_CONTEXT: Readonly<Record<string, { action: number; refusal: number; flags: number }>> = {
  xdp_md: { action: XDP_ACTION.XDP_REDIRECT, refusal: XDP_ACTION.XDP_ABORTED, flags: 0 },
  // TC_ACT_REDIRECT, TC_ACT_SHOT, BPF_F_INGRESS
  __sk_buff: { action: 7, refusal: 2, flags: 1 },
};

const KINDS: Readonly<Record<string, Redirect['kind']>> = { device: 'device', cpu: 'cpu', xsk: 'xsk' };

export class Redirects {
  #next: Redirect | undefined;

  clear(): void {
    this.#next = undefined;
  }

  /** What the run that has just ended asked for. */
  take(): Redirect | undefined {
    const next = this.#next;
    this.#next = undefined;
    return next;
  }

  toDevice(type: ProgTypeRow | undefined, ifindex: number, flags: number, flagsHigh: number): number {
    const rules = BY_CONTEXT[type?.ctx.struct ?? ''];
    if (rules === undefined) return XDP_ACTION.XDP_ABORTED;
    if (flagsHigh !== 0 || (flags & ~rules.flags) !== 0) return rules.refusal;
    this.#next = { kind: 'device', target: ifindex >>> 0, flags };
    return rules.action;
  }

  /** The entry at `key`: a device's index (struct bpf_devmap_val), a CPU, a queue. */
  toEntry(map: BpfMap, key: number, flags: number): void {
    const kind = KINDS[map.info.type.holds ?? ''];
    if (kind === undefined) return;
    this.#next = { kind, target: kind === 'device' ? deviceAt(map, key) : key, flags };
  }
}

function deviceAt(map: BpfMap, key: number): number {
  const bytes = new Uint8Array(map.info.keySize);
  new DataView(bytes.buffer).setUint32(0, key, true);
  const value = map.lookup(bytes);
  return typeof value === 'number' ? 0 : new DataView(value.buffer, value.byteOffset).getUint32(0, true);
}
