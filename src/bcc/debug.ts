/**
 * What `BPF({ debug })` prints: BCC's flags, and what here comes nearest to each. The compiler is not LLVM: its IR is its own. Nothing is
 * printed, and nothing is computed for it, without its flag.
 */
import { disassembleInsns, KERNEL_LOG } from '../asm/index.ts';
import type { Btf } from '../btf/index.ts';
import type { ObjectSpec, ProgramSpec } from '../object/index.ts';
import type { BccSource } from './compile.ts';
import type { LoadDebug } from './functions.ts';

/** The compiler's IR, after its passes. */
export const DEBUG_LLVM_IR = 0x1;
/** Instructions of each function that is loaded, and the verifier's log with its state at branches. */
export const DEBUG_BPF = 0x2;
/** The source after the preprocessor. */
export const DEBUG_PREPROCESSOR = 0x4;
/** Instructions of each function with the lines of C that they come from. */
export const DEBUG_SOURCE = 0x8;
/** With the verifier's state at every instruction, beside what DEBUG_BPF gives. */
export const DEBUG_BPF_REGISTER_STATE = 0x10;
/** Types: of the tables' keys and values, of what tables of events are handed, records for functions and lines. */
export const DEBUG_BTF = 0x20;

/** Level of the verifier's log that the flags ask for. */
function logLevelOf(flags: number): number {
  if ((flags & DEBUG_BPF_REGISTER_STATE) !== 0) return 2;
  return (flags & DEBUG_BPF) !== 0 ? 1 : 0;
}

/** Both of the flags that show what is loaded. */
const DEBUG_LOADED = DEBUG_BPF | DEBUG_BPF_REGISTER_STATE;

const heading = (text: string): string => `=== ${text}\n`;

const irText = (ir: string): string => `${heading('IR, after the passes')}${ir.trimEnd()}\n`;

const sourceText = (text: string): string => `${heading('preprocessed source')}${text.trimEnd()}\n`;

/** Instructions with their places; `lines`: each line of C before the first instruction that comes from it. */
function instructionsText(program: ProgramSpec, lines: boolean): string {
  const functions = new Map(program.functions.map(({ start, name }) => [start, name]));
  const info = lines ? program.lineInfo : [];
  let text = heading(`${program.name}: ${program.insns.length} instructions (${program.section})`);
  let next = 0;
  for (const { index, text: insn } of disassembleInsns(program.insns, { ...KERNEL_LOG, lossless: false })) {
    const name = functions.get(index);
    if (name !== undefined) text += `${name}:\n`;
    let line: string | undefined;
    for (; (info[next]?.insn ?? Infinity) <= index; next++) line = sourceLine(info[next]!);
    if (line !== undefined) text += line;
    text += `${String(index).padStart(4)}: ${insn}\n`;
  }
  return text;
}

function sourceLine({ text, file, line }: ProgramSpec['lineInfo'][number]): string {
  return `; ${text.trim()} @ ${file.replace(/^.*\//, '')}:${line}\n`;
}

/** The verifier's log of one load. */
const logText = (name: string, log: string): string =>
  `${heading(`${name}: the verifier's log`)}${log.trimEnd()}\n`;

/** `events`: the struct that each table of events is handed. */
function typesText(spec: ObjectSpec, events: ReadonlyMap<string, string>): string {
  const { btf } = spec;
  if (btf === undefined) return heading('BTF: none');
  let text = heading(`BTF: ${spec.loadBtf?.length ?? 0} bytes`);
  for (const { name, btfKeyTypeId, btfValueTypeId } of spec.maps) {
    const event = events.get(name);
    const types =
      event === undefined
        ? `key ${typeName(btf, btfKeyTypeId)}, value ${typeName(btf, btfValueTypeId)}`
        : `events struct ${event}`;
    text += `table ${name}: ${types}\n`;
  }
  for (const { name, funcInfoRecords, lineInfo, coreRelocations } of spec.programs)
    text += `function ${name}: ${funcInfoRecords.length / 8} function records, ${lineInfo.length} lines, ${coreRelocations.length} CO-RE relocations\n`;
  return text;
}

function typeName(btf: Btf, id: number): string {
  if (id === 0) return 'of no type';
  const { kind } = btf.type(id);
  const name = btf.name(id);
  if (name === '') return kind;
  return kind === 'struct' || kind === 'union' || kind === 'enum' ? `${kind} ${name}` : name;
}

/** One program's way, as far as the flags want to see it. */
export class Debug {
  readonly #flags: number;
  readonly #write: (text: string) => void;

  constructor(flags: number, write: (text: string) => void) {
    this.#flags = flags;
    this.#write = write;
  }

  /** What the compiler is asked for. */
  get compiling(): Pick<BccSource, 'onIr' | 'onPreprocessed'> {
    return {
      ...(this.#wants(DEBUG_LLVM_IR) ? { onIr: (ir) => this.#write(irText(ir)) } : {}),
      ...(this.#wants(DEBUG_PREPROCESSOR) ? { onPreprocessed: (text) => this.#write(sourceText(text)) } : {}),
    };
  }

  compiled(spec: ObjectSpec, events: ReadonlyMap<string, string>): void {
    if (this.#wants(DEBUG_BTF)) this.#write(typesText(spec, events));
    if (this.#wants(DEBUG_SOURCE))
      for (const program of spec.programs) this.#write(instructionsText(program, true));
  }

  get loading(): LoadDebug | undefined {
    if (!this.#wants(DEBUG_LOADED)) return undefined;
    return {
      logLevel: logLevelOf(this.#flags),
      onLoad: (program, log) => this.#write(instructionsText(program, false) + logText(program.name, log)),
    };
  }

  #wants(flag: number): boolean {
    return (this.#flags & flag) !== 0;
  }
}
