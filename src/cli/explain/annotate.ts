/** The C source with what the verifier knew and spent at each line; hot spots; costs by function. */
import { accessBytes, CLASS, insnClass, insnOp, JMP_OP, LD_IMM64, SOURCE } from '../../asm/index.ts';
import type { AnnotatedRegister, Annotations, InsnAnnotation } from '../../contracts/annotations.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { LineInfo } from '../../contracts/verify.ts';
import { helperById } from '../../spec/index.ts';
import { grouped, type Output } from '../output.ts';
import type { Sources } from './sources.ts';

export interface Costs {
  /** Instructions checked, over all paths. */
  readonly processed: number;
  readonly states: number;
  readonly pruned: number;
}

export interface AnnotatedLine extends Costs {
  readonly file: string;
  readonly line: number;
  readonly text: string;
  readonly function: string;
  /** Instructions of the program that come from the line. */
  readonly insns: readonly number[];
  /** What the line reads, joined over all paths: as it is known before the line. */
  readonly registers: readonly AnnotatedRegister[];
}

export interface AnnotatedProgram {
  readonly program: string;
  readonly total: Costs;
  readonly lines: readonly AnnotatedLine[];
  readonly functions: readonly (Costs & { readonly name: string; readonly insns: number })[];
  readonly insns: readonly InsnAnnotation[];
  /** Knowledge was collected for the first part of the verification only: the program is too large. */
  readonly capped: boolean;
}

/** Hottest lines that are listed. */
const HOT = 10;

function sum(parts: readonly Costs[]): Costs {
  let processed = 0;
  let states = 0;
  let pruned = 0;
  for (const part of parts) {
    processed += part.processed;
    states += part.states;
    pruned += part.pruned;
  }
  return { processed, states, pruned };
}

/** Registers that an instruction reads, as the lists name them. */
function reads(insn: Insn): string[] {
  const { code, dst, src, off } = insn;
  const names: string[] = [];
  const add = (n: number) => {
    if (n < 10) names.push(`R${n}`);
  };
  const slot = (base: number) => {
    // A pointer or number that was put on the stack.
    if (base === 10 && accessBytes(code) === 8 && off < 0) names.push(`fp-${-off}`);
  };
  switch (insnClass(code)) {
    case CLASS.LDX:
      add(src);
      slot(src);
      break;
    case CLASS.ST:
      add(dst);
      break;
    case CLASS.STX:
      add(dst);
      add(src);
      break;
    case CLASS.JMP:
    case CLASS.JMP32: {
      const op = insnOp(code);
      if (op === JMP_OP.EXIT) add(0);
      else if (op === JMP_OP.CALL) {
        const count = src === 0 ? (helperById(insn.imm)?.args.length ?? 5) : 5;
        for (let n = 1; n <= count; n++) add(n);
      } else if (op !== JMP_OP.JA) {
        add(dst);
        if ((code & SOURCE.X) !== 0) add(src);
      }
      break;
    }
    case CLASS.LD:
      break;
    default:
      if (insnOp(code) !== 0xb0) add(dst);
      if ((code & SOURCE.X) !== 0) add(src);
  }
  return names;
}

function writes(insn: Insn): number {
  const cls = insnClass(insn.code);
  if (cls === CLASS.LDX || cls === CLASS.ALU || cls === CLASS.ALU64 || insn.code === LD_IMM64)
    return insn.dst;
  return cls === CLASS.JMP && insnOp(insn.code) === JMP_OP.CALL ? 0 : -1;
}

export function annotate(
  program: string,
  insns: readonly Insn[],
  lineInfo: readonly LineInfo[],
  annotations: Annotations,
): AnnotatedProgram {
  const byInsn = new Map(annotations.insns.map((one) => [one.insn, one]));
  const functionAt = (insn: number) =>
    annotations.functions.find(({ start, end }) => insn >= start && insn < end)?.name ?? program;
  const lines = new Map<string, AnnotatedLine & { insns: number[]; parts: InsnAnnotation[] }>();
  let record: LineInfo | undefined;
  let next = 0;
  insns.forEach((insn, i) => {
    while (lineInfo[next] !== undefined && lineInfo[next]!.insn <= i) record = lineInfo[next++];
    if (insns[i - 1]?.code === LD_IMM64 && insn.code === 0) return;
    const file = record?.file.replace(/^\.\//, '') ?? '';
    const name = functionAt(i);
    const key = `${name}\0${file}\0${record?.line ?? i}`;
    let line = lines.get(key);
    if (line === undefined) {
      line = {
        file,
        line: record?.line ?? 0,
        text: record?.text ?? '',
        function: name,
        insns: [],
        registers: [],
        parts: [],
        processed: 0,
        states: 0,
        pruned: 0,
      };
      lines.set(key, line);
    }
    line.insns.push(i);
    const own = byInsn.get(i);
    if (own !== undefined) line.parts.push(own);
  });
  return {
    program,
    total: sum(annotations.insns),
    lines: [...lines.values()].map(({ parts, ...line }) => ({
      ...line,
      ...sum(parts),
      registers: knownBefore(line.insns, insns, byInsn),
    })),
    functions: annotations.functions.map(({ name, start, end }) => ({
      name,
      insns: end - start,
      ...sum(annotations.insns.filter(({ insn }) => insn >= start && insn < end)),
    })),
    insns: annotations.insns,
    capped: annotations.capped,
  };
}

/** What the instructions of a line read and did not make themselves. */
function knownBefore(
  own: readonly number[],
  insns: readonly Insn[],
  byInsn: ReadonlyMap<number, InsnAnnotation>,
): AnnotatedRegister[] {
  const out = new Map<string, AnnotatedRegister>();
  const made = new Set<string>();
  for (const i of own) {
    const insn = insns[i]!;
    for (const name of reads(insn)) {
      if (made.has(name) || out.has(name)) continue;
      const known = byInsn.get(i)?.registers.find(({ register }) => register === name);
      if (known !== undefined) out.set(name, known);
    }
    const n = writes(insn);
    if (n >= 0) made.add(`R${n}`);
  }
  return [...out.values()];
}

/** `R1 = map_value(counts) + 0..56`, `R2 = 0..255`. */
export function knownText({ register, types, map, min, max, range }: AnnotatedRegister): string {
  const parts = types
    .filter((type) => type !== 'scalar')
    .map((type) => (map !== undefined && type.startsWith('map') ? `${type}(${map})` : type));
  const scalar = types.includes('scalar');
  const bounds = min === undefined ? undefined : min === max ? min : `${min}..${max}`;
  if (scalar) parts.push(parts.length === 0 && bounds !== undefined ? bounds : 'scalar');
  let text = parts.join(' | ');
  if (!scalar && bounds !== undefined && bounds !== '0')
    text += bounds.startsWith('-') && min === max ? bounds : ` +${bounds}`;
  if (range !== undefined) text += `, ${range} bytes of packet`;
  return `${register} = ${text}`;
}

export function printAnnotated(out: Output, annotated: AnnotatedProgram, sources: Sources): void {
  const { bold, dim, cyan } = out.color;
  const { lines, total } = annotated;
  let place = '';
  out.line(dim('   checked   states   pruned'));
  let last = 0;
  for (const line of lines) {
    const here = `${line.function}\0${line.file}`;
    if (here !== place) {
      out.line(`  ${bold(line.function)}  ${cyan(line.file)}`);
      last = line.line;
      place = here;
    }
    // Lines between, which made no code, where the source is there.
    const source = sources.of(line.file);
    if (source.path !== undefined && line.line > last && line.line - last <= GAP)
      for (let n = last + 1; n < line.line; n++)
        out.line(dim(`${' '.repeat(28)} ${String(n).padStart(5)} | ${source.line(n) ?? ''}`.trimEnd()));
    last = line.line;
    const number = line.line === 0 ? `insn ${line.insns[0]}` : String(line.line).padStart(5);
    out.line(`${costs(line)} ${dim(`${number} |`)} ${line.text.trimEnd()}`.trimEnd());
    for (const known of chunks(line.registers.map(knownText))) out.line(dim(`${' '.repeat(34)} | ${known}`));
  }
  if (annotated.capped)
    out.line(dim('what is known was collected for the first part of the verification only'));
  const hot = [...lines]
    .sort((a, b) => b.processed - a.processed)
    .slice(0, HOT)
    .filter(({ processed }) => processed > 0);
  if (hot.length > 0 && total.processed > 0) {
    out.heading('most checked');
    for (const line of hot) {
      const share = `${((100 * line.processed) / total.processed).toFixed(1)}%`.padStart(7);
      const where = line.line === 0 ? `instruction ${line.insns[0]}` : `${line.file}:${line.line}`;
      out.line(
        `${share} ${grouped(line.processed).padStart(10)}  ${cyan(where)}  ${line.text.trim()}`.trimEnd(),
      );
    }
  }
  if (annotated.functions.length > 1) {
    out.heading('by function');
    for (const one of [...annotated.functions].sort((a, b) => b.processed - a.processed))
      out.line(`${costs(one)}  ${bold(one.name)} ${dim(`(${grouped(one.insns)} instructions)`)}`);
  }
}

/** Gaps of more lines are not filled with source. */
const GAP = 8;

function costs({ processed, states, pruned }: Costs): string {
  const cell = (n: number, width: number) => (n === 0 ? '' : grouped(n)).padStart(width);
  return cell(processed, 10) + cell(states, 9) + cell(pruned, 9);
}

/** Facts in lines of readable length. */
function chunks(facts: readonly string[]): string[] {
  const out: string[] = [];
  for (const fact of facts) {
    const last = out[out.length - 1];
    if (last !== undefined && last.length + fact.length < 90) out[out.length - 1] = `${last}; ${fact}`;
    else out.push(fact);
  }
  return out;
}
