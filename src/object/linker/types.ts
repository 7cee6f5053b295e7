/** The types of all objects as one BTF: global names have one entry, data sections list what ended up in them, `.BTF.ext` follows. */
import {
  BtfBuilder,
  type BtfCoreRelocation,
  type BtfExtInput,
  type BtfFuncInfo,
  type BtfLineInfo,
  type BtfSecVar,
  type BtfType,
  dedupTypes,
  mapReferences,
  writeBtfExt,
} from '../../btf/index.ts';
import { objectError } from '../context.ts';
import type { LinkInput } from './input.ts';
import type { OutputSection } from './output-section.ts';
import type { GlobalSymbol } from './symbols.ts';

export interface LinkedTypes {
  readonly btf: Uint8Array;
  readonly ext: Uint8Array | undefined;
}

/** Undefined where no object has types. Fills in `types` of the inputs. */
export function linkTypes(
  inputs: readonly LinkInput[],
  symbols: ReadonlyMap<string, GlobalSymbol>,
  sections: readonly OutputSection[],
): LinkedTypes | undefined {
  const typed = inputs.filter((input) => input.btf !== undefined);
  if (typed.length === 0) return undefined;
  const builder = new BtfBuilder();
  for (const type of mergeTypes(typed, symbols)) builder.add(type);
  for (const [name, vars] of dataSections(typed, symbols)) {
    const size = sections.find((section) => section.name === name)?.size ?? 0;
    builder.add({ kind: 'datasec', name, size, vars: vars.sort((a, b) => a.offset - b.offset) });
  }
  const littleEndian = typed[0]!.elf.littleEndian;
  const hasExt = typed.some((input) => input.ext !== undefined);
  const ext = hasExt
    ? writeBtfExt(linkExt(typed, builder), (text) => builder.strings.add(text), { littleEndian })
    : undefined;
  return { btf: builder.bytes({ littleEndian }), ext };
}

/** Types without data sections; same ones once. */
function mergeTypes(
  inputs: readonly LinkInput[],
  symbols: ReadonlyMap<string, GlobalSymbol>,
): readonly BtfType[] {
  const origins: { readonly input: LinkInput; readonly type: BtfType }[] = [];
  const globals = new Map<GlobalSymbol, number>();
  for (const input of inputs) {
    input.types[0] = 0;
    for (const [id, type] of input.btf!.types()) {
      const symbol =
        (type.kind === 'var' || type.kind === 'func') && type.linkage !== 'static'
          ? symbols.get(type.name)
          : undefined;
      if (type.kind === 'datasec') {
        input.types[id] = 0;
      } else if (symbol === undefined) {
        input.types[id] = origins.push({ input, type });
      } else {
        let known = globals.get(symbol);
        if (known === undefined) {
          known = origins.push(globalType(symbol));
          globals.set(symbol, known);
        }
        input.types[id] = known;
      }
    }
  }
  const merged = origins.map(({ input, type }) => mapReferences(type, (id) => input.types[id] ?? 0));
  const { types, ids } = dedupTypes(merged);
  for (const input of inputs) {
    for (let i = 0; i < input.types.length; i++) input.types[i] = ids[input.types[i]!]!;
  }
  return types;
}

/** The type that the definition has, or the first declaration. */
function globalType(symbol: GlobalSymbol): { input: LinkInput; type: BtfType } {
  const { input, id } = symbol.typeId === 0 ? symbol.types[0]! : { input: symbol.input, id: symbol.typeId };
  const type = input.btf!.type(id);
  if (type.kind !== 'var' && type.kind !== 'func') return { input, type };
  return { input, type: { ...type, linkage: symbol.definition === undefined ? 'extern' : 'global' } };
}

function dataSections(
  inputs: readonly LinkInput[],
  symbols: ReadonlyMap<string, GlobalSymbol>,
): Map<string, BtfSecVar[]> {
  const found = new Map<string, BtfSecVar[]>();
  const listed = new Set<GlobalSymbol>();
  const add = (section: string, item: BtfSecVar): void => {
    const list = found.get(section);
    if (list === undefined) found.set(section, [item]);
    else list.push(item);
  };
  for (const input of inputs) {
    const btf = input.btf!;
    const locals = localOffsets(input);
    for (const [, datasec] of btf.types()) {
      if (datasec.kind !== 'datasec') continue;
      const section = input.elf.section(datasec.name);
      const place = section === undefined ? undefined : input.placed.get(section.index);
      const offsets = locals.get(section?.index ?? -1);
      for (const item of datasec.vars) {
        const type = btf.type(item.type);
        if (type.kind !== 'var' && type.kind !== 'func')
          throw objectError('EINVAL', `${input.name}: data section '${datasec.name}' lists a ${type.kind}`);
        const id = input.types[item.type]!;
        const symbol = type.linkage === 'static' ? undefined : symbols.get(type.name);
        if (symbol === undefined) {
          if (place === undefined) continue;
          const offset = place.offset + (offsets?.get(type.name) ?? item.offset);
          add(datasec.name, { type: id, offset, size: item.size });
        } else if (!listed.has(symbol) && (symbol.definition === undefined || symbol.input === input)) {
          listed.add(symbol);
          const { definition } = symbol;
          add(definition?.section.name ?? datasec.name, {
            type: id,
            offset: definition?.value ?? 0,
            size: item.size,
          });
        }
      }
    }
  }
  return found;
}

/** Where the symbols of each section are. */
function localOffsets(input: LinkInput): ReadonlyMap<number, ReadonlyMap<string, number>> {
  const found = new Map<number, Map<string, number>>();
  for (const symbol of input.elf.symbols) {
    if (symbol.name === '' || !input.placed.has(symbol.section)) continue;
    const known = found.get(symbol.section);
    if (known === undefined) found.set(symbol.section, new Map([[symbol.name, symbol.value]]));
    else known.set(symbol.name, symbol.value);
  }
  return found;
}

type Shift = { readonly name: string; readonly by: number };

/** Records of all objects, moved to where their instructions are, with strings of the new BTF. */
function linkExt(inputs: readonly LinkInput[], builder: BtfBuilder): BtfExtInput {
  const funcInfo = new Map<string, BtfFuncInfo[]>();
  const lineInfo = new Map<string, BtfLineInfo[]>();
  const coreRelocations = new Map<string, Omit<BtfCoreRelocation, 'access'>[]>();
  for (const input of inputs) {
    if (input.ext === undefined) continue;
    const shifts = new Map<string, Shift>();
    for (const section of input.elf.sections) {
      const placed = input.placed.get(section.index);
      if (placed !== undefined)
        shifts.set(section.name, { name: placed.section.name, by: placed.offset / 8 });
    }
    const string = (offset: number): number => builder.strings.add(input.btf!.string(offset));
    const type = (id: number): number => {
      const mapped = input.types[id];
      if (mapped === undefined)
        throw objectError('EINVAL', `${input.name}: .BTF.ext refers to type id ${id}, which does not exist`);
      return mapped;
    };
    move(input.ext.funcInfo, funcInfo, shifts, (one) => ({ ...one, type: type(one.type) }));
    move(input.ext.lineInfo, lineInfo, shifts, (one) => ({
      ...one,
      fileOffset: string(one.fileOffset),
      lineOffset: string(one.lineOffset),
    }));
    move(input.ext.coreRelocations, coreRelocations, shifts, (one) => ({
      ...one,
      type: type(one.type),
      accessOffset: string(one.accessOffset),
    }));
  }
  return { funcInfo, lineInfo, coreRelocations };
}

function move<T extends { readonly insn: number }, R extends { readonly insn: number }>(
  from: ReadonlyMap<string, readonly T[]>,
  to: Map<string, R[]>,
  shifts: ReadonlyMap<string, Shift>,
  change: (record: T) => R,
): void {
  for (const [name, records] of from) {
    const shift = shifts.get(name);
    if (shift === undefined) continue;
    const list = to.get(shift.name) ?? [];
    for (const record of records) {
      const changed = change(record);
      list.push({ ...changed, insn: changed.insn + shift.by });
    }
    to.set(shift.name, list);
  }
}
