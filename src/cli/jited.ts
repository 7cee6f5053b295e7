/**
 * Compiled code (`prog dump jited`) below the C lines and BPF instructions that it stands for: WebAssembly of the embedded kernel, machine
 * code of Linux or of the engine that runs the WebAssembly. JSON has bpftool's shape: functions with `insns` of `pc`, `operation`,
 * `operands`, and `src` where a C line begins.
 */
import type { Btf } from '../btf/index.ts';
import type { JitedFunction, SourceLine } from '../contracts/engine.ts';
import type { ProgInfo } from '../contracts/kernel.ts';
import type { MachineInsn } from './native.ts';
import { functionPrototypes, sourceAtRecord } from './xlated.ts';

export interface JitedOptions {
  /** With the bytes of each instruction. */
  readonly opcodes?: boolean;
  /** With file, line and column of each C line. */
  readonly linum?: boolean;
}

/** Code of one function, of whatever machine. */
export interface CodeFunction {
  readonly name: string;
  /** `int main(struct xdp_md * ctx)`, where it is known. */
  readonly proto?: string;
  /** What stands between operands. */
  readonly separator: string;
  /** What stands between name and code. */
  readonly head: readonly string[];
  readonly insns: readonly CodeInsn[];
}

export interface CodeInsn {
  readonly pc: string;
  readonly bytes: Uint8Array;
  readonly depth: number;
  readonly operation: string;
  readonly operands: readonly string[];
  /** BPF instructions, `4: r0 = 1`. */
  readonly stands?: readonly string[];
  readonly source?: SourceLine;
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0');

/** Functions of the embedded kernel: in the order of the program's functions, as the prototypes are. */
export function wasmFunctions(info: ProgInfo, btf: Btf | undefined): CodeFunction[] {
  const listing = info.jitedListing ?? [];
  const protos = functionPrototypes(info, btf);
  return listing.map((f, i): CodeFunction => {
    const proto = protos.length === listing.length ? protos[i] : undefined;
    return {
      name: f.name,
      ...(proto === undefined ? {} : { proto }),
      separator: ' ',
      head: [`func ${f.signature}`, ...(f.locals === '' ? [] : [f.locals])],
      insns: f.insns.map(({ stands, offset, ...insn }) => ({
        ...insn,
        pc: `0x${offset.toString(16)}`,
        ...(stands === undefined ? {} : { stands: stands.map(({ index, text }) => `${index}: ${text}`) }),
      })),
    };
  });
}

/** The machine code that the engine makes of a function, with the C lines by place in the WebAssembly. */
export function engineFunction(
  f: JitedFunction,
  proto: string | undefined,
  code: readonly MachineInsn[],
): CodeFunction {
  const sources = f.insns.filter(({ source }) => source !== undefined);
  let next = 0;
  const insns = code.map((insn): CodeInsn => {
    let source: SourceLine | undefined;
    // Places are known where the code may stop only: all lines up to there have begun.
    while (
      next < sources.length &&
      insn.wasmOffset !== undefined &&
      sources[next]!.offset + f.head <= insn.wasmOffset
    )
      source = sources[next++]!.source;
    return { ...plainInsn(insn), ...(source === undefined ? {} : { source }) };
  });
  return { name: f.name, ...(proto === undefined ? {} : { proto }), separator: ', ', head: [], insns };
}

const plainInsn = ({ pc, bytes, operation, operands }: MachineInsn): CodeInsn => ({
  pc: `0x${pc.toString(16)}`,
  bytes,
  depth: 0,
  operation,
  operands,
});

/** Linux tells where each function starts (`jitedKsyms`), how long it is, and for each line record an address. */
export function hostFunctions(
  info: ProgInfo,
  btf: Btf | undefined,
  disassemble: (code: Uint8Array, address: bigint) => readonly MachineInsn[],
): CodeFunction[] {
  const code = info.jitedInsns ?? new Uint8Array();
  const lengths = info.jitedFuncLens?.length ? info.jitedFuncLens : [code.length];
  const protos = functionPrototypes(info, btf);
  const lines = new Map<bigint, SourceLine>();
  info.jitedLineInfo?.forEach((address, record) => {
    const source = btf === undefined ? undefined : sourceAtRecord(info, btf, record);
    if (source !== undefined && !lines.has(address)) lines.set(address, source);
  });
  let at = 0;
  return lengths.map((length, i): CodeFunction => {
    const start = info.jitedKsyms?.[i] ?? 0n;
    const insns = disassemble(code.subarray(at, at + length), start).map((insn): CodeInsn => {
      const source = lines.get(start + BigInt(insn.pc));
      return { ...plainInsn(insn), ...(source === undefined ? {} : { source }) };
    });
    at += length;
    const proto = protos.length === lengths.length ? protos[i] : undefined;
    const name = `bpf_prog_${info.progTags?.[i] ?? info.tag}_${i === 0 ? info.name : `F${i}`}`;
    const head = [`${name}: # 0x${start.toString(16)}`];
    return { name, ...(proto === undefined ? {} : { proto }), separator: ',', head, insns };
  });
}

export function* jitedLines(functions: readonly CodeFunction[], options: JitedOptions): Generator<string> {
  let first = true;
  for (const { name, proto, separator, head, insns } of functions) {
    if (!first) yield '';
    first = false;
    yield `${proto ?? name}:`;
    yield* head;
    const width = Math.max(4, ...insns.map(({ pc }) => pc.length - 1));
    for (const { pc, bytes, depth, operation, operands, stands, source } of insns) {
      if (source !== undefined) yield `; ${sourceText(source, options)}`;
      for (const text of stands ?? []) yield `  ;; ${text}`;
      // Deep nests are not indented without end.
      const text = operands.length === 0 ? operation : `${operation} ${operands.join(separator)}`;
      yield `${pc.slice(2).padStart(width)}:\t${'  '.repeat(Math.min(depth, 40))}${text}`;
      if (options.opcodes) yield `${' '.repeat(width + 1)}\t${Array.from(bytes, hex).join(' ')}`;
    }
  }
}

function sourceText({ text, file, line, column }: SourceLine, { linum }: JitedOptions): string {
  const shown = text.trimStart();
  return linum ? `${shown} [file:${file} line_num:${line} line_col:${column}]` : shown;
}

export function jitedJson(functions: readonly CodeFunction[], options: JitedOptions): unknown[] {
  return functions.map(({ name, proto, insns }) => ({
    ...(proto === undefined ? {} : { proto }),
    name,
    insns: insns.map(({ pc, bytes, operation, operands, stands, source }) => ({
      ...(source === undefined ? {} : { src: source.text.trimStart() }),
      ...(source === undefined || !options.linum
        ? {}
        : { file: source.file, line_num: source.line, line_col: source.column }),
      ...(stands === undefined ? {} : { bpf: stands }),
      pc,
      operation,
      operands: operands.length === 0 ? [null] : operands,
      ...(options.opcodes ? { opcodes: Array.from(bytes, (byte) => `0x${hex(byte)}`) } : {}),
    })),
  }));
}
