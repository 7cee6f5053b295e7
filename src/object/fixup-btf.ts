/**
 * Corrects an object's BTF as libbpf does before it is used: the compiler leaves sizes of data sections and offsets of variables
 * open, externs need a layout, and what the kernel does not take (`.ksyms` with functions) is rewritten. Type ids
 * do not change.
 */
import { type Btf, BtfBuilder, type BtfDatasec, type BtfSecVar, btfInt } from '../btf/index.ts';
import type { ObjectContext } from './context.ts';
import type { ObjectFunction } from './functions.ts';
import type { KconfigSpec } from './types.ts';

const DUMMY = 'dummy_ksym';

/** Sizes and offsets of the variables in one data section, from the symbol table. */
function layOut(context: ObjectContext, btf: Btf, datasec: BtfDatasec): BtfDatasec {
  const section = context.elf.section(datasec.name);
  // A linker has laid it out, where names need not tell variables apart.
  if (section === undefined || (datasec.size === section.size && datasec.size !== 0)) return datasec;
  const offsets = new Map<string, number>();
  for (const symbol of context.symbolsOf(section.index)) {
    if (symbol.name !== '') offsets.set(symbol.name, symbol.value);
  }
  const vars = datasec.vars
    .map((item) => ({ ...item, offset: offsets.get(btf.name(item.type)) ?? item.offset }))
    .sort((a, b) => a.offset - b.offset);
  return { ...datasec, size: section.size, vars };
}

function layOutKconfig(btf: Btf, datasec: BtfDatasec, kconfig: readonly KconfigSpec[]): BtfDatasec {
  const options = new Map(kconfig.map((option) => [option.name, option]));
  const vars = datasec.vars
    .flatMap((item): BtfSecVar[] => {
      const option = options.get(btf.name(item.type));
      return option === undefined ? [] : [{ type: item.type, offset: option.offset, size: option.size }];
    })
    .sort((a, b) => a.offset - b.offset);
  const size = kconfig.reduce((end, option) => Math.max(end, option.offset + option.size), 0);
  return { ...datasec, size, vars };
}

/** The BTF with data sections laid out. */
export function fixupBtf(context: ObjectContext, kconfig: readonly KconfigSpec[]): Btf | undefined {
  const { btf } = context;
  if (btf === undefined) return undefined;
  const builder = BtfBuilder.from(btf);
  let changed = !btf.littleEndian;
  for (const [id, type] of btf.types()) {
    if (type.kind !== 'datasec') continue;
    changed = true;
    builder.set(
      id,
      type.name === '.kconfig' ? layOutKconfig(btf, type, kconfig) : layOut(context, btf, type),
    );
    if (type.name !== '.kconfig') continue;
    for (const item of type.vars) {
      const variable = btf.type(item.type);
      if (variable.kind === 'var') builder.set(item.type, { ...variable, linkage: 'global' });
    }
  }
  return changed ? builder.build() : btf;
}

/** The BTF for BTF_LOAD. */
export function loadableBtf(btf: Btf, functions: readonly ObjectFunction[]): Uint8Array {
  const builder = BtfBuilder.from(btf);
  for (const item of functions) {
    if (!item.hidden) continue;
    const id = btf.find(item.name, 'func');
    const type = id === undefined ? undefined : btf.type(id);
    if (id !== undefined && type?.kind === 'func') builder.set(id, { ...type, linkage: 'static' });
  }
  const ksyms = btf.find('.ksyms', 'datasec');
  if (ksyms !== undefined) rewriteKsyms(btf, builder, ksyms);
  return builder.bytes();
}

/** Kernel variables become ints, kernel functions keep their type, but a dummy variable takes their place. */
function rewriteKsyms(btf: Btf, builder: BtfBuilder, datasecId: number): void {
  const datasec = btf.type(datasecId);
  if (datasec.kind !== 'datasec') return;
  let intId = 0;
  for (const [id, type] of btf.types()) {
    if (type.kind === 'int' && type.size === 4 && type.signed && type.bits === 32) {
      intId = id;
      break;
    }
  }
  if (intId === 0) {
    intId = builder.add(btfInt('int', 4, { signed: true }));
  }
  let dummy = 0;
  const vars = datasec.vars.map((item, i): BtfSecVar => {
    const at = { offset: 4 * i, size: 4 };
    const type = btf.type(item.type);
    if (type.kind === 'var') {
      builder.set(item.type, { ...type, type: intId, linkage: 'global' });
      return { ...at, type: item.type };
    }
    if (type.kind === 'func') {
      builder.set(item.type, { ...type, linkage: 'global' });
      const proto = btf.type(type.type);
      if (proto.kind === 'func_proto') {
        // The kernel wants parameters of defined functions named.
        const params = proto.params.map((param) =>
          param.name === '' && param.type !== 0 ? { ...param, name: DUMMY } : param,
        );
        builder.set(type.type, { ...proto, params });
      }
    }
    if (dummy === 0) dummy = builder.add({ kind: 'var', name: DUMMY, type: intId, linkage: 'global' });
    return { ...at, type: dummy };
  });
  builder.set(datasecId, { ...datasec, size: 4 * vars.length, vars });
}
