/** Writes `.BTF.ext` (Documentation/bpf/btf.rst section 4): the inverse of `parseBtfExt`, with all three parts in a header of 32 bytes. */

import { type BtfCoreRelocation, type BtfFuncInfo, type BtfLineInfo, CORE_RELO_KINDS } from './ext.ts';
import { BTF_MAGIC } from './parse.ts';

export interface BtfExtInput {
  readonly funcInfo: ReadonlyMap<string, readonly BtfFuncInfo[]>;
  readonly lineInfo: ReadonlyMap<string, readonly BtfLineInfo[]>;
  readonly coreRelocations: ReadonlyMap<string, readonly Omit<BtfCoreRelocation, 'access'>[]>;
}

const HEADER_SIZE = 32;

/** `stringOffset` gives the offset of a section's name in the string section of the BTF beside it. */
export function writeBtfExt(
  ext: BtfExtInput,
  stringOffset: (text: string) => number,
  options: { littleEndian?: boolean } = {},
): Uint8Array {
  const part = <T>(
    records: ReadonlyMap<string, readonly T[]>,
    size: number,
    write: (record: T) => number[],
  ): number[] => {
    const words: number[] = [];
    for (const [section, list] of records) {
      if (list.length === 0) continue;
      words.push(stringOffset(section), list.length);
      for (const record of list) words.push(...write(record));
    }
    return words.length === 0 ? [] : [size, ...words];
  };
  const parts = [
    part(ext.funcInfo, 8, (one) => [one.insn * 8, one.type]),
    part(ext.lineInfo, 16, (one) => [one.insn * 8, one.fileOffset, one.lineOffset, one.lineColumn]),
    part(ext.coreRelocations, 16, (one) => [
      one.insn * 8,
      one.type,
      one.accessOffset,
      CORE_RELO_KINDS.indexOf(one.kind),
    ]),
  ];
  const little = options.littleEndian ?? true;
  const bytes = new Uint8Array(HEADER_SIZE + 4 * parts.reduce((sum, words) => sum + words.length, 0));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, BTF_MAGIC, little);
  view.setUint8(2, 1);
  view.setUint32(4, HEADER_SIZE, little);
  let at = 0;
  parts.forEach((words, i) => {
    view.setUint32(8 + 8 * i, at, little);
    view.setUint32(12 + 8 * i, 4 * words.length, little);
    words.forEach((word, j) => {
      view.setUint32(HEADER_SIZE + at + 4 * j, word, little);
    });
    at += 4 * words.length;
  });
  return bytes;
}
