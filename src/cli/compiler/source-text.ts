/** The bytes of a C file as text. What is no UTF-8 is kept byte by byte, so that strings have what the file has. */

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes of the UTF-8 sequence at `at`; 0 where there is none. */
function sequence(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  for (let i = 1; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  const second = bytes[at + 1]!;
  const refused =
    (lead === 0xe0 && second < 0xa0) ||
    (lead === 0xed && second > 0x9f) ||
    (lead === 0xf0 && second < 0x90) ||
    (lead === 0xf4 && second > 0x8f);
  return refused ? 0 : length;
}

/** A byte 0xNN that belongs to no character becomes the lone surrogate U+DCNN. */
export function sourceText(bytes: Uint8Array): string {
  try {
    return STRICT.decode(bytes);
  } catch {
    let text = '';
    let start = 0;
    for (let at = 0; at < bytes.length; ) {
      const length = sequence(bytes, at);
      if (length > 0) {
        at += length;
        continue;
      }
      text += STRICT.decode(bytes.subarray(start, at)) + String.fromCharCode(0xdc00 | bytes[at]!);
      start = ++at;
    }
    return text + STRICT.decode(bytes.subarray(start));
  }
}
