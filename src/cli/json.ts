/** Values as JSON: integers that a double cannot hold keep their digits, bytes are hex. */
import { toHex } from '../util/bytes.ts';

/**
 * As JSON.stringify, for what maps and events hold. A bigint is written as a number with all its digits, which JSON allows;
 * readers that use doubles lose the last ones, others do not.
 */
export function toJson(value: unknown, indent = 0): string {
  return write(value, indent, '');
}

function write(value: unknown, indent: number, margin: string): string {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return JSON.stringify(toHex(value));
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const inner = margin + ' '.repeat(indent);
  const isArray = Array.isArray(value);
  const parts = isArray
    ? value.map((item) => write(item, indent, inner))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => `${JSON.stringify(key)}:${indent > 0 ? ' ' : ''}${write(item, indent, inner)}`);
  const [open, close] = isArray ? '[]' : '{}';
  if (parts.length === 0) return open + close;
  if (indent === 0) return open + parts.join(',') + close;
  return `${open}\n${inner}${parts.join(`,\n${inner}`)}\n${margin}${close}`;
}
