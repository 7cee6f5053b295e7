/** How the debugger shows things: stops, source, values. For people; with --json one object a line. */

import type { BtfValue } from '../../btf/index.ts';
import type { Annotations } from '../../contracts/annotations.ts';
import type { Debugger, Location, Recording, Stop } from '../../debug/index.ts';
import type { ObjectSpec } from '../../object/index.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { type ListedInsn, listProgram } from '../disassembly.ts';
import { readFile } from '../files.ts';
import { toJson } from '../json.ts';
import type { Output } from '../output.ts';

/** Names of programs are cut by the kernel. */
const MAX_NAME = 15;

export function baseName(file: string): string {
  return file.replace(/^.*\//, '');
}

/** As gdb writes values: `{packets = 1, name = "x"}`. */
export function valueText(value: BtfValue): string {
  if (typeof value === 'string') return value.startsWith('0x') ? value : JSON.stringify(value);
  if (Array.isArray(value)) return `{${value.map(valueText).join(', ')}}`;
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .map(([name, member]) => `${name} = ${valueText(member)}`)
      .join(', ')}}`;
  return String(value);
}

/** Values in another base: x d u o t c a z s, as print/x has them; '' as `valueText`. Negative numbers are those of 32 bits where they fit. */
export function formatted(value: BtfValue, format: string): string {
  if (format === '' || format === 's') return valueText(value);
  if (Array.isArray(value)) return `{${value.map((one) => formatted(one, format)).join(', ')}}`;
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .map(([name, member]) => `${name} = ${formatted(member, format)}`)
      .join(', ')}}`;
  const isNumber =
    typeof value === 'bigint' ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isInteger(value)) ||
    (typeof value === 'string' && /^0x[0-9a-f]+$/.test(value));
  return isNumber ? inBase(BigInt(value), format) : valueText(value);
}

function inBase(value: bigint, format: string): string {
  const bits = value >= -(2n ** 31n) && value < 2n ** 32n ? 32 : 64;
  const unsigned = BigInt.asUintN(bits, value);
  switch (format) {
    case 'd':
      return BigInt.asIntN(64, value).toString();
    case 'u':
      return unsigned.toString();
    case 'o':
      return `0${unsigned.toString(8)}`;
    case 't':
      return unsigned.toString(2);
    case 'z':
      return `0x${unsigned.toString(16).padStart(bits / 4, '0')}`;
    case 'c': {
      const char = Number(BigInt.asUintN(8, value));
      return `${BigInt.asIntN(8, value)} '${char >= 0x20 && char < 0x7f ? String.fromCharCode(char) : `\\${char.toString(8).padStart(3, '0')}`}'`;
    }
    default:
      return `0x${unsigned.toString(16)}`;
  }
}

/** Lines of source files: from the file where it is there, else those that the object remembers. */
export class SourceText {
  readonly #files = new Map<string, ReadonlyMap<number, string>>();
  readonly #recording: Recording;

  constructor(recording: Recording) {
    this.#recording = recording;
  }

  lines(file: string): ReadonlyMap<number, string> {
    let lines = this.#files.get(file);
    if (lines === undefined) {
      lines = this.#read(file) ?? this.#remembered(file);
      this.#files.set(file, lines);
    }
    return lines;
  }

  #remembered(file: string): Map<number, string> {
    const records = this.#recording.sources.flatMap((source) =>
      source.lines.filter((one) => one.file === file),
    );
    return new Map(records.sort((a, b) => a.line - b.line).map(({ line, text }) => [line, text]));
  }

  /** Undefined where the file is not the one that was compiled. */
  #read(file: string): Map<number, string> | undefined {
    let lines: string[];
    try {
      lines = fromUtf8(readFile(file)).split('\n');
    } catch {
      return undefined;
    }
    for (const [line, text] of this.#remembered(file))
      if (lines[line - 1]?.trim() !== text.trim()) return undefined;
    return new Map(lines.map((text, i) => [i + 1, text]));
  }
}

export class DebugView {
  readonly out: Output;
  readonly json: boolean;
  readonly source: SourceText;
  readonly #debugger: Debugger;
  readonly #spec: ObjectSpec;
  readonly #listings = new Map<string, readonly ListedInsn[]>();
  readonly annotations: ReadonlyMap<string, Annotations>;

  constructor(
    out: Output,
    json: boolean,
    debug: Debugger,
    spec: ObjectSpec,
    annotations: ReadonlyMap<string, Annotations>,
  ) {
    this.out = out;
    this.json = json;
    this.#debugger = debug;
    this.#spec = spec;
    this.annotations = annotations;
    this.source = new SourceText(debug.recording);
  }

  /** Text for people, or the object for `--json`. */
  show(text: string | readonly string[], object: Record<string, unknown>): void {
    if (this.json) this.out.line(toJson(object));
    else for (const line of typeof text === 'string' ? [text] : text) this.out.line(line);
  }

  listing(program: string): readonly ListedInsn[] {
    let listing = this.#listings.get(program);
    if (listing === undefined) {
      const spec = this.#spec.programs.find(({ name }) => name.slice(0, MAX_NAME) === program);
      listing = spec === undefined ? [] : listProgram(this.#spec, spec, 'kernel');
      this.#listings.set(program, listing);
    }
    return listing;
  }

  insnText({ program, insn }: Location): string {
    return this.listing(program).find(({ index }) => index === insn)?.text ?? '';
  }

  /** `classify (length=60) at steps.bpf.c:21` */
  frameText(location: Location): string {
    const { cyan, yellow, green } = this.out.color;
    const place =
      location.file === undefined ? '' : ` at ${green(`${baseName(location.file)}:${location.line}`)}`;
    const args = this.#debugger.inspect.at(location.step, () => this.#debugger.inspect.arguments());
    const list = args.map(({ name, value }) => `${cyan(name)}=${valueText(value)}`).join(', ');
    return `${yellow(location.function ?? location.program)} (${list})${place}`;
  }

  /** `byInsn`: with the instruction. */
  stop(stop: Stop, byInsn: boolean): void {
    const { location, change } = stop;
    const lines: string[] = [];
    const { bold, red, dim } = this.out.color;
    const title = {
      step: '',
      breakpoint: `Breakpoint ${stop.breakpoint}, `,
      watchpoint: '',
      end: 'The recording ends here. ',
      start: 'The recording begins here. ',
      fault: '',
      limit: `The recording ends here: ${this.#debugger.recording.truncated}. `,
    }[stop.reason];
    if (stop.message !== undefined) lines.push(red(`Fault: ${stop.message}`));
    if (change !== undefined) {
      const text = (value: BtfValue | undefined) => (value === undefined ? 'nothing' : valueText(value));
      lines.push(
        `Watchpoint ${stop.breakpoint}: ${bold(change.expression)}`,
        `Old value = ${text(change.before)}`,
        `New value = ${text(change.after)}`,
      );
    }
    const here = byInsn || location.line === undefined;
    if (stop.reason !== 'step' || this.#entered(location)) lines.push(`${title}${this.frameText(location)}`);
    if (location.line !== undefined) lines.push(this.lineText(location));
    if (here || location.kind !== 'insn') lines.push(dim(this.#insnLine(location)));
    this.show(lines, this.stopObject(stop));
  }

  #insnLine(location: Location): string {
    if (location.kind === 'end')
      return `   the program has returned ${this.#debugger.recording.register(0) & 0xffff_ffffn}`;
    return `=> ${location.insn}: ${this.insnText(location)}`;
  }

  #entered({ step }: Location): boolean {
    return this.#debugger.recording.journal.entry.at(step) === step;
  }

  lineText({ file, line, text }: Location): string {
    const whole = file === undefined ? undefined : this.source.lines(file).get(line ?? 0);
    return `${this.out.color.blue(String(line))}\t${whole ?? text ?? ''}`;
  }

  stopObject(stop: Stop): Record<string, unknown> {
    const { recording, inspect } = this.#debugger;
    const { location } = stop;
    return {
      stop: stop.reason,
      breakpoint: stop.breakpoint,
      message: stop.message,
      change:
        stop.change === undefined
          ? undefined
          : { ...stop.change, before: stop.change.before ?? null, after: stop.change.after ?? null },
      step: location.step,
      program: location.program,
      insn: location.insn,
      text: this.insnText(location),
      function: location.function,
      file: location.file,
      line: location.line,
      source: location.text,
      depth: location.height,
      arguments: Object.fromEntries(inspect.arguments().map(({ name, value }) => [name, value])),
      registers: Object.fromEntries(
        recording.registers().map((value, r) => [`r${r}`, `0x${value.toString(16)}`]),
      ),
      returned: location.kind === 'end' ? Number(recording.register(0) & 0xffff_ffffn) : undefined,
    };
  }
}

/** Of `display`. */
export interface Display {
  readonly number: number;
  readonly expression: string;
  readonly format: string;
}

export interface DebugSession {
  readonly debug: Debugger;
  readonly view: DebugView;
  /** Expressions that are shown at every stop. */
  readonly displays: Display[];
  /** Files of commands that are being done, the innermost last. */
  readonly scripts: string[];
}
