/**
 * The kernel's rules for a BTF that is loaded (kernel/bpf/btf.c, btf_check_all_metas and btf_resolve): what `parseBtf` leaves open
 * because reading does not need it. Names are identifiers, references have the right kind, members lie inside their
 * struct, nothing contains itself.
 */
import { BpfError } from '../util/index.ts';
import { BTF_MAX_DEPTH, type Btf } from './btf.ts';
import { BTF_MAX_TYPE } from './parse.ts';
import type { BtfType, BtfTypeOf } from './types.ts';

function bad(id: number, what: string): BpfError {
  return new BpfError('EINVAL', `BTF type id ${id}: ${what}`);
}

/** Identifiers as the kernel sees them: no leading digit, no sign but `_` and `.`. */
const IDENTIFIER = /^[A-Za-z_.][A-Za-z0-9_.]*$/;
/** Data sections and, since 6.8, other names too may hold any printable character. */
const SECTION = /^[\x20-\x7e]+$/;

/** KSYM_NAME_LEN */
const MAX_NAME = 512;

/** Kinds that must have a name, must not, or may; tags hold any text. */
const NAMES: Readonly<Record<BtfType['kind'], 'must' | 'may' | 'none' | 'section' | 'text'>> = {
  void: 'none',
  int: 'may',
  ptr: 'none',
  array: 'none',
  struct: 'may',
  union: 'may',
  enum: 'may',
  fwd: 'must',
  typedef: 'must',
  volatile: 'none',
  const: 'none',
  restrict: 'none',
  func: 'must',
  func_proto: 'none',
  var: 'must',
  datasec: 'section',
  float: 'may',
  decl_tag: 'text',
  type_tag: 'text',
  enum64: 'may',
};

function checkName(id: number, type: BtfType): void {
  const rule = NAMES[type.kind];
  const name = 'name' in type ? type.name : '';
  if (rule === 'none' || (name === '' && rule === 'may')) return;
  if (name === '') throw bad(id, `a ${type.kind} without name`);
  if (rule === 'text') return;
  if (name.length >= MAX_NAME)
    throw bad(id, `a name of ${name.length} bytes, shorter than ${MAX_NAME} are taken`);
  const form = type.kind === 'int' || type.kind === 'float' || rule === 'section' ? SECTION : IDENTIFIER;
  if (!form.test(name)) throw bad(id, `'${name.slice(0, 64)}' is not a valid name`);
}

/** A function, other than a mere prototype, has names for its parameters (kernel: btf_func_check). */
function checkParams(btf: Btf, id: number, func: BtfTypeOf<'func'>): void {
  const proto = btf.type(func.type);
  if (proto.kind !== 'func_proto') return;
  const unnamed = proto.params.findIndex((param) => param.name === '' && param.type !== 0);
  if (unnamed >= 0) throw bad(id, `function '${func.name}' does not name its argument ${unnamed + 1}`);
}

/** Checks one type by itself and the kinds it refers to. */
function checkType(btf: Btf, id: number, type: BtfType): void {
  checkName(id, type);
  switch (type.kind) {
    case 'struct':
    case 'union': {
      for (const member of type.members) {
        const target = btf.resolved(member.type);
        if (target.kind === 'void' || target.kind === 'func_proto' || target.kind === 'fwd') {
          throw bad(id, `member '${member.name}' has type ${target.kind}`);
        }
        const bits = btf.bitfieldSize(member) || btf.sizeOf(member.type) * 8;
        if (type.kind === 'union' && member.bitOffset !== 0)
          throw bad(id, `member '${member.name}' of a union has an offset`);
        if (member.bitOffset + bits > type.size * 8)
          throw bad(id, `member '${member.name}' lies beyond its ${type.size} bytes`);
      }
      break;
    }
    case 'array': {
      if (btf.resolved(type.indexType).kind !== 'int') throw bad(id, 'an array index that is not an int');
      btf.sizeOf(id);
      break;
    }
    case 'enum':
    case 'enum64':
      if (![1, 2, 4, 8].includes(type.size)) throw bad(id, `an enum of ${type.size} bytes`);
      break;
    case 'float':
      if (![2, 4, 8, 12, 16].includes(type.size)) throw bad(id, `a float of ${type.size} bytes`);
      break;
    case 'func':
      if (btf.kind(type.type) !== 'func_proto')
        throw bad(id, `function '${type.name}' has type ${btf.kind(type.type)}`);
      checkParams(btf, id, type);
      break;
    case 'var': {
      const target = btf.resolved(type.type);
      if (target.kind === 'func_proto') throw bad(id, `variable '${type.name}' has a function's type`);
      break;
    }
    case 'datasec': {
      let end = 0;
      for (const item of type.vars) {
        const variable = btf.type(item.type);
        if (variable.kind !== 'var') throw bad(id, `data section '${type.name}' holds a ${variable.kind}`);
        if (item.offset < end) throw bad(id, `variable '${variable.name}' at offset ${item.offset} overlaps`);
        end = item.offset + item.size;
        if (end > type.size) throw bad(id, `variable '${variable.name}' lies beyond the ${type.size} bytes`);
        if (btf.sizeOf(variable.type) > item.size)
          throw bad(id, `variable '${variable.name}' is larger than its ${item.size} bytes`);
      }
      break;
    }
    case 'decl_tag': {
      const target = btf.type(type.type);
      if (type.componentIndex < -1) throw bad(id, `component index ${type.componentIndex}`);
      if (type.componentIndex === -1) break;
      const proto = target.kind === 'func' ? btf.type(target.type) : target;
      const count =
        'members' in proto ? proto.members.length : proto.kind === 'func_proto' ? proto.params.length : 0;
      if (type.componentIndex >= count) throw bad(id, `component index ${type.componentIndex} of ${count}`);
      break;
    }
    default:
      break;
  }
}

/** Types that a type contains by value, or that a chain goes through. */
function contained(type: BtfType): readonly number[] {
  switch (type.kind) {
    case 'struct':
    case 'union':
      return type.members.map((member) => member.type);
    case 'array':
    case 'typedef':
    case 'volatile':
    case 'const':
    case 'restrict':
    case 'type_tag':
    case 'var':
      return [type.type];
    default:
      return [];
  }
}

/** Refuses types that contain themselves and nesting beyond what the kernel follows. */
function checkNesting(btf: Btf): void {
  const heights = new Map<number, number>();
  for (let root = btf.firstId; root < btf.typeCount; root++) {
    const stack: { id: number; children: readonly number[]; next: number; height: number }[] = [];
    const enter = (id: number): void => {
      heights.set(id, -1);
      stack.push({ id, children: contained(btf.type(id)), next: 0, height: 0 });
    };
    if (!heights.has(root)) enter(root);
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const child = top.children[top.next++];
      if (child === undefined) {
        heights.set(top.id, top.height);
        stack.pop();
        const parent = stack.at(-1);
        if (parent !== undefined) parent.height = Math.max(parent.height, top.height + 1);
        continue;
      }
      const height = heights.get(child);
      if (height === -1) throw bad(child, 'the type contains itself');
      if (height === undefined) enter(child);
      else top.height = Math.max(top.height, height + 1);
      if (stack.length > BTF_MAX_DEPTH || top.height > BTF_MAX_DEPTH) {
        throw new BpfError('E2BIG', `BTF type id ${root}: types are nested deeper than ${BTF_MAX_DEPTH}`);
      }
    }
  }
}

/** Refuses what BTF_LOAD refuses. Errors: EINVAL naming the type id; E2BIG for too many types or too deep nesting. */
export function checkBtf(btf: Btf): void {
  if (btf.typeCount > BTF_MAX_TYPE)
    throw new BpfError('E2BIG', `BTF with ${btf.typeCount} types, at most ${BTF_MAX_TYPE}`);
  checkNesting(btf);
  for (const [id, type] of btf.types()) checkType(btf, id, type);
}
