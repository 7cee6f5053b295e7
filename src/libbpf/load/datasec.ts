/** Data sections of another size than the compiler gave them: the last variable, an array, grows or shrinks (libbpf: map_btf_datasec_resize). */
import { type Btf, BtfBuilder, parseBtf } from '../../btf/index.ts';

/** The BTF with the section `size` bytes large, or undefined where its last variable is no array of fitting elements. */
export function resizeDatasec(btf: Btf, section: string, size: number): Btf | undefined {
  const id = btf.find(section, 'datasec');
  const datasec = id === undefined ? undefined : btf.type(id);
  if (id === undefined || datasec?.kind !== 'datasec') return undefined;
  const last = datasec.vars.at(-1);
  const variable = last === undefined ? undefined : btf.type(last.type);
  if (last === undefined || variable?.kind !== 'var') return undefined;
  const array = btf.resolved(variable.type);
  if (array.kind !== 'array') return undefined;
  const element = btf.sizeOf(array.type);
  const bytes = size - last.offset;
  if (element === 0 || bytes <= 0 || bytes % element !== 0) return undefined;
  const builder = BtfBuilder.from(btf);
  const type = builder.add({ ...array, count: bytes / element });
  builder.set(last.type, { ...variable, type });
  builder.set(id, { ...datasec, size, vars: [...datasec.vars.slice(0, -1), { ...last, size: bytes }] });
  return parseBtf(builder.bytes());
}
