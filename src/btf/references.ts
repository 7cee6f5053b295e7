/** The type ids inside a type, as one function that reads and rewrites them: what merging and deduplication share. */
import type { BtfType } from './types.ts';

/** The type with every id that it refers to replaced by `map(id)`. */
export function mapReferences(type: BtfType, map: (id: number) => number): BtfType {
  switch (type.kind) {
    case 'void':
    case 'int':
    case 'enum':
    case 'enum64':
    case 'fwd':
    case 'float':
      return type;
    case 'ptr':
    case 'typedef':
    case 'volatile':
    case 'const':
    case 'restrict':
    case 'type_tag':
    case 'func':
    case 'var':
    case 'decl_tag':
      return { ...type, type: map(type.type) };
    case 'array':
      return { ...type, type: map(type.type), indexType: map(type.indexType) };
    case 'struct':
    case 'union':
      return { ...type, members: type.members.map((member) => ({ ...member, type: map(member.type) })) };
    case 'func_proto':
      return {
        ...type,
        returnType: map(type.returnType),
        params: type.params.map((param) => ({ ...param, type: map(param.type) })),
      };
    case 'datasec':
      return { ...type, vars: type.vars.map((item) => ({ ...item, type: map(item.type) })) };
    default: {
      const never: never = type;
      return never;
    }
  }
}
