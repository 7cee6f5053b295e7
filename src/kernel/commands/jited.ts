/** Compiled code of a program as OBJ_GET_INFO_BY_FD gives it: with the C lines that the program was loaded with. */
import type { JitedFunction, JitedInsn } from '../../contracts/engine.ts';
import type { LineInfo } from '../../contracts/verify.ts';
import type { ProgramParts } from '../objects.ts';

/** A C line stands at the first instruction of each piece of code that was made of it. */
export function jitedListing({ executable, lines }: ProgramParts): JitedFunction[] {
  return (executable.listing?.() ?? []).map((f) => {
    let last: LineInfo | undefined;
    const insns = f.insns.map((insn): JitedInsn => {
      const first = insn.stands?.[0];
      const line = first === undefined ? undefined : lineAt(lines, first.index);
      if (line === undefined || line === last) return insn;
      last = line;
      return { ...insn, source: { text: line.text, file: line.file, line: line.line, column: line.column } };
    });
    return { ...f, insns };
  });
}

/** The last record at or before an instruction; `lines` are in order. */
function lineAt(lines: readonly LineInfo[], insn: number): LineInfo | undefined {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (lines[middle]!.insn <= insn) low = middle + 1;
    else high = middle;
  }
  return lines[low - 1];
}
