/**
 * Reads `.BTF.ext` (Documentation/bpf/btf.rst section 4; libbpf_internal.h: struct btf_ext_header): function info, line
 * info and CO-RE relocation records, grouped by the ELF section whose instructions they describe.
 *
 * Offsets in the file are bytes into that section; here they are instruction indexes (8-byte slots). Records longer than
 * what is known are accepted and cut, as libbpf does. Errors: BpfError EINVAL with the sub-section.
 */
import { BpfError } from '../util/index.ts';
import type { Btf } from './btf.ts';
import { BTF_MAGIC } from './parse.ts';

export interface BtfFuncInfo {
  /** Instruction index in the section. */
  readonly insn: number;
  /** BTF id of the `func`. */
  readonly type: number;
}

export interface BtfLineInfo {
  /** Instruction index in the section. */
  readonly insn: number;
  /** String offsets, as PROG_LOAD wants them. */
  readonly fileOffset: number;
  readonly lineOffset: number;
  /** `line << 10 | column` */
  readonly lineColumn: number;
}

/** What a CO-RE relocation asks for (UAPI: enum bpf_core_relo_kind), by number. */
export const CORE_RELO_KINDS = [
  'byte_off',
  'byte_sz',
  'field_exists',
  'signed',
  'lshift_u64',
  'rshift_u64',
  'local_type_id',
  'target_type_id',
  'type_exists',
  'type_size',
  'enumval_exists',
  'enumval_value',
  'type_matches',
] as const;
export type CoreReloKind = (typeof CORE_RELO_KINDS)[number];

export interface BtfCoreRelocation {
  /** Instruction index in the section. */
  readonly insn: number;
  /** Local root type id. */
  readonly type: number;
  /** Access string: `0:1:2` for fields, `0` for types, the index of the enumerator for enums. */
  readonly access: string;
  readonly kind: CoreReloKind;
  /** String offset of `access`, as PROG_LOAD wants it. */
  readonly accessOffset: number;
}

export interface BtfExt {
  readonly funcInfo: ReadonlyMap<string, readonly BtfFuncInfo[]>;
  readonly lineInfo: ReadonlyMap<string, readonly BtfLineInfo[]>;
  readonly coreRelocations: ReadonlyMap<string, readonly BtfCoreRelocation[]>;
}

function bad(what: string): BpfError {
  return new BpfError('EINVAL', `malformed .BTF.ext: ${what}`);
}

interface Part<T> {
  readonly what: string;
  readonly minimum: number;
  readonly read: (at: number, section: string) => T;
}

/** Parses `.BTF.ext`; `btf` is the `.BTF` of the same file, which holds the strings. */
export function parseBtfExt(bytes: Uint8Array, btf: Btf): BtfExt {
  if (bytes.length < 24) throw bad(`${bytes.length} bytes, shorter than the header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getUint16(0, true) === BTF_MAGIC;
  if (!little && view.getUint16(0, false) !== BTF_MAGIC) throw bad('wrong magic');
  if (view.getUint8(2) !== 1) throw bad(`version ${view.getUint8(2)}`);
  const u32 = (at: number): number => view.getUint32(at, little);
  const headerSize = u32(4);
  if (headerSize < 24 || headerSize > bytes.length) throw bad(`header of ${headerSize} bytes`);

  const readPart = <T>(headerAt: number, part: Part<T>): Map<string, T[]> => {
    const result = new Map<string, T[]>();
    if (headerAt + 8 > headerSize) return result;
    let at = headerSize + u32(headerAt);
    const end = at + u32(headerAt + 4);
    if (at === end) return result;
    if (at % 4 !== 0 || end > bytes.length)
      throw bad(`${part.what} at offset ${at} reaches to ${end} of ${bytes.length}`);
    if (at + 4 > end) throw bad(`${part.what} is too short`);
    const recordSize = u32(at);
    if (recordSize < part.minimum || recordSize % 4 !== 0) {
      throw bad(`${part.what} records of ${recordSize} bytes, expected ${part.minimum}`);
    }
    at += 4;
    while (at < end) {
      if (at + 8 > end) throw bad(`${part.what}: section header at offset ${at} is cut off`);
      const section = btf.string(u32(at));
      const count = u32(at + 4);
      at += 8;
      if (count === 0) throw bad(`${part.what}: no records for section '${section}'`);
      if (at + count * recordSize > end) {
        throw bad(`${part.what}: ${count} records for section '${section}' do not fit`);
      }
      const records = result.get(section) ?? [];
      for (let i = 0; i < count; i++) records.push(part.read(at + i * recordSize, section));
      result.set(section, records);
      at += count * recordSize;
    }
    return result;
  };
  const insnIndex = (at: number, what: string, section: string): number => {
    const offset = u32(at);
    if (offset % 8 !== 0)
      throw bad(`${what}: offset ${offset} in section '${section}' is not an instruction`);
    return offset / 8;
  };

  return {
    funcInfo: readPart(8, {
      what: 'func_info',
      minimum: 8,
      read: (at, section) => ({ insn: insnIndex(at, 'func_info', section), type: u32(at + 4) }),
    }),
    lineInfo: readPart(16, {
      what: 'line_info',
      minimum: 16,
      read: (at, section) => ({
        insn: insnIndex(at, 'line_info', section),
        fileOffset: u32(at + 4),
        lineOffset: u32(at + 8),
        lineColumn: u32(at + 12),
      }),
    }),
    coreRelocations: readPart(24, {
      what: 'core_relo',
      minimum: 16,
      read: (at, section) => {
        const kind = CORE_RELO_KINDS[u32(at + 12)];
        if (kind === undefined) throw bad(`core_relo: kind ${u32(at + 12)} in section '${section}'`);
        return {
          insn: insnIndex(at, 'core_relo', section),
          type: u32(at + 4),
          access: btf.string(u32(at + 8)),
          accessOffset: u32(at + 8),
          kind,
        };
      },
    }),
  };
}
