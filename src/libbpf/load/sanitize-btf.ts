/**
 * BTF for kernels that do not know all kinds (libbpf: bpf_object__sanitize_btf): what a kernel refuses is found by offering it the
 * smallest BTF with each kind, and is written as something older of the same size. Type ids stay.
 */
import { type Btf, BtfBuilder, type BtfInt, type BtfType, btfInt, parseBtf } from '../../btf/index.ts';
import type { Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';

const INT: BtfInt = btfInt('int', 4, { signed: true });
/** In the place of what has no size that matters. */
const PLACEHOLDER: BtfInt = { ...INT, name: '', size: 1, bits: 8, signed: false };
const PROTO: BtfType = { kind: 'func_proto', returnType: 0, params: [{ name: 'a', type: 1 }] };
const VAR: BtfType = { kind: 'var', name: 'x', type: 1, linkage: 'static' };

/** What newer kernels brought, and the types (from id 2 on; 1 is `int`) that show whether this one has it. */
const PROBES = {
  func: [PROTO, { kind: 'func', name: 'f', type: 2, linkage: 'static' }],
  funcGlobal: [PROTO, { kind: 'func', name: 'f', type: 2, linkage: 'global' }],
  datasec: [VAR, { kind: 'datasec', name: '.data', size: 4, vars: [{ type: 2, offset: 0, size: 4 }] }],
  questionDatasec: [
    VAR,
    { kind: 'datasec', name: '?.data', size: 4, vars: [{ type: 2, offset: 0, size: 4 }] },
  ],
  float: [{ kind: 'float', name: 'float', size: 4 }],
  declTag: [VAR, { kind: 'decl_tag', name: 'tag', type: 2, componentIndex: -1, attribute: false }],
  typeTag: [
    { kind: 'type_tag', name: 'tag', type: 1, attribute: false },
    { kind: 'ptr', type: 2 },
  ],
  enum64: [{ kind: 'enum64', name: '', size: 8, signed: false, values: [{ name: 'v', value: 0n }] }],
} as const satisfies Record<string, readonly BtfType[]>;

export type BtfSupport = Readonly<Record<keyof typeof PROBES, boolean>>;

const SUPPORT = new WeakMap<Kernel, BtfSupport>();

/** Which kinds the kernel takes: one BTF_LOAD each, once a kernel. */
export function btfSupport(kernel: Kernel): BtfSupport {
  const known = SUPPORT.get(kernel);
  if (known !== undefined) return known;
  const takes = (types: readonly BtfType[]): boolean => {
    const builder = new BtfBuilder();
    for (const type of [INT, ...types]) builder.add(type);
    try {
      kernel.close(kernel.btfLoad({ btf: builder.bytes() }));
      return true;
    } catch (error) {
      if (error instanceof BpfError) return false;
      throw error;
    }
  };
  const answers = Object.entries(PROBES).map(([name, types]) => [name, takes(types)]);
  const support = Object.fromEntries(answers) as BtfSupport;
  SUPPORT.set(kernel, support);
  return support;
}

const identifier = (name: string): string => name.replace(/[.?]/g, '_');

/** The type as the kernel takes it, or undefined where it may stay. `int`: id of an int to refer to, made when needed. */
function older(btf: Btf, type: BtfType, support: BtfSupport, int: () => number): BtfType | undefined {
  switch (type.kind) {
    case 'var':
      return support.datasec ? undefined : PLACEHOLDER;
    case 'decl_tag':
      return support.declTag ? undefined : PLACEHOLDER;
    case 'datasec':
      if (!support.datasec) {
        return {
          kind: 'struct',
          name: identifier(type.name),
          size: type.size,
          members: type.vars.map((item) => ({
            name: identifier(btf.name(item.type)),
            type: item.type,
            bitOffset: item.offset * 8,
            bitSize: 0,
          })),
        };
      }
      if (support.questionDatasec || !type.name.startsWith('?')) return undefined;
      return { ...type, name: type.name.replace('?', '_') };
    case 'func_proto': {
      if (support.func) return undefined;
      const values = type.params.map((param) => ({ name: param.name || 'arg', value: BigInt(param.type) }));
      return { kind: 'enum', name: '', size: 4, signed: false, values };
    }
    case 'func':
      if (!support.func) return { kind: 'typedef', name: type.name, type: type.type };
      return support.funcGlobal || type.linkage === 'static' ? undefined : { ...type, linkage: 'static' };
    case 'float':
      return support.float
        ? undefined
        : { kind: 'struct', name: identifier(type.name), size: type.size, members: [] };
    case 'type_tag':
      return support.typeTag ? undefined : { kind: 'const', type: type.type };
    case 'enum':
      return support.enum64 || !type.signed ? undefined : { ...type, signed: false };
    case 'enum64':
      if (support.enum64) return undefined;
      return {
        kind: 'union',
        name: type.name,
        size: type.size,
        members: type.values.map(({ name }) => ({ name, type: int(), bitOffset: 0, bitSize: 0 })),
      };
    default:
      return undefined;
  }
}

/** The BTF rewritten for a kernel, or undefined where nothing of it is too new. */
export function sanitizeBtf(bytes: Uint8Array, support: BtfSupport): Uint8Array | undefined {
  const btf = parseBtf(bytes);
  const builder = BtfBuilder.from(btf);
  let changed = false;
  let intId = 0;
  const int = (): number => {
    if (intId === 0) intId = builder.add({ ...INT, name: 'enum64_placeholder_0' });
    return intId;
  };
  for (const [id, type] of btf.types()) {
    const replacement = older(btf, type, support, int);
    if (replacement === undefined) continue;
    builder.set(id, replacement);
    changed = true;
  }
  return changed ? builder.bytes() : undefined;
}
