/** A verified program without a verifier: tests say themselves what was proven. */

import type { Insn } from '../../src/contracts/insn.ts';
import type { BpfMap, MapInfo } from '../../src/contracts/maps.ts';
import type { InsnFacts, SubprogInfo, VerifiedProgram } from '../../src/contracts/verify.ts';
import type { GuestMemory } from '../../src/memory/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';

export interface Proven {
  readonly progType?: string;
  readonly facts?: Readonly<Record<number, InsnFacts>>;
  /** Instructions that no path reaches. */
  readonly dead?: readonly number[];
  /** Starts of subprograms besides 0, with the shape of their arguments where they are callbacks. */
  readonly subprogs?: Readonly<Record<number, string | null>>;
  readonly stackDepth?: number;
}

export function proven(insns: readonly Insn[], what: Proven = {}): VerifiedProgram {
  const starts = [0, ...Object.keys(what.subprogs ?? {}).map(Number)].sort((a, b) => a - b);
  const subprogs = starts.map((start, i): SubprogInfo => {
    const shape = what.subprogs?.[start];
    return {
      start,
      end: starts[i + 1] ?? insns.length,
      stackDepth: what.stackDepth ?? 32,
      ...(shape ? { callbackShape: shape } : {}),
    };
  });
  const seen = new Uint8Array(insns.length).fill(1);
  for (const i of what.dead ?? []) seen[i] = 0;
  return {
    verdict: 'accept',
    request: {
      progType: progTypeByName(what.progType ?? 'socket_filter')!,
      expectedAttachType: 0,
      insns,
      gplCompatible: true,
      mapByFd: () => -9,
      credentials: { uid: 0, capBpf: true, capPerfmon: true, capNetAdmin: true, capSysAdmin: true },
      flags: 0,
      logLevel: 0,
    },
    facts: insns.map((_, i) => what.facts?.[i]),
    seen,
    subprogs,
    usedMaps: Object.values(what.facts ?? {}).flatMap((facts) => facts?.callMap ?? []),
    log: '',
    stats: {
      insnsProcessed: insns.length,
      totalStates: 0,
      peakStates: 0,
      maxStatesPerInsn: 0,
      stackDepth: [],
      microseconds: 0,
    },
  };
}

/** An array map of `count` values of 8 bytes. */
export function arrayMap(memory: GuestMemory, id: number, count: number): BpfMap {
  const address = memory.allocate(128, 'map header');
  const values = memory.allocate(8 * count, 'map values');
  const info: MapInfo = {
    id,
    name: `array${id}`,
    type: mapTypeByName('array')!,
    keySize: 4,
    valueSize: 8,
    maxEntries: count,
    flags: 0,
  };
  const map: Partial<BpfMap> = {
    info,
    layout: { address, values, stride: 8 },
    valueAddress: (offset) => (offset < 8 * count ? values + offset : -22),
  };
  return map as BpfMap;
}
