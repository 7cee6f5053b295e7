/**
 * One meaning for every global name: a strong definition wins over weak ones, the first of several weak ones over the others, any
 * definition over declarations; two strong ones are an error. What is nowhere defined stays extern, for the kernel or the loader.
 */
import { type ElfSymbol, SHN, STB, STT, STV } from '../../elf/index.ts';
import { objectError } from '../context.ts';
import { isGlobal, type LinkInput } from './input.ts';
import type { OutputSection } from './output-section.ts';
import { differentMap, sameType } from './same-type.ts';

export interface Definition {
  readonly section: OutputSection;
  readonly value: number;
}

export interface GlobalSymbol {
  readonly name: string;
  /** The object that its type is taken from: the one that defines it, or declares it first. */
  input: LinkInput;
  symbol: ElfSymbol;
  /** Undefined: extern. */
  definition: Definition | undefined;
  weak: boolean;
  visibility: number;
  /** Id of its variable or function in the BTF of `input`, 0 where there is none. */
  typeId: number;
  /** Every declaration and definition in BTF. */
  readonly types: { readonly input: LinkInput; readonly id: number }[];
}

/** Variables and functions with other linkage than static, by name. */
function globalTypes(input: LinkInput): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  const { btf } = input;
  if (btf === undefined) return found;
  for (const [id, type] of btf.types()) {
    if ((type.kind === 'var' || type.kind === 'func') && type.linkage !== 'static') found.set(type.name, id);
  }
  return found;
}

export function resolveSymbols(inputs: readonly LinkInput[]): Map<string, GlobalSymbol> {
  const symbols = new Map<string, GlobalSymbol>();
  for (const input of inputs) {
    const types = globalTypes(input);
    for (const symbol of input.elf.symbols) {
      if (!isGlobal(symbol)) continue;
      const definition = definitionOf(input, symbol);
      if (definition === undefined && symbol.section !== SHN.UNDEF) continue;
      const typeId = types.get(symbol.name) ?? 0;
      const known = symbols.get(symbol.name);
      if (known !== undefined) {
        merge(known, input, symbol, definition, typeId);
        continue;
      }
      symbols.set(symbol.name, {
        name: symbol.name,
        input,
        symbol,
        definition,
        weak: symbol.bind === STB.WEAK,
        visibility: symbol.visibility,
        typeId,
        types: typeId === 0 ? [] : [{ input, id: typeId }],
      });
    }
  }
  return symbols;
}

function definitionOf(input: LinkInput, symbol: ElfSymbol): Definition | undefined {
  const placed = input.placed.get(symbol.section);
  if (placed === undefined) return undefined;
  return { section: placed.section, value: placed.offset + symbol.value };
}

function merge(
  known: GlobalSymbol,
  input: LinkInput,
  symbol: ElfSymbol,
  definition: Definition | undefined,
  typeId: number,
): void {
  const { name } = known;
  const weak = symbol.bind === STB.WEAK;
  checkTypes(known, input, symbol, typeId);
  if (typeId !== 0) known.types.push({ input, id: typeId });
  // Internal and hidden are stricter than default.
  if (symbol.visibility !== STV.DEFAULT) known.visibility = symbol.visibility;
  if (definition === undefined) {
    // Declared without `weak` somewhere: it has to be there.
    if (known.definition === undefined && !weak) known.weak = false;
  } else if (known.definition === undefined || (known.weak && !weak)) {
    Object.assign(known, { input, symbol, definition, weak, typeId });
  } else if (!known.weak && !weak && !isOnce(known)) {
    throw objectError(
      'EEXIST',
      `symbol '${name}' is defined in ${known.input.name} and in ${input.name}`,
      'make one of them static or __weak',
    );
  }
}

/** The license is one text, however many objects have it. */
const isOnce = ({ definition }: GlobalSymbol): boolean =>
  definition?.section.name === 'license' || definition?.section.name === 'version';

function checkTypes(known: GlobalSymbol, input: LinkInput, symbol: ElfSymbol, typeId: number): void {
  const fail = (why: string): never => {
    throw objectError('EINVAL', `symbol '${known.name}' of ${known.input.name} and of ${input.name}: ${why}`);
  };
  const kinds = [known.symbol.type, symbol.type];
  if (kinds[0] !== kinds[1] && !kinds.includes(STT.NOTYPE)) fail('one is a function, the other is not');
  if (typeId === 0 || known.typeId === 0 || isOnce(known)) return;
  const [a, b] = [known.input.btf!, input.btf!];
  const one = a.type(known.typeId);
  const other = b.type(typeId);
  if (one.kind !== other.kind) fail(`one is a ${one.kind}, the other a ${other.kind}`);
  const isMap = [known.definition?.section.name, input.placed.get(symbol.section)?.section.name].includes(
    '.maps',
  );
  if (isMap && one.kind === 'var' && other.kind === 'var') {
    const difference = differentMap(known.name, [a, one.type], [b, other.type]);
    if (difference !== undefined) fail(`the definitions of the map differ: ${difference}`);
  } else if (!sameType(a, known.typeId, b, typeId)) fail('their types differ');
}
