/** Which of perf's forms a file has, by its first bytes. */

const MAGIC = 'PERFILE2';

export function isPerfData(bytes: Uint8Array): boolean {
  return bytes.length >= MAGIC.length && [...MAGIC].every((letter, i) => letter.charCodeAt(0) === bytes[i]);
}

/** `comm pid [cpu] time: [period] event:` at the start of a line, with the frames of its stack below. */
export const SCRIPT_HEAD =
  /^(\S.*?)\s+(-?\d{1,10})(?:\/(\d{1,10}))?\s+(?:\[(\d{1,5})\]\s+)?(\d{1,12})\.(\d{1,9}):\s+(?:(\d{1,20})\s+)?(\S+?):?\s*$/;
export const SCRIPT_FRAME = /^\s+([0-9a-f]{1,16})\s+(.*?)(?:\s+\(([^()]*|\[.*\])\))?\s*$/;

export function isPerfScript(text: string): boolean {
  const lines = text.slice(0, 1 << 16).split('\n');
  return lines.some((line, i) => SCRIPT_HEAD.test(line) && SCRIPT_FRAME.test(lines[i + 1] ?? ''));
}
