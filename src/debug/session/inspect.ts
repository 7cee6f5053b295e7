/** What can be seen at the present step of a recording: call stack, arguments, globals, maps, registers, by their C types. */
import { type Btf, type BtfInput, type BtfValue, encodeValue, formatValue } from '../../btf/index.ts';
import type { ObservedMap } from '../../contracts/observe.ts';
import { KERNEL_HI } from '../../memory/address.ts';
import { HEAP_START } from '../../memory/layout.ts';
import { fromHex } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { address, evaluate, integer, placeOf, type Scope, show, type Value } from '../expression/evaluate.ts';
import { type Expression, parseExpression } from '../expression/parse.ts';
import { plain, typeText } from '../expression/types.ts';
import type { Recording, StepKind } from '../recording/recording.ts';

export interface Location {
  readonly step: number;
  readonly kind: StepKind;
  readonly program: string;
  /** Index in the program as loaded. */
  readonly insn: number;
  readonly function: string | undefined;
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly text: string | undefined;
  /** Frames below it. */
  readonly height: number;
}

export interface Shown {
  readonly name: string;
  readonly type: string;
  readonly value: BtfValue;
}

/** Entries of a map that are looked at. */
const MAX_ENTRIES = 1000;
const FRAME_BYTES = 512;

export class Inspector {
  readonly recording: Recording;
  /** The frame that was chosen, by its step, as long as one stands at `position`. */
  #chosen = { position: -1, step: -1 };
  /** Parsed once: conditions are looked at often. */
  readonly #parsed = new Map<string, Expression>();

  constructor(recording: Recording) {
    this.recording = recording;
  }

  /** Step of the frame that names and registers are of: the innermost one, or a caller's that was chosen. */
  get frame(): number {
    const { position } = this.recording;
    return this.#chosen.position === position ? this.#chosen.step : position;
  }

  /** Chooses a frame of the present step, 0 = the innermost; memory stays that of the present step. Throws EINVAL. */
  chooseFrame(number: number): Location {
    const frames = this.backtrace();
    const frame = frames[number];
    if (frame === undefined)
      throw new BpfError('EINVAL', `there is no frame ${number}: there are ${frames.length}`);
    this.#chosen = { position: this.recording.position, step: frame.step };
    return frame;
  }

  location(step = this.recording.position): Location {
    const { recording } = this;
    const source = recording.source(step);
    const insn = recording.insn(step);
    const line = source.lineAt(insn);
    return {
      step,
      kind: recording.kind(step),
      program: source.program.name,
      insn,
      function: source.functionAt(insn)?.name,
      file: line?.file,
      line: line?.line,
      text: line?.text.trim(),
      height: recording.journal.height.at(step),
    };
  }

  /** Where every frame is, the innermost first. */
  backtrace(step = this.recording.position): Location[] {
    const { journal } = this.recording;
    const frames: Location[] = [];
    for (let at: number | undefined = step; at !== undefined; at = journal.callers.get(journal.entry.at(at)))
      frames.push(this.location(at));
    return frames;
  }

  /** `look` at the state of another step. */
  at<T>(step: number, look: () => T): T {
    const back = this.recording.position;
    this.recording.seek(step);
    try {
      return look();
    } finally {
      this.recording.seek(back);
    }
  }

  /** The arguments of the function of the present step, as they were when it was called. */
  arguments(): Shown[] {
    return this.#parameters().map(({ name, value }) => ({
      name,
      type: typeText(value.type),
      value: show(value, this.scope()),
    }));
  }

  #parameters(): { name: string; value: Value }[] {
    const { recording } = this;
    const step = this.frame;
    const source = recording.source(step);
    const { btf } = source.program;
    const func = source.functionAt(recording.insn(step));
    if (btf === undefined || func === undefined || func.typeId === 0) return [];
    const type = btf.type(func.typeId);
    const proto = type.kind === 'func' ? btf.type(type.type) : undefined;
    if (proto?.kind !== 'func_proto') return [];
    const registers = this.at(recording.journal.entry.at(step), () => recording.registers());
    return proto.params
      .filter(({ type: id }) => id !== 0)
      .map(({ name, type: id }, i) => ({ name, value: argument(btf, id, registers[i + 1] ?? 0n) }));
  }

  /** Stack slots of the present frame that were written to: R10 - offset. 8 bytes each, little-endian. */
  stackSlots(): { readonly offset: number; readonly value: bigint; readonly place: number }[] {
    const { recording } = this;
    const step = this.frame;
    const top = Number(this.register(10) & 0xffff_ffffn);
    const entry = recording.journal.entry.at(step);
    const written = new Set<number>();
    for (let i = entry + 1; i <= recording.position; i++)
      for (const { address, after } of recording.changes(i)) {
        const from = Math.max(address, top - FRAME_BYTES);
        for (let at = from; at < Math.min(address + after.length, top); at++)
          written.add((top - at + 7) >> 3);
      }
    return [...written]
      .sort((a, b) => a - b)
      .map((slot) => {
        const place = top - slot * 8;
        const bytes = recording.read(place, 8);
        return { offset: -slot * 8, place, value: new DataView(bytes.buffer).getBigUint64(0, true) };
      });
  }

  /** Global variables of all maps that hold some. */
  globals(): Shown[] {
    return [...this.#globals()].map(([name, value]) => ({
      name,
      type: typeText(value.type),
      value: show(value, this.scope()),
    }));
  }

  *#globals(): Generator<[string, Value]> {
    for (const { map, btf: types } of this.recording.maps()) {
      if (types === undefined || types.valueTypeId === 0) continue;
      const section = types.btf.resolved(types.valueTypeId);
      if (section.kind !== 'datasec') continue;
      for (const item of section.vars) {
        const variable = types.btf.type(item.type);
        const place = map.valueAddress(item.offset);
        if (variable.kind === 'var' && place > 0)
          yield [variable.name, { type: { btf: types.btf, id: variable.type, pointers: 0 }, place }];
      }
    }
  }

  map(name: string): ObservedMap {
    const found = this.#map(name);
    if (found === undefined) throw new BpfError('ENOENT', `no program of the recording has a map '${name}'`);
    return found;
  }

  #map(name: string): ObservedMap | undefined {
    return this.recording.maps().find(({ map }) => map.info.name === name);
  }

  /** Keys and values of a map as it was at the present step; typed where its types are known, else bytes in hex. */
  entries(name: string): { readonly key: BtfValue; readonly value: BtfValue }[] {
    const { map, btf } = this.map(name);
    return this.recording.withState(() => {
      const entries: { key: BtfValue; value: BtfValue }[] = [];
      let key: Uint8Array | number = map.nextKey(null);
      while (typeof key !== 'number' && entries.length < MAX_ENTRIES) {
        const value = map.lookup(key);
        if (typeof value !== 'number')
          entries.push({
            key: typed(btf?.btf, btf?.keyTypeId, key),
            value: typed(btf?.btf, btf?.valueTypeId, value),
          });
        key = map.nextKey(key);
      }
      return entries;
    });
  }

  /** What a register's number may point to, in words; undefined for numbers. */
  describe(value: bigint): string | undefined {
    if (value >> 32n !== BigInt(KERNEL_HI)) return undefined;
    const place = Number(value & 0xffff_ffffn);
    const top = Number(this.register(10) & 0xffff_ffffn);
    if (place < HEAP_START)
      return place === top ? 'fp' : `fp${place < top ? '-' : '+'}${Math.abs(place - top)}`;
    for (const { map } of this.recording.maps())
      if (map.layout.address === place) return `map ${map.info.name}`;
    const block = this.recording.blockAt(place);
    return block === undefined ? 'memory that was freed' : `${block.label}+${place - block.start}`;
  }

  /** The address that an expression means: a pointer, a number, or where a value lies. */
  addressOf(text: string): bigint {
    const value = this.evaluate(text);
    const pointer = plain(value.type).pointers > 0 || value.place === undefined;
    return pointer ? BigInt.asUintN(64, integer(value, this.scope())) : address(value.place ?? 0);
  }

  /** Throws EFAULT where there is no memory. */
  bytesAt(where: bigint, size: number): Uint8Array {
    return this.recording.read(placeOf(where), size);
  }

  scope(): Scope {
    const { recording } = this;
    const { program } = recording.source(this.frame);
    let parameters: { name: string; value: Value }[] | undefined;
    return {
      btf: program.btf,
      ctx: program.type.ctx,
      read: (address, size) => recording.read(address, size),
      register: (name) => this.#register(name),
      name: (name) => {
        parameters ??= this.#parameters();
        const parameter = parameters.find((one) => one.name === name);
        if (parameter !== undefined) return parameter.value;
        for (const [global, value] of this.#globals()) if (global === name) return value;
        return enumerator(program.btf, name);
      },
      element: (of, key, again) => this.#element(of, key, again),
    };
  }

  /** R0..R10 of the chosen frame, as they were when it called the next one. */
  register(r: number): bigint {
    const { frame, recording } = this;
    return frame === recording.position ? recording.register(r) : this.at(frame, () => recording.register(r));
  }

  #register(name: string): bigint | undefined {
    if (name === 'fp' || name === 'sp') return this.register(10);
    if (name === 'pc') return BigInt(this.recording.insn(this.frame));
    if (name === 'step') return BigInt(this.recording.position);
    const number = /^r(\d+)$/.exec(name)?.[1];
    return number === undefined || Number(number) > 10 ? undefined : this.register(Number(number));
  }

  #element(of: Expression, key: Expression, again: (one: Expression) => Value): Value | undefined {
    if (of.kind !== 'name') return undefined;
    const found = this.#map(of.name);
    if (found === undefined) return undefined;
    const { map, btf } = found;
    const bytes = this.#key(found, key, again);
    const value = this.recording.withState(() => map.lookup(bytes));
    if (typeof value === 'number') throw new BpfError('ENOENT', `map '${of.name}' has no such key`);
    const type = { btf: btf?.btf, id: btf?.valueTypeId ?? 0, pointers: 0 };
    if (type.btf !== undefined && type.id !== 0) return { type, bytes: value };
    const size = Math.min(value.length, 8);
    return { type: { ...type, btf: undefined, integer: { size, signed: false } }, bytes: value };
  }

  #key({ map, btf }: ObservedMap, key: Expression, again: (one: Expression) => Value): Uint8Array {
    const { keySize } = map.info;
    if (key.kind === 'text') {
      const bytes = fromHex(key.value);
      if (bytes?.length !== keySize)
        throw new BpfError('EINVAL', `a key of '${map.info.name}' is ${keySize} bytes of hex digits`);
      return bytes;
    }
    const number = integer(again(key), this.scope());
    if (btf !== undefined && btf.keyTypeId !== 0 && btf.btf.resolved(btf.keyTypeId).kind === 'int')
      return encodeValue(btf.btf, btf.keyTypeId, number as BtfInput);
    if (keySize > 8)
      throw new BpfError(
        'EINVAL',
        `a key of '${map.info.name}' has ${keySize} bytes: give them as "hex digits"`,
      );
    return Uint8Array.from({ length: keySize }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
  }

  /** Throws EINVAL where the text is no expression; what it names is looked for when it is evaluated. */
  parse(text: string): Expression {
    let expression = this.#parsed.get(text);
    if (expression === undefined) {
      const { btf } = this.recording.source(this.frame).program;
      expression = parseExpression(text, (name) => btf?.find(name, 'typedef') !== undefined);
      this.#parsed.set(text, expression);
    }
    return expression;
  }

  /** Whether the value of an expression may change without memory changing: with registers, or with the function one is in. */
  isOfFrame(text: string): boolean {
    const names = new Set<string>();
    for (const { program, functions } of this.recording.sources)
      for (const { typeId } of functions) {
        const type = typeId === 0 ? undefined : program.btf?.type(typeId);
        const proto = type?.kind === 'func' ? program.btf?.type(type.type) : undefined;
        if (proto?.kind === 'func_proto') for (const { name } of proto.params) names.add(name);
      }
    const search = (of: unknown): boolean => {
      if (typeof of !== 'object' || of === null) return false;
      const { kind, name } = of as Partial<{ kind: string; name: unknown }>;
      if (kind === 'register' || (kind === 'name' && names.has(String(name)))) return true;
      return Object.values(of).some(search);
    };
    return search(this.parse(text));
  }

  evaluate(text: string): Value {
    return evaluate(this.parse(text), this.scope());
  }

  /** Members of the struct or union that an expression is or points to; none where it is something else. */
  members(text: string): string[] {
    try {
      const { btf, id } = this.typeOf(text);
      const type = btf?.resolved(id);
      return type?.kind === 'struct' || type?.kind === 'union' ? type.members.map(({ name }) => name) : [];
    } catch (error) {
      if (error instanceof BpfError) return [];
      throw error;
    }
  }

  /** The type of an expression, or one that is named. Throws EINVAL, ENOENT. */
  typeOf(text: string): { readonly text: string; readonly btf: Btf | undefined; readonly id: number } {
    const { btf } = this.recording.source(this.frame).program;
    const [, tag, name = ''] = /^(?:(struct|union|enum)\s+)?([A-Za-z_]\w*)$/.exec(text.trim()) ?? [];
    const id =
      name === ''
        ? undefined
        : tag === undefined
          ? btf?.find(name, 'typedef')
          : btf?.find(name, tag as 'struct');
    if (tag !== undefined && id === undefined)
      throw new BpfError('ENOENT', `there is no type '${text.trim()}'`);
    if (id !== undefined) return { text: typeText({ btf, id, pointers: 0 }), btf, id };
    const { type } = this.evaluate(text);
    // Of pointers, the type that they point to.
    const { btf: of, id: target } = plain(type);
    return { text: typeText(type), btf: of, id: type.integer === undefined ? target : 0 };
  }

  /** The value of an expression with its type. Throws EINVAL, ENOENT, EFAULT. */
  print(text: string): Shown {
    const map = this.#map(text.trim());
    if (map !== undefined) {
      const value = Object.fromEntries(
        this.entries(map.map.info.name).map((one) => [label(one.key), one.value]),
      );
      return { name: text, type: `map ${map.map.info.type.name}`, value };
    }
    const value = this.evaluate(text);
    return { name: text, type: typeText(value.type), value: show(value, this.scope()) };
  }
}

function label(value: BtfValue): string {
  return typeof value === 'object' && value !== null
    ? JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? one.toString() : one))
    : String(value);
}

function typed(btf: Btf | undefined, id: number | undefined, bytes: Uint8Array): BtfValue {
  if (btf !== undefined && id) return formatValue(btf, id, bytes);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A register as its parameter's type says. */
function argument(btf: Btf, id: number, register: bigint): Value {
  const type = { btf, id, pointers: 0 };
  const { pointers } = plain(type);
  const kind = btf.resolved(id);
  if (pointers > 0 || !('size' in kind)) return { type, bits: register };
  const bits = kind.size * 8;
  const signed = 'signed' in kind && kind.signed === true;
  return { type, bits: signed ? BigInt.asIntN(bits, register) : BigInt.asUintN(bits, register) };
}

function enumerator(btf: Btf | undefined, name: string): Value | undefined {
  if (btf === undefined) return undefined;
  for (const [id, type] of btf.types()) {
    if (type.kind !== 'enum' && type.kind !== 'enum64') continue;
    const found = type.values.find((item) => item.name === name);
    if (found !== undefined) return { type: { btf, id, pointers: 0 }, bits: found.value };
  }
  return undefined;
}
