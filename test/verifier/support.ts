/** Verifies programs written as text, with maps by name: `r1 = map[fd:1]` is the first of `maps`. */
import { assemble } from '../../src/asm/index.ts';
import type { MapInfo } from '../../src/contracts/maps.ts';
import type { VerifyRequest, VerifyResult } from '../../src/contracts/verify.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { ERRNO } from '../../src/util/index.ts';
import { verify } from '../../src/verifier/index.ts';

let nextId = 1;

export function map(type: string, keySize: number, valueSize: number, extra: Partial<MapInfo> = {}): MapInfo {
  return {
    id: nextId++,
    name: '',
    type: mapTypeByName(type)!,
    keySize,
    valueSize,
    maxEntries: 1,
    flags: 0,
    ...extra,
  };
}

export const ROOT = { uid: 0, capBpf: true, capPerfmon: true, capNetAdmin: true, capSysAdmin: true };
/** CAP_BPF alone: pointers may not leak, and speculation is guarded against. */
export const BPF_ONLY = {
  uid: 1000,
  capBpf: true,
  capPerfmon: false,
  capNetAdmin: false,
  capSysAdmin: false,
};
export const NOBODY = { uid: 1000, capBpf: false, capPerfmon: false, capNetAdmin: false, capSysAdmin: false };

export interface Program extends Partial<Omit<VerifyRequest, 'progType'>> {
  readonly type?: string;
  readonly maps?: readonly MapInfo[];
}

/** One instruction a line. */
export function check(text: string, options: Program = {}): VerifyResult {
  const { type = 'socket_filter', maps = [], ...rest } = options;
  return verify({
    progType: progTypeByName(type)!,
    expectedAttachType: 0,
    insns: assemble(text),
    gplCompatible: true,
    mapByFd: (fd) => maps[fd - 1] ?? -ERRNO.EBADF,
    credentials: ROOT,
    flags: 0,
    logLevel: 0,
    ...rest,
  });
}

/** `accept`, or the errno and the reason. */
export function verdict(text: string, options: Program = {}): string {
  const result = check(text, options);
  return result.verdict === 'accept' ? 'accept' : `${result.errno}: ${result.message}`;
}

/** Looks a value of map 1 up with key 0 of 8 bytes; R0 is the value, not NULL, at instruction 8. */
export const LOOKUP = `
  r2 = r10
  r2 += -8
  *(u64 *)(r2 +0) = 0
  r1 = map[fd:1]
  call bpf_map_lookup_elem#1
  if r0 != 0x0 goto pc+2
  r0 = 0
  exit
`;
