/** What tools print: tables of fixed columns or one JSON object a line, times, and the words for what is missing. */

export interface Sink {
  write(text: string): void;
}

/** A column of a tool's table. */
export interface Column<Row> {
  readonly title: string;
  /** Characters; the last column needs none. Negative: to the right. */
  readonly width?: number;
  readonly value: (row: Row) => string | number;
}

export function header<Row>(columns: readonly Column<Row>[]): string {
  return line(columns.map(({ title, width }) => ({ text: title, width })));
}

export function row<Row>(columns: readonly Column<Row>[], value: Row): string {
  return line(columns.map((column) => ({ text: String(column.value(value)), width: column.width })));
}

function line(cells: readonly { readonly text: string; readonly width: number | undefined }[]): string {
  return cells
    .map(({ text, width = 0 }) => (width < 0 ? text.padStart(-width) : text.padEnd(width)))
    .join(' ')
    .trimEnd();
}

/** Programs see names of processes and files as bytes: nothing of them may steer a terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
}

/** `13:05:07` of the machine's own clock. */
export function clockTime(epochNs: bigint): string {
  const date = new Date(Number(epochNs / 1_000_000n));
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
}

export function isoTime(epochNs: bigint): string {
  return new Date(Number(epochNs / 1_000_000n)).toISOString();
}

/** bigint as a number where that is exact, as text where not. */
export function jsonLine(value: object): string {
  return `${JSON.stringify(value, (_, part) => (typeof part !== 'bigint' ? part : Number.isSafeInteger(Number(part)) ? Number(part) : String(part)))}\n`;
}

/** A histogram's buckets that hold something, for JSON: powers of two as BCC's `value` rows. */
export function histogramRows(slots: readonly number[]): { low: number; high: number; count: number }[] {
  return slots.flatMap((count, i) =>
    count === 0 ? [] : [{ low: i <= 1 ? 0 : 2 ** (i - 1), high: 2 ** i - 1, count }],
  );
}
