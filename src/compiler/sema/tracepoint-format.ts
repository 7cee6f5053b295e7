/**
 * Format files of tracefs (Documentation/trace/events.rst, "Event formats") to the fields of the record that a program sees. Types of the
 * kernel's sources need not be known: size and sign say enough, except of what is a pointer.
 */

export interface FormatField {
  readonly name: string;
  /** Bytes from the start of the record. */
  readonly offset: number;
  /** Bytes of the whole field. */
  readonly size: number;
  readonly signed: boolean;
  readonly pointer: boolean;
  readonly char: boolean;
  /** Elements, where it is an array. */
  readonly length: number | null;
}

const FIELD = /^\s*field:\s*([^;]*?)\s*;\s*offset:\s*(\d+)\s*;\s*size:\s*(\d+)\s*;(?:\s*signed:\s*(\d))?/gm;
const MAX_FIELDS = 512;
/** Records are at most a page long; what claims more is no format file. */
const MAX_RECORD = 65_536;

/** Fields in the order of the file, those that a program cannot name left out. */
export function parseTracepointFormat(text: string): FormatField[] {
  const fields: FormatField[] = [];
  for (const match of text.matchAll(FIELD)) {
    if (fields.length === MAX_FIELDS) break;
    const declaration = match[1]!;
    const offset = Number(match[2]);
    const size = Number(match[3]);
    const parts = /^(.*?)\s*([A-Za-z_]\w*)\s*(\[[^\]]*\])?$/.exec(declaration);
    if (parts === null || size === 0 || offset + size > MAX_RECORD) continue;
    const type = parts[1]!;
    const dynamic = /^__(data|rel)_loc\b/.exec(type)?.[1];
    // A dynamic field is a word that says where it lies: BCC calls it data_loc_NAME.
    const name = dynamic === undefined ? parts[2]! : `${dynamic}_loc_${parts[2]}`;
    const count = dynamic === undefined && parts[3] !== undefined ? Number(parts[3].slice(1, -1)) : null;
    const isArray = count !== null && Number.isInteger(count) && count > 0 && size % count === 0;
    fields.push({
      name,
      offset,
      size,
      signed: match[4] === '1',
      pointer: dynamic === undefined && type.includes('*'),
      char: /\bchar\b/.test(type),
      length: isArray ? count : count !== null || ![1, 2, 4, 8].includes(size) ? size : null,
    });
  }
  return fields;
}
