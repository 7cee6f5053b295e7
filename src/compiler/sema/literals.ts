/** Types and values of number, character and string tokens (C11 6.4.4, 6.4.5); how they are spelled `preprocess` knows. */
import type { FloatType, IntegerType } from '../ast/index.ts';
import {
  type CharacterSize,
  characterSizeOf,
  type LiteralSink,
  numberValue,
  type Token,
  textValue,
} from '../preprocess/index.ts';
import type { Location } from '../source/index.ts';
import { DOUBLE, fits, INT, LLONG, LONG, UINT, ULLONG, ULONG } from './arithmetic-types.ts';

export type NumberValue =
  | { readonly kind: 'int'; readonly value: bigint; readonly type: IntegerType }
  | { readonly kind: 'float'; readonly value: number; readonly type: FloatType };

const SMALL = /^(?:0|[1-9][0-9]{0,8})$/;
/** The types that are tried in turn (6.4.4.1), by `u` and number of `l`; without `u` those of decimal literals. */
const DECIMAL: readonly (readonly IntegerType[])[] = [[INT, LONG], [LONG], [LLONG]];
const OTHER: readonly (readonly IntegerType[])[] = [
  [INT, UINT, LONG, ULONG],
  [LONG, ULONG],
  [LLONG, ULLONG],
];
const UNSIGNED: readonly (readonly IntegerType[])[] = [[UINT, ULONG], [ULONG], [ULLONG]];

/** Null where the text is no number, which was reported. */
export function readNumber(text: string, location: Location, sink: LiteralSink): NumberValue | null {
  if (SMALL.test(text)) return { kind: 'int', value: BigInt(Number(text)), type: INT };
  const literal = numberValue(text, location, sink);
  if (literal === null) return null;
  if (literal.kind === 'float') return { kind: 'float', value: literal.value, type: DOUBLE };
  const { value, longs } = literal;
  const candidates = (literal.unsigned ? UNSIGNED : literal.decimal ? DECIMAL : OTHER)[longs]!;
  // A decimal too large for long: clang makes it unsigned.
  const type = candidates.find((each) => fits(value, each)) ?? (longs === 2 ? ULLONG : ULONG);
  return { kind: 'int', value, type };
}

/** Adjacent string tokens joined; `bytes` has no terminator, `width` is that of one character. */
export function readStrings(
  tokens: readonly Token[],
  sink: LiteralSink,
): { bytes: Uint8Array; width: CharacterSize } {
  const width = Math.max(1, ...tokens.map((token) => characterSizeOf(token.text))) as CharacterSize;
  const units = tokens.flatMap((token) => textValue(token.text, token.location, sink, width).units);
  const bytes = new Uint8Array(units.length * width);
  const view = new DataView(bytes.buffer);
  units.forEach((unit, i) => {
    if (width === 1) bytes[i] = unit;
    else if (width === 2) view.setUint16(i * 2, unit, true);
    else view.setUint32(i * 4, unit, true);
  });
  return { bytes, width };
}

const SILENT: LiteralSink = { error: () => {}, warning: () => {} };

/** The text of string tokens, for attributes and asm templates. */
export function stringText(tokens: readonly Token[]): string {
  const { bytes } = readStrings(tokens, SILENT);
  return new TextDecoder().decode(bytes);
}
