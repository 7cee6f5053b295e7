/** Bytes, text and alignment: small pure functions that several rooms need. */

const decoder = new TextDecoder('utf-8', { fatal: false });
const encoder = new TextEncoder();

/** The NUL-terminated string at `offset`; ends at `end` (default: the end of `bytes`) where there is no NUL. */
export function readCString(bytes: Uint8Array, offset = 0, end = bytes.length): string {
  let stop = offset;
  while (stop < end && bytes[stop] !== 0) stop++;
  return decoder.decode(bytes.subarray(offset, stop));
}

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

export function fromUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Rounds `n` up to a multiple of `alignment`, a power of two. */
export function alignUp(n: number, alignment: number): number {
  return Math.ceil(n / alignment) * alignment;
}

export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

/** Parses an even number of hex digits; spaces, colons and a leading 0x are ignored. Null where it is not hex. */
export function fromHex(text: string): Uint8Array | null {
  const digits = text.replace(/^0x/i, '').replace(/[\s:]/g, '');
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) return null;
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const part of parts) size += part.length;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
