/**
 * Programs as a kernel gives them back (`prog dump xlated`): instructions after rewriting, below their functions' prototypes and C
 * lines, which the records of OBJ_GET_INFO_BY_FD and the program's BTF tell. Text and JSON are bpftool's.
 */
import { type DisassembledInsn, decodeProgram, disassembleInsns } from '../asm/index.ts';
import { CALL, CLASS, JMP_OP } from '../asm/opcodes.ts';
import type { Btf } from '../btf/index.ts';
import type { SourceLine } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import type { ProgInfo } from '../contracts/kernel.ts';
import type { KernelSymbols } from '../libbpf/index.ts';

export interface XlatedInsn {
  readonly index: number;
  readonly text: string;
  /** Its 8 or 16 bytes. */
  readonly bytes: Uint8Array;
  /** Of the function that starts here: `int main(struct xdp_md * ctx)`. */
  readonly proto?: string;
  readonly source?: SourceLine;
}

const INSN_SIZE = 8;
const FUNC_RECORD = 8;
const LINE_RECORD = 16;

/**
 * `btf`: that of the program; without it, instructions only. `symbols`: those of the kernel, where calls hold the distances of
 * functions from `__bpf_call_base` (Linux) instead of the numbers of helpers.
 */
export function listXlated(info: ProgInfo, btf: Btf | undefined, symbols?: KernelSymbols): XlatedInsn[] {
  const functions = btf === undefined ? new Map<number, number>() : records(info.funcInfo, FUNC_RECORD);
  const lines = btf === undefined ? new Map<number, number>() : records(info.lineInfo, LINE_RECORD);
  const functionView = viewOf(info.funcInfo);
  const lineView = viewOf(info.lineInfo);
  const raw = decodeProgram(info.xlatedInsns);
  const listed: readonly DisassembledInsn[] = disassembleInsns(raw.map(withDistance), {
    opcode: true,
    lossless: false,
    // References to maps hold ids after rewriting.
    mapName: (reference) => `id:${reference}`,
    ...(symbols === undefined ? {} : { helperName: calledFunction(symbols) }),
  });
  return listed.map(({ index, slots, text }) => {
    const functionAt = functions.get(index);
    const lineAt = lines.get(index);
    const proto =
      functionAt === undefined ? '' : prototype(btf!, functionView.getUint32(functionAt + 4, true));
    const source = lineAt === undefined ? undefined : sourceAt(btf!, lineView, lineAt);
    return {
      index,
      text: isCompiledCall(raw[index]!) ? `${text}${calledCode(info, raw[index]!, symbols)}` : text,
      bytes: info.xlatedInsns.subarray(index * INSN_SIZE, (index + slots) * INSN_SIZE),
      ...(proto === '' ? {} : { proto }),
      ...(source === undefined || source.text === '' ? {} : { source }),
    };
  });
}

/** Of the functions of a program, in order; those that are left after rewriting. */
export function functionPrototypes(info: ProgInfo, btf: Btf | undefined): string[] {
  if (btf === undefined) return [];
  const view = viewOf(info.funcInfo);
  const found: string[] = [];
  for (let at = 0; at + FUNC_RECORD <= info.funcInfo.length; at += FUNC_RECORD)
    found.push(prototype(btf, view.getUint32(at + 4, true)));
  return found;
}

/** The C line of line record `record`; undefined where there is none. */
export function sourceAtRecord(info: ProgInfo, btf: Btf, record: number): SourceLine | undefined {
  if ((record + 1) * LINE_RECORD > info.lineInfo.length) return undefined;
  const source = sourceAt(btf, viewOf(info.lineInfo), record * LINE_RECORD);
  return source.text === '' ? undefined : source;
}

/** Where a program is compiled, Linux gives calls of its functions with the distance in `off` and the function's number in `imm`. */
export function isCompiledCall(insn: Insn): boolean {
  return insn.code === (CLASS.JMP | JMP_OP.CALL) && insn.src === CALL.LOCAL && insn.off !== 0;
}

/** The same call as it was loaded. */
export function withDistance(insn: Insn): Insn {
  return isCompiledCall(insn) ? { ...insn, off: 0, imm: insn.off } : insn;
}

/** `#name`, or the address where the kernel's symbols have no name for it. */
function calledCode(info: ProgInfo, insn: Insn, symbols: KernelSymbols | undefined): string {
  const address = info.jitedKsyms?.[insn.imm];
  if (address === undefined) return '';
  const found = symbols?.at(address);
  return `#${found?.offset === 0n ? found.symbol.name : `0x${address.toString(16)}`}`;
}

function calledFunction(symbols: KernelSymbols): (distance: number) => string | undefined {
  const base = symbols.find('__bpf_call_base')[0];
  return (distance) => {
    const found = base === undefined ? undefined : symbols.at(base.address + BigInt(distance));
    return found?.offset === 0n ? found.symbol.name : undefined;
  };
}

export interface XlatedOptions {
  /** With the bytes of each instruction. */
  readonly opcodes?: boolean;
  /** With file, line and column of each C line. */
  readonly linum?: boolean;
}

export function* xlatedLines(insns: readonly XlatedInsn[], options: XlatedOptions): Generator<string> {
  for (const { index, text, bytes, proto, source } of insns) {
    if (proto !== undefined) yield `${proto}:`;
    if (source !== undefined) {
      const { file, line, column } = source;
      yield `; ${source.text}${options.linum ? ` [file:${file} line_num:${line} line_col:${column}]` : ''}`;
    }
    yield `${String(index).padStart(4)}: ${text}`;
    if (options.opcodes) yield `       ${Array.from(bytes, hex).join(' ')}`;
  }
}

export function xlatedJson(insn: XlatedInsn, options: XlatedOptions): Record<string, unknown> {
  const { proto, source, text, bytes } = insn;
  return {
    proto,
    src: source?.text,
    ...(source === undefined || !options.linum
      ? {}
      : { file: source.file, line_num: source.line || undefined, line_col: source.column || undefined }),
    disasm: text,
    ...(options.opcodes ? { opcodes: opcodeJson(bytes) } : {}),
  };
}

function opcodeJson(bytes: Uint8Array): Record<string, unknown> {
  const quoted = (part: Uint8Array) => Array.from(part, (byte) => `0x${hex(byte)}`);
  return {
    code: `0x${hex(bytes[0])}`,
    src_reg: `0x${(bytes[1] >> 4).toString(16)}`,
    dst_reg: `0x${(bytes[1] & 15).toString(16)}`,
    off: quoted(bytes.subarray(2, 4)),
    imm: quoted(bytes.subarray(4)),
  };
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0');

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Instruction → where its record begins. */
function records(bytes: Uint8Array, size: number): Map<number, number> {
  const view = viewOf(bytes);
  const found = new Map<number, number>();
  for (let at = 0; at + size <= bytes.length; at += size) found.set(view.getUint32(at, true), at);
  return found;
}

function sourceAt(btf: Btf, view: DataView, at: number): SourceLine {
  const place = view.getUint32(at + 12, true);
  return {
    text: btf.string(view.getUint32(at + 8, true)).trimStart(),
    file: btf.string(view.getUint32(at + 4, true)),
    line: place >>> 10,
    column: place & 0x3ff,
  };
}

/** `int main(struct xdp_md * ctx)`; '' where the types do not say. */
function prototype(btf: Btf, id: number): string {
  const func = btf.type(id);
  const proto = func.kind === 'func' ? btf.type(func.type) : func;
  if (func.kind !== 'func' || proto.kind !== 'func_proto') return '';
  const parameters = proto.params.map(({ name, type }, i) =>
    type === 0 && i === proto.params.length - 1 ? '...' : `${typeText(btf, type)} ${name}`.trimEnd(),
  );
  return `${typeText(btf, proto.returnType)} ${func.name}(${parameters.join(', ') || 'void'})`;
}

const MAX_DEPTH = 32;

function typeText(btf: Btf, id: number, depth = 0): string {
  const type = btf.type(id);
  if (depth > MAX_DEPTH) return '...';
  switch (type.kind) {
    case 'ptr':
      return `${typeText(btf, type.type, depth + 1)} *`;
    case 'const':
    case 'volatile':
    case 'restrict':
      return `${type.kind} ${typeText(btf, type.type, depth + 1)}`;
    case 'struct':
    case 'union':
      return `${type.kind} ${type.name}`;
    case 'fwd':
      return `${type.of} ${type.name}`;
    case 'enum':
    case 'enum64':
      return `enum ${type.name}`;
    case 'type_tag':
      return typeText(btf, type.type, depth + 1);
    case 'array':
      return `${typeText(btf, type.type, depth + 1)}[${type.count}]`;
    case 'func_proto':
      return `${typeText(btf, type.returnType, depth + 1)} (*)()`;
    case 'void':
      return 'void';
    default:
      return type.name;
  }
}
