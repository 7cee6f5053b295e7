/** Which of perf's forms a file has, by its first bytes. */

const MAGIC = 'PERFILE2';

export function isPerfData(bytes: Uint8Array): boolean {
  return bytes.length >= MAGIC.length && [...MAGIC].every((letter, i) => letter.charCodeAt(0) === bytes[i]);
}

/** `comm pid [cpu] time: [period] event:` at the start of a line, with the frames of its stack below. */
const HEAD =
  /^(\S.*?)\s+(-?\d{1,10})(?:\/(\d{1,10}))?\s+(?:\[(\d{1,5})\]\s+)?(\d{1,12})\.(\d{1,9}):\s+(?:(\d{1,20})\s+)?(\S+?):?\s*$/;
const FRAME = /^\s{1,64}([0-9a-f]{1,16}) /;
/** No head is as long; what is longer would keep the expression busy. */
const LONGEST_HEAD = 512;

export function scriptHead(line: string): RegExpExecArray | null {
  return line.length > LONGEST_HEAD ? null : HEAD.exec(line);
}

export interface ScriptFrame {
  readonly address: bigint;
  /** `name+0x12`, or `[unknown]`. */
  readonly symbol: string;
  readonly object: string;
}

/** `  ffffffff81d33df2 read_zero+0x72 ([kernel.kallsyms])`; the object stands in the last brackets, and names have brackets, too. */
export function scriptFrame(line: string): ScriptFrame | null {
  const start = FRAME.exec(line);
  if (start === null) return null;
  const rest = line.slice(start[0].length).trim();
  const open = rest.endsWith(')') ? rest.lastIndexOf(' (') : -1;
  return {
    address: BigInt(`0x${start[1]}`),
    symbol: open < 0 ? rest : rest.slice(0, open).trimEnd(),
    object: open < 0 ? '' : rest.slice(open + 2, -1),
  };
}

export function isPerfScript(text: string): boolean {
  const lines = text.slice(0, 1 << 16).split('\n');
  return lines.some((line, i) => scriptHead(line) !== null && scriptFrame(lines[i + 1] ?? '') !== null);
}
