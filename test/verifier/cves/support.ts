/**
 * Exploits of verifier bugs, rebuilt from their public descriptions: each is a program in which the buggy verifier believed
 * something that is not so when the program runs. The tests ask two things of every one: a sound verifier refuses it, and where it
 * runs unverified all the same, it stays in the sandbox.
 */
import { assemble, encodeProgram } from '../../../src/asm/index.ts';
import type { Fd, Kernel } from '../../../src/contracts/kernel.ts';
import { mapTypeByName, progTypeByName } from '../../../src/spec/index.ts';

export interface ExploitMap {
  readonly type: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
  /** Value of key 0. */
  readonly first?: bigint;
  /** Read-only for programs and frozen after it was filled. */
  readonly frozen?: true;
}

export interface Exploit {
  readonly cve: string;
  /** The bug, in a sentence. */
  readonly bug: string;
  /** Default `socket_filter`. */
  readonly type?: string;
  /** `map[fd:1]` in the text is the first. */
  readonly maps?: readonly ExploitMap[];
  readonly text: string;
  /** The reason of a sound verifier, for root; a program that is harmless where arithmetic is right: `accept`. */
  readonly privileged: RegExp | 'accept';
  /** For those without any capability, where the type may be loaded by them. */
  readonly unprivileged?: RegExp | 'accept';
  /** What running it unverified does: `fault` (the default) is an access that the checking interpreter stops. */
  readonly unverified?: 'fault' | 'harmless';
}

/** An array of one value; its first 8 bytes are what the program takes for unknown. */
export const secret = (first: bigint): ExploitMap => ({
  type: 'array',
  keySize: 4,
  valueSize: 16,
  maxEntries: 1,
  first,
});

/** R9 = address of the one value of map 1, R6 = its first 8 bytes: unknown to any verifier. */
export const UNKNOWN = `
  *(u32 *)(r10 - 4) = 0
  r2 = r10
  r2 += -4
  r1 = map[fd:1]
  call bpf_map_lookup_elem
  if r0 != 0 goto found
  r0 = 0
  exit
found:
  r9 = r0
  r6 = *(u64 *)(r9 + 0)
`;

/** The offset in R6 that the buggy verifier takes for 0 and that is not: a store far behind the map's value. */
export const ESCAPE = `
  r6 *= 0x20000000
  r9 += r6
  r1 = 0x41414141
  *(u64 *)(r9 + 0) = r1
  r0 = 1
  exit
`;

/** The instructions, with the descriptors of the maps in them. */
export function exploitInsns({ text, maps = [] }: Exploit, fds: readonly Fd[]) {
  const insns = assemble(text);
  return insns.map((insn) =>
    insn.code === 0x18 && (insn.src === 1 || insn.src === 2) && insn.imm > 0 && insn.imm <= maps.length
      ? { ...insn, imm: fds[insn.imm - 1] ?? insn.imm }
      : insn,
  );
}

/** Makes the exploit's maps in a kernel. */
export function makeMaps(kernel: Kernel, exploit: Exploit): Fd[] {
  return (exploit.maps ?? []).map((map) => {
    const mapFd = kernel.mapCreate({
      mapType: mapTypeByName(map.type)!.id,
      keySize: map.keySize,
      valueSize: map.valueSize,
      maxEntries: map.maxEntries,
      mapFlags: map.flags ?? 0,
    });
    if (map.first !== undefined) {
      const value = new Uint8Array(map.valueSize);
      new DataView(value.buffer).setBigUint64(0, map.first, true);
      kernel.mapUpdateElem({ mapFd, key: new Uint8Array(map.keySize), value });
    }
    if (map.frozen) kernel.mapFreeze({ mapFd });
    return mapFd;
  });
}

/** Loads it; throws what the kernel throws. */
export function loadExploit(kernel: Kernel, exploit: Exploit, fds: readonly Fd[]): Fd {
  return kernel.progLoad({
    progType: progTypeByName(exploit.type ?? 'socket_filter')!.id,
    insns: encodeProgram(exploitInsns(exploit, fds)),
    license: 'GPL',
    logLevel: 1,
  });
}
