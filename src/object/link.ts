/**
 * Joins an entry program with every function it calls or takes the address of: each is appended once, in the order in which a
 * walk through the calls meets it (libbpf: bpf_object__reloc_code), and calls get their distance. Function info, line info
 * and CO-RE relocations move with their instructions.
 */
import { CALL, PSEUDO } from '../asm/index.ts';
import type { BtfCoreRelocation, BtfLineInfo } from '../btf/index.ts';
import type { Insn, LineInfo } from '../contracts.ts';
import { type ObjectContext, objectError } from './context.ts';
import {
  type CodeSection,
  isFunctionAddress,
  isLoadImm64,
  isLocalCall,
  type ObjectFunction,
  type ObjectReference,
} from './functions.ts';
import type { FunctionSpan, ProgramRelocation, ProgramSpec } from './types.ts';

/** Most instructions that all programs of one object may have together: callees are copied into each caller. */
const MAX_LINKED = 2_000_000;

const EXCEPTION_TAG = 'exception_callback:';

export type LinkedProgram = Pick<
  ProgramSpec,
  | 'insns'
  | 'relocations'
  | 'coreRelocations'
  | 'functions'
  | 'lineInfo'
  | 'funcInfoRecords'
  | 'lineInfoRecords'
>;

interface Placed {
  readonly code: CodeSection;
  readonly function: ObjectFunction;
  /** Where its first instruction lies in the program. */
  readonly start: number;
}

/** The records of a list, sorted by instruction, that lie in [start, start + size). */
function slice<T extends { readonly insn: number }>(records: readonly T[], start: number, size: number): T[] {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (records[middle]!.insn < start) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while (end < records.length && records[end]!.insn < start + size) end++;
  return records.slice(low, end);
}

function sorted<T extends { readonly insn: number }>(
  map: ReadonlyMap<string, readonly T[]>,
): Map<string, T[]> {
  return new Map([...map].map(([name, records]) => [name, [...records].sort((a, b) => a.insn - b.insn)]));
}

export class Linker {
  private readonly context: ObjectContext;
  private readonly code: ReadonlyMap<number, CodeSection>;
  private readonly byStart = new Map<string, ObjectFunction>();
  private readonly funcInfo: ReadonlyMap<string, readonly { insn: number; type: number }[]>;
  private readonly lineInfo: ReadonlyMap<string, readonly BtfLineInfo[]>;
  private readonly core: ReadonlyMap<string, readonly BtfCoreRelocation[]>;
  private tagged: Map<number, string> | undefined;
  private total = 0;

  constructor(context: ObjectContext, code: ReadonlyMap<number, CodeSection>) {
    this.context = context;
    this.code = code;
    for (const [index, section] of code) {
      for (const item of section.functions) this.byStart.set(`${index}:${item.start}`, item);
    }
    this.funcInfo = sorted(context.ext?.funcInfo ?? new Map());
    this.lineInfo = sorted(context.ext?.lineInfo ?? new Map());
    this.core = sorted(context.ext?.coreRelocations ?? new Map());
  }

  /** The whole program that starts with `entry`. */
  link(section: number, entry: ObjectFunction): LinkedProgram {
    const insns: Insn[] = [];
    const relocations: ProgramRelocation[] = [];
    const placed: Placed[] = [];
    const starts = new Map<ObjectFunction, number>();
    const place = (index: number, item: ObjectFunction): Placed => {
      this.total += item.size;
      if (this.total > MAX_LINKED) {
        throw objectError(
          'E2BIG',
          `the programs of this object have more than ${MAX_LINKED} instructions together`,
        );
      }
      const code = this.code.get(index)!;
      const at: Placed = { code, function: item, start: insns.length };
      for (let i = 0; i < item.size; i++) insns.push({ ...code.insns[item.start + i]! });
      placed.push(at);
      starts.set(item, at.start);
      return at;
    };
    // Explicit stack: a hostile object may chain more calls than the JavaScript stack holds.
    const open = [{ at: place(section, entry), next: 0 }];
    const handler = this.exceptionHandler(section, entry);
    while (open.length > 0) {
      const frame = open[open.length - 1]!;
      const { at } = frame;
      if (frame.next >= at.function.size) {
        open.pop();
        // Nothing calls it but the kernel: it comes last, unless the program does so too.
        if (open.length === 0 && handler !== undefined && !starts.has(handler.function))
          open.push({ at: place(handler.section, handler.function), next: 0 });
        continue;
      }
      const offset = frame.next;
      const position = at.start + offset;
      const insn = insns[position]!;
      const reference = at.code.references.get(at.function.start + offset);
      const target = this.target(at, offset, insn, reference);
      if (target !== undefined) {
        let start = starts.get(target.function);
        if (start === undefined) {
          const callee = place(target.section, target.function);
          start = callee.start;
          open.push({ at: callee, next: 0 });
        }
        insn.imm = start - position - 1;
        if (isLoadImm64(insn)) {
          insn.src = PSEUDO.FUNC;
          insns[position + 1]!.imm = 0;
        }
      } else if (reference !== undefined) {
        relocations.push(this.apply(insns, position, reference));
      }
      // The second slot of a wide load is no instruction.
      frame.next = offset + (isLoadImm64(insn) ? 2 : 1);
    }
    relocations.sort((a, b) => a.insn - b.insn);
    return { insns, relocations, ...this.info(placed) };
  }

  /** The global function that `exception_callback:NAME`, a tag of the entry's BTF, says that exceptions end in (__exception_cb). */
  private exceptionHandler(
    section: number,
    entry: ObjectFunction,
  ): { section: number; function: ObjectFunction } | undefined {
    const name = this.exceptionTags().get(this.funcType(entry));
    if (name === undefined) return undefined;
    for (const [index, code] of this.code) {
      const item = code.functions.find((one) => one.name === name && !one.isStatic);
      if (item !== undefined) return { section: index, function: item };
    }
    throw objectError(
      'ENOENT',
      `program '${entry.name}' in section '${this.context.elf.sections[section]?.name}': its exception callback '${name}' is no global function of the object`,
    );
  }

  /** Type of a function in the object's BTF; 0 where it has none. */
  private funcType(item: ObjectFunction): number {
    return slice(this.funcInfo.get(item.section.name) ?? [], item.start, 1)[0]?.type ?? 0;
  }

  /** Names of exception callbacks by the type of the function that is tagged with them; the first tag counts. */
  private exceptionTags(): ReadonlyMap<number, string> {
    if (this.tagged === undefined) {
      this.tagged = new Map();
      const { btf } = this.context;
      for (let id = 1; btf !== undefined && id < btf.typeCount; id++) {
        const type = btf.type(id);
        if (type.kind !== 'decl_tag' || type.componentIndex !== -1 || this.tagged.has(type.type)) continue;
        if (type.name.startsWith(EXCEPTION_TAG))
          this.tagged.set(type.type, type.name.slice(EXCEPTION_TAG.length));
      }
    }
    return this.tagged;
  }

  /** The function that an instruction calls or takes the address of. */
  private target(
    at: Placed,
    offset: number,
    insn: Insn,
    reference: ObjectReference | undefined,
  ): { section: number; function: ObjectFunction } | undefined {
    let section = at.function.section.index;
    let start: number;
    if (reference?.kind === 'call' || reference?.kind === 'func') {
      section = reference.section;
      start = reference.target;
    } else if (reference === undefined && (isLocalCall(insn) || isFunctionAddress(insn))) {
      // Calls within a section are resolved by the compiler.
      start = at.function.start + offset + insn.imm + 1;
    } else {
      return undefined;
    }
    const found = this.byStart.get(`${section}:${start}`);
    if (found === undefined) {
      const name = this.context.elf.sections[section]?.name ?? String(section);
      throw objectError(
        'EINVAL',
        `function '${at.function.name}', instruction ${offset}: no function starts at instruction ${start} of section '${name}'`,
      );
    }
    return { section, function: found };
  }

  /** Marks the instruction for the loader. */
  private apply(insns: Insn[], position: number, reference: ObjectReference): ProgramRelocation {
    const insn = insns[position]!;
    const { symbol } = reference;
    const second = insns[position + 1];
    const setWide = (src: number, offset: number): void => {
      if (second === undefined)
        throw objectError('EINVAL', `the program ends inside the ld_imm64 of '${symbol}'`);
      insn.src = src;
      insn.imm = 0;
      second.imm = offset;
    };
    switch (reference.kind) {
      case 'map':
        setWide(PSEUDO.MAP_FD, 0);
        return { kind: 'map', insn: position, map: reference.map, symbol };
      case 'map_value':
        setWide(PSEUDO.MAP_VALUE, reference.offset);
        return { kind: 'map_value', insn: position, map: reference.map, symbol, offset: reference.offset };
      case 'ksym':
        setWide(reference.typed ? PSEUDO.BTF_ID : PSEUDO.NONE, 0);
        return {
          kind: 'ksym',
          insn: position,
          symbol,
          weak: reference.weak,
          typed: reference.typed,
          typeId: reference.typeId,
        };
      case 'kfunc':
        insn.src = CALL.KFUNC;
        insn.imm = 0;
        return { kind: 'kfunc', insn: position, symbol, weak: reference.weak, typeId: reference.typeId };
      case 'kfunc_address':
        setWide(PSEUDO.BTF_ID, 0);
        return {
          kind: 'kfunc_address',
          insn: position,
          symbol,
          weak: reference.weak,
          typeId: reference.typeId,
        };
      case 'call':
      case 'func':
        throw objectError('EINVAL', `'${symbol}' is not a function`);
      default: {
        const never: never = reference;
        return never;
      }
    }
  }

  private info(placed: readonly Placed[]): Omit<LinkedProgram, 'insns' | 'relocations'> {
    const { btf } = this.context;
    const functions: FunctionSpan[] = [];
    const lineInfo: LineInfo[] = [];
    const lineRecords: number[] = [];
    const funcRecords: number[] = [];
    const coreRelocations: BtfCoreRelocation[] = [];
    let allLines = true;
    let allFunctions = true;
    for (const { function: item, start } of placed) {
      const name = item.section.name;
      const shift = start - item.start;
      const typeId = this.funcType(item);
      functions.push({ name: item.name, start, size: item.size, section: name, typeId });
      if (typeId === 0) allFunctions = false;
      else funcRecords.push(start, typeId);
      const lines = slice(this.lineInfo.get(name) ?? [], item.start, item.size);
      if (lines[0]?.insn !== item.start) allLines = false;
      for (const line of lines) {
        lineRecords.push(line.insn + shift, line.fileOffset, line.lineOffset, line.lineColumn);
        if (btf === undefined) continue;
        lineInfo.push({
          insn: line.insn + shift,
          file: btf.string(line.fileOffset),
          text: btf.string(line.lineOffset),
          line: line.lineColumn >>> 10,
          column: line.lineColumn & 0x3ff,
        });
      }
      for (const relocation of slice(this.core.get(name) ?? [], item.start, item.size)) {
        coreRelocations.push({ ...relocation, insn: relocation.insn + shift });
      }
    }
    return {
      functions,
      lineInfo,
      coreRelocations,
      // The kernel wants records for every function, lines only beside functions.
      funcInfoRecords: allFunctions ? words(funcRecords) : new Uint8Array(0),
      lineInfoRecords: allFunctions && allLines ? words(lineRecords) : new Uint8Array(0),
    };
  }
}

function words(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setUint32(4 * i, value, true);
  });
  return bytes;
}
