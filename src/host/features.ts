/**
 * What the running kernel can do, found by asking it: each answer is one PROG_LOAD or MAP_CREATE of the smallest thing of its kind,
 * made when somebody asks for the set and kept. What the caller may not do counts as missing.
 */
import { encodeProgram, ProgramBuilder, type Reg } from '../asm/index.ts';
import type { KernelFeatures } from '../contracts/kernel.ts';
import {
  attachTypeByName,
  HELPERS,
  MAP_TYPES,
  type MapTypeRow,
  PROG_TYPES,
  type ProgTypeRow,
  SECTIONS,
  type SizeRule,
} from '../spec/index.ts';
import { BPF_MAP_FLAGS, BPF_PROG_TYPE } from '../uapi/index.ts';
import { fromHex, readCString } from '../util/bytes.ts';
import { ERRNO } from '../util/errno.ts';
import type { Frame } from './arena.ts';
import type { Host } from './host.ts';

const R0 = 0 as Reg;
const LOG_SIZE = 4096;

/** `struct {int a}`-less BTF: one `int` as type 1, enough for maps that want types of key and value. */
const INT_BTF = fromHex(
  // magic, version, flags, hdr_len; type_off, type_len, str_off, str_len; name "int", INT kind, 4 bytes, signed 32 bits; strings
  '9feb0100 18000000 00000000 10000000 10000000 05000000 01000000 00000001 04000000 20000001 00696e7400',
)!;

export function hostFeatures(host: Host): KernelFeatures {
  const progTypes = once(
    () => new Set(PROG_TYPES.filter((row) => hasProgType(host, row)).map((row) => row.id)),
  );
  const mapTypes = once(() => new Set(MAP_TYPES.filter((row) => hasMapType(host, row)).map((row) => row.id)));
  const helpers = once(
    () => new Set(HELPERS.filter((row) => knowsHelper(host, row.id)).map((row) => row.id)),
  );
  return {
    kind: 'host',
    release: /^\d+\.\d+/.exec(host.native.release)?.[0] ?? host.native.release,
    arch: host.native.arch,
    possibleCpus: host.possibleCpus(),
    pageSize: host.native.pageSize,
    get progTypes() {
      return progTypes();
    },
    get mapTypes() {
      return mapTypes();
    },
    get helpers() {
      return helpers();
    },
  };
}

function once<T>(compute: () => T): () => T {
  let value: { readonly it: T } | undefined;
  return () => {
    value ??= { it: compute() };
    return value.it;
  };
}

interface Answer {
  readonly ret: number;
  readonly log: string;
}

function tryLoad(host: Host, progType: number, insns: Uint8Array, expectedAttachType: number): Answer {
  return host.bpf.scope((frame) => {
    const log = frame.room(LOG_SIZE);
    const { ret } = host.bpf.try(frame, 'BPF_PROG_LOAD', {
      progType,
      expectedAttachType,
      insnCnt: insns.length / 8,
      insns: frame.put(insns).address,
      license: frame.text('GPL').address,
      logLevel: 1,
      logSize: LOG_SIZE,
      logBuf: log.address,
    });
    if (ret >= 0) host.native.call('close', ret);
    return { ret, log: readCString(log.bytes) };
  });
}

/** An unknown type is refused before the verifier says a word; a known one loads, or is told why not. */
function hasProgType(host: Host, row: ProgTypeRow): boolean {
  const program = encodeProgram(new ProgramBuilder().mov64(R0, 0).exit().build());
  const attachTypes = new Set([0, ...attachTypesOf(row)]);
  for (const attachType of attachTypes) {
    const { ret, log } = tryLoad(host, row.id, program, attachType);
    if (ret >= 0 || log !== '' || ret === -ERRNO.ENOTSUPP) return true;
    if (ret === -ERRNO.EPERM) return false;
  }
  return false;
}

function attachTypesOf(row: ProgTypeRow): number[] {
  return SECTIONS.filter((section) => section.progType === row.name && section.attachType !== undefined).map(
    (section) => attachTypeByName(section.attachType!)?.id ?? 0,
  );
}

const smallest = (rule: SizeRule): number => ('oneOf' in rule ? (rule.oneOf?.[0] ?? 0) : (rule.min ?? 0));

/** Types that describe their values with BTF or hold others: what they need besides sizes. */
function hasMapType(host: Host, row: MapTypeRow): boolean {
  return host.bpf.scope((frame) => {
    let mapFlags = 0;
    for (const flag of row.requiredFlags ?? []) mapFlags |= BPF_MAP_FLAGS[flag as keyof typeof BPF_MAP_FLAGS];
    const sizes = {
      mapType: row.id,
      keySize: smallest(row.keySize),
      valueSize: Math.max(smallest(row.valueSize), 0),
      maxEntries: Math.max(smallest(row.maxEntries), 0),
      mapFlags,
    };
    const attempts: Record<string, number>[] = [sizes, { ...sizes, maxEntries: host.native.pageSize }];
    const inner = create(host, frame, { mapType: 2, keySize: 4, valueSize: 4, maxEntries: 1 });
    const btf = loadIntBtf(host, frame);
    if (inner >= 0) attempts.push({ ...sizes, maxEntries: 1, innerMapFd: inner });
    if (btf >= 0)
      attempts.push({ ...sizes, keySize: 4, valueSize: 4, btfFd: btf, btfKeyTypeId: 1, btfValueTypeId: 1 });
    attempts.push({ ...sizes, valueSize: 4, maxEntries: 1, btfVmlinuxValueTypeId: 1 });
    try {
      return attempts.some((values) => {
        const ret = create(host, frame, values);
        if (ret >= 0) host.native.call('close', ret);
        // Known, but not with these values.
        return ret >= 0 || ret === -ERRNO.ENOTSUPP || ret === -ERRNO.EBADF || ret === -ERRNO.ENOENT;
      });
    } finally {
      for (const fd of [inner, btf]) if (fd >= 0) host.native.call('close', fd);
    }
  });
}

function create(host: Host, frame: Frame, values: Readonly<Record<string, number>>): number {
  return host.bpf.try(frame, 'BPF_MAP_CREATE', values).ret;
}

function loadIntBtf(host: Host, frame: Frame): number {
  const values = { btf: frame.put(INT_BTF).address, btfSize: INT_BTF.length };
  return host.bpf.try(frame, 'BPF_BTF_LOAD', values).ret;
}

/** The verifier says "invalid func" of a number that it has no helper for, and something else of all others. */
function knowsHelper(host: Host, id: number): boolean {
  const insns = encodeProgram([
    { code: 0x85, dst: 0, src: 0, off: 0, imm: id },
    ...new ProgramBuilder().exit().build(),
  ]);
  const { ret, log } = tryLoad(host, BPF_PROG_TYPE.BPF_PROG_TYPE_SOCKET_FILTER, insns, 0);
  return ret >= 0 || (log !== '' && !log.includes('invalid func'));
}
