/** Programs as text for people: instructions with the names of maps and functions, under the C lines that they come from. */
import { type AsmSyntax, disassembleInsns, formatInsn } from '../asm/index.ts';
import type { Insn } from '../contracts/insn.ts';
import type { LineInfo } from '../contracts/verify.ts';
import type { ObjectSpec, ProgramSpec } from '../object/index.ts';
import { BPF_MACROS } from '../uapi/index.ts';

export interface SourceLine {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

export interface ListedInsn {
  readonly index: number;
  /** The 8 or 16 bytes. */
  readonly insns: readonly Insn[];
  readonly text: string;
  /** Name of the function that starts here. */
  readonly function?: string;
  /** The C line that starts here. */
  readonly source?: SourceLine;
}

const CALL = 0x85;
const LD_IMM64 = 0x18;

/** The instructions of a program of an object. References to maps and functions are names. */
export function listProgram(object: ObjectSpec, program: ProgramSpec, syntax: AsmSyntax): ListedInsn[] {
  const maps = new Map<number, string>();
  const symbols = new Map<number, string>();
  for (const relocation of program.relocations) {
    if (relocation.kind === 'map' || relocation.kind === 'map_value')
      maps.set(relocation.insn, object.maps[relocation.map].name);
    else symbols.set(relocation.insn, relocation.symbol);
  }
  const functions = new Map(program.functions.map(({ start, name }) => [start, name]));
  return list(program.insns, { syntax, maps, symbols, functions, lines: program.lineInfo });
}

/** The instructions of a program without an object. */
export function listInsns(insns: readonly Insn[], syntax: AsmSyntax): ListedInsn[] {
  return list(insns, { syntax, lines: [], maps: new Map(), symbols: new Map(), functions: new Map() });
}

interface Names {
  readonly syntax: AsmSyntax;
  readonly maps: ReadonlyMap<number, string>;
  readonly symbols: ReadonlyMap<number, string>;
  readonly functions: ReadonlyMap<number, string>;
  readonly lines: readonly LineInfo[];
}

function list(insns: readonly Insn[], names: Names): ListedInsn[] {
  const lineAt = new Map(names.lines.map((line) => [line.insn, line]));
  const options = {
    syntax: names.syntax,
    mapName: (_reference: number, _insn: Insn, index: number) => names.maps.get(index),
    // Only for calls: jumps keep their distances.
    labelOf: (target: number) => names.functions.get(target),
  };
  return disassembleInsns(insns, { ...options, labelOf: () => undefined }).map(({ index, slots, text }) => {
    const own = insns.slice(index, index + slots);
    const name = names.functions.get(index);
    const source = lineAt.get(index);
    return {
      index,
      insns: own,
      text: named(insns, index, names, options) ?? text,
      ...(name === undefined ? {} : { function: name }),
      ...(source === undefined ? {} : { source: toSource(source) }),
    };
  });
}

/** The text of an instruction that refers to a symbol; undefined for all others. */
function named(
  insns: readonly Insn[],
  index: number,
  names: Names,
  options: Parameters<typeof formatInsn>[2],
): string | undefined {
  const insn = insns[index];
  const symbol = names.symbols.get(index);
  if (insn.code === CALL && insn.src === BPF_MACROS.BPF_PSEUDO_CALL) return formatInsn(insns, index, options);
  if (insn.code === CALL && symbol !== undefined) return `call ${symbol}`;
  if (insn.code !== LD_IMM64) return undefined;
  if (symbol !== undefined) return `r${insn.dst} = &${symbol} ll`;
  const callee = names.functions.get(index + 1 + insn.imm);
  if (insn.src === BPF_MACROS.BPF_PSEUDO_FUNC && callee !== undefined)
    return `r${insn.dst} = subprog[${callee}]`;
  const map = names.maps.get(index);
  return names.syntax === 'llvm' && map !== undefined ? `r${insn.dst} = map[${map}] ll` : undefined;
}

export function toSource(line: { file: string; line: number; column: number; text: string }): SourceLine {
  return { file: line.file.replace(/^\.\//, ''), line: line.line, column: line.column, text: line.text };
}
