/** Histograms as BCC prints them: powers of two and plain slots, 40 stars wide (20 where numbers need the room). */

import type { BtfValue } from '../btf/index.ts';

const WIDTH = 40;
/** From here on the numbers of a histogram of powers of two are printed wide. */
const WIDE_FROM = 33;

function stars(value: number, most: number, width: number): string {
  if (most === 0) return '';
  const count = Math.max(0, Math.min(width, Math.floor((width * value) / most)));
  return '*'.repeat(count);
}

interface Extent {
  /** Last slot with something in it, -1 where there is none. */
  readonly last: number;
  readonly most: number;
}

function extent(values: readonly number[]): Extent {
  let last = -1;
  let most = 0;
  values.forEach((value, i) => {
    if (value > 0) last = i;
    if (value > most) most = value;
  });
  return { last, most };
}

export interface HistogramOptions {
  /** What is counted: `usecs`. Default `value`. */
  readonly valueType?: string;
  /** Slots before the first one with something in it are left out. */
  readonly stripLeadingZero?: boolean;
}

/** Slot i counts values from 2^(i-1) to 2^i - 1, slot 1 also 0. Slot 0 is not printed. */
export function log2Histogram(values: readonly number[], options: HistogramOptions = {}): string {
  const { last, most } = extent(values);
  const wide = last >= WIDE_FROM;
  const width = wide ? WIDTH / 2 : WIDTH;
  const digits = wide ? 20 : 10;
  const lines: string[] = [];
  if (last > 0) {
    const title = (options.valueType ?? 'value').padEnd(wide ? 29 : 19);
    lines.push(`${' '.repeat(wide ? 15 : 5)}${title} : count     distribution`);
  }
  let strip = options.stripLeadingZero === true;
  for (let i = 1; i <= last; i++) {
    const value = values[i] ?? 0;
    if (strip && value === 0) continue;
    strip = false;
    const low = i === 1 ? 0n : (1n << BigInt(i)) >> 1n;
    const high = (1n << BigInt(i)) - 1n;
    const range = `${String(low).padStart(digits)} -> ${String(high).padEnd(digits)}`;
    lines.push(`${range} : ${String(value).padEnd(8)} |${stars(value, most, width).padEnd(width)}|`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

export function linearHistogram(values: readonly number[], options: HistogramOptions = {}): string {
  const { last, most } = extent(values);
  const lines: string[] = [];
  if (last >= 0) lines.push(`     ${(options.valueType ?? 'value').padEnd(13)} : count     distribution`);
  let strip = options.stripLeadingZero === true;
  for (let i = 0; i <= last; i++) {
    const value = values[i] ?? 0;
    if (strip && value === 0) continue;
    strip = false;
    lines.push(
      `        ${String(i).padEnd(10)} : ${String(value).padEnd(8)} |${stars(value, most, WIDTH).padEnd(WIDTH)}|`,
    );
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** A histogram as data. */
export interface JsonHistogram {
  /** What is counted apart, for tables whose keys have a bucket in front of the slot. */
  readonly bucket?: BtfValue;
  readonly valueType: string;
  readonly data: readonly Interval[];
}

/** Both ends belong to it. */
export interface Interval {
  readonly start: number | bigint;
  readonly end: number | bigint;
  readonly count: number;
}

/** The intervals of a histogram of powers of two, up to the last one with something in it. */
export function log2Intervals(values: readonly number[]): Interval[] {
  const { last } = extent(values);
  const number = (value: bigint) => (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value);
  return values.slice(1, last + 1).map((count, at) => ({
    start: at === 0 ? 0 : number(1n << BigInt(at)),
    end: number((1n << BigInt(at + 1)) - 1n),
    count,
  }));
}
