/** Bytes as bpftool and people look at them. */

/** `0000010  4500 0028 … | ..E..(` : 16 bytes a line. */
export function hexdump(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16);
    const hex = Array.from({ length: 8 }, (_, i) => pair(line, 2 * i)).join(' ');
    const chars = Array.from(line, (byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.',
    ).join('');
    text += `${at.toString(16).padStart(7, '0')}\t${hex} | ${chars.slice(0, 8)} ${chars.slice(8)}\n`;
  }
  return text;
}

function pair(line: Uint8Array, at: number): string {
  const one = (byte: number | undefined) => (byte === undefined ? '  ' : byte.toString(16).padStart(2, '0'));
  return one(line[at]) + one(line[at + 1]);
}

/** bpftool's form of raw bytes in JSON: `["0x0a", "0x42"]`. */
export function hexList(bytes: Uint8Array): string[] {
  return Array.from(bytes, (byte) => `0x${byte.toString(16).padStart(2, '0')}`);
}

/** `0a 42 00 00` */
export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
