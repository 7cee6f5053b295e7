/**
 * The builtin functions, as a table: name → what it is in the typed tree, argument types, result. What no row of plain
 * types can say has `special`, the name of its handler in `calls.ts`.
 */
import { type BuiltinName, type CType, QUAL_CONST, qualify } from '../ast/index.ts';
import {
  BOOL,
  CHAR,
  INT,
  LLONG,
  LONG,
  pointerTo,
  UCHAR,
  UINT,
  ULLONG,
  ULONG,
  USHORT,
  VOID,
  VOID_POINTER,
} from './arithmetic-types.ts';

export type SpecialBuiltin =
  | 'constant-p'
  | 'choose-expr'
  | 'object-size'
  | 'expect-probability'
  | 'value'
  | 'classify-type'
  | 'align'
  | 'place'
  | 'overflow'
  | 'bit-generic'
  | 'prefetch'
  | 'frame'
  | 'preserve-access-index'
  | 'preserve-field-info'
  | 'preserve-type-info'
  | 'preserve-enum-value'
  | 'btf-type-id'
  | 'sync-rmw'
  | 'sync-cas'
  | 'sync-release'
  | 'atomic-rmw'
  | 'atomic-load'
  | 'atomic-store'
  | 'atomic-exchange'
  | 'atomic-cas'
  | 'atomic-lock-free'
  | 'fence'
  | 'variadic'
  | 'float';

export interface BuiltinRow {
  readonly name: BuiltinName | null;
  readonly result: CType;
  readonly parameters: readonly CType[];
  readonly special?: SpecialBuiltin;
  /** What the handler of `special` needs to know: `fetch_add`, `weak`, `n` … */
  readonly detail?: string;
}

const CONST_VOID_POINTER = pointerTo(qualify(VOID, QUAL_CONST));
const CONST_CHAR_POINTER = pointerTo(qualify(CHAR, QUAL_CONST));

/** Library functions that are known by their own names, too, when nobody defines them. */
export const LIBRARY: Readonly<Record<string, BuiltinRow>> = {
  memcpy: row('memcpy', VOID_POINTER, VOID_POINTER, CONST_VOID_POINTER, ULONG),
  memmove: row('memmove', VOID_POINTER, VOID_POINTER, CONST_VOID_POINTER, ULONG),
  memset: row('memset', VOID_POINTER, VOID_POINTER, INT, ULONG),
  memcmp: row('memcmp', INT, CONST_VOID_POINTER, CONST_VOID_POINTER, ULONG),
  bcmp: row('memcmp', INT, CONST_VOID_POINTER, CONST_VOID_POINTER, ULONG),
  strcmp: row('strcmp', INT, CONST_CHAR_POINTER, CONST_CHAR_POINTER),
  strncmp: row('strncmp', INT, CONST_CHAR_POINTER, CONST_CHAR_POINTER, ULONG),
  strlen: row('strlen', ULONG, CONST_CHAR_POINTER),
};

function row(name: BuiltinName, result: CType, ...parameters: CType[]): BuiltinRow {
  return { name, result, parameters };
}

function special(
  kind: SpecialBuiltin,
  name: BuiltinName | null = null,
  detail = '',
  result: CType = INT,
): BuiltinRow {
  return { name, result, parameters: [], special: kind, detail };
}

function build(): ReadonlyMap<string, BuiltinRow> {
  const table = new Map<string, BuiltinRow>();
  const add = (name: string, value: BuiltinRow) => table.set(name, value);
  for (const [name, value] of Object.entries(LIBRARY)) add(`__builtin_${name}`, value);
  add('__builtin_memcpy_inline', row('memcpy_inline', VOID, VOID_POINTER, CONST_VOID_POINTER, ULONG));
  add('__builtin_memset_inline', row('memset', VOID, VOID_POINTER, INT, ULONG));
  add('__builtin_bswap16', row('bswap16', USHORT, USHORT));
  add('__builtin_bswap32', row('bswap32', UINT, UINT));
  add('__builtin_bswap64', row('bswap64', ULONG, ULONG));
  for (const [suffix, unsigned, signed] of [
    ['', UINT, INT],
    ['l', ULONG, LONG],
    ['ll', ULLONG, LLONG],
  ] as const) {
    for (const bit of ['clz', 'ctz', 'popcount', 'parity'] as const)
      add(`__builtin_${bit}${suffix}`, row(bit, INT, unsigned));
    add(`__builtin_ffs${suffix}`, row('ffs', INT, signed));
    add(`__builtin_clrsb${suffix}`, row('clrsb', INT, signed));
    add(`__builtin_${suffix}abs`, row('abs', signed, signed));
    for (const op of ['add', 'sub', 'mul'] as const) {
      add(
        `__builtin_s${op}${suffix}_overflow`,
        row(`${op}_overflow`, BOOL, signed, signed, pointerTo(signed)),
      );
      add(
        `__builtin_u${op}${suffix}_overflow`,
        row(`${op}_overflow`, BOOL, unsigned, unsigned, pointerTo(unsigned)),
      );
    }
  }
  for (const bit of ['clz', 'ctz', 'popcount'] as const)
    add(`__builtin_${bit}g`, special('bit-generic', bit));
  for (const op of ['add', 'sub', 'mul'] as const)
    add(`__builtin_${op}_overflow`, special('overflow', `${op}_overflow`, '', BOOL));
  for (const [bits, type] of [
    [8, UCHAR],
    [16, USHORT],
    [32, UINT],
    [64, ULONG],
  ] as const) {
    add(`__builtin_rotateleft${bits}`, row('rotate-left', type, type, type));
    add(`__builtin_rotateright${bits}`, row('rotate-right', type, type, type));
    add(`__builtin_bitreverse${bits}`, row('bitreverse', type, type));
  }
  add('__builtin_expect', row('expect', LONG, LONG, LONG));
  add('__builtin_expect_with_probability', special('expect-probability', 'expect', '', LONG));
  add('__builtin_unpredictable', special('value', null, '1', LONG));
  add('__builtin_assume_aligned', special('value', null, '2 3', VOID_POINTER));
  add('__builtin_classify_type', special('classify-type'));
  for (const what of ['is_aligned', 'align_up', 'align_down'])
    add(`__builtin_${what}`, special('align', null, what));
  for (const what of ['LINE', 'FILE', 'FUNCTION']) add(`__builtin_${what}`, special('place', null, what));
  add('__builtin_assume', row('assume', VOID, BOOL));
  add('__builtin_unreachable', row('unreachable', VOID));
  add('__builtin_trap', row('trap', VOID));
  add('__builtin_debugtrap', row('trap', VOID));
  add('__builtin_prefetch', special('prefetch', 'prefetch', '', VOID));
  add('__builtin_constant_p', special('constant-p', 'constant_p'));
  add('__builtin_choose_expr', special('choose-expr'));
  add('__builtin_object_size', special('object-size', 'object_size', '', ULONG));
  add('__builtin_dynamic_object_size', special('object-size', 'object_size', '', ULONG));
  add('__builtin_alloca', row('alloca', VOID_POINTER, ULONG));
  add('__builtin_frame_address', special('frame', 'frame_address', '', VOID_POINTER));
  add('__builtin_return_address', special('frame', 'return_address', '', VOID_POINTER));
  add('__builtin_preserve_access_index', special('preserve-access-index', 'preserve_access_index'));
  add('__builtin_preserve_field_info', special('preserve-field-info', 'preserve_field_info', '', UINT));
  add('__builtin_preserve_type_info', special('preserve-type-info', 'preserve_type_info', '', UINT));
  add('__builtin_preserve_enum_value', special('preserve-enum-value', 'preserve_enum_value', '', ULONG));
  add('__builtin_btf_type_id', special('btf-type-id', 'btf_type_id', '', ULONG));
  for (const name of ['va_start', 'va_end', 'va_copy', 'va_arg'])
    add(`__builtin_${name}`, special('variadic'));
  for (const name of ['huge_val', 'inf', 'nan', 'fabs', 'sqrt', 'floor', 'ceil', 'isnan'])
    add(`__builtin_${name}`, special('float'));
  addAtomics(add);
  return table;
}

function addAtomics(add: (name: string, value: BuiltinRow) => unknown): void {
  for (const op of ['add', 'sub', 'and', 'or', 'xor', 'nand'] as const) {
    const fetch: BuiltinName = `atomic_fetch_${op}`;
    const after: BuiltinName = `atomic_${op}_fetch`;
    for (const size of ['', '_1', '_2', '_4', '_8']) {
      add(`__sync_fetch_and_${op}${size}`, special('sync-rmw', fetch));
      add(`__sync_${op}_and_fetch${size}`, special('sync-rmw', after));
    }
    add(`__atomic_fetch_${op}`, special('atomic-rmw', fetch));
    add(`__atomic_${op}_fetch`, special('atomic-rmw', after));
    add(`__c11_atomic_fetch_${op}`, special('atomic-rmw', fetch));
  }
  for (const size of ['', '_1', '_2', '_4', '_8']) {
    add(`__sync_val_compare_and_swap${size}`, special('sync-cas', 'sync_val_compare_and_swap'));
    add(`__sync_bool_compare_and_swap${size}`, special('sync-cas', 'sync_bool_compare_and_swap'));
    add(`__sync_lock_test_and_set${size}`, special('sync-rmw', 'atomic_exchange'));
    add(`__sync_swap${size}`, special('sync-rmw', 'atomic_exchange'));
    add(`__sync_lock_release${size}`, special('sync-release', 'atomic_store', '', VOID));
  }
  add('__sync_synchronize', row('atomic_fence', VOID));
  add('__atomic_load_n', special('atomic-load', 'atomic_load', 'n'));
  add('__atomic_load', special('atomic-load', 'atomic_load'));
  add('__c11_atomic_load', special('atomic-load', 'atomic_load', 'n'));
  add('__atomic_store_n', special('atomic-store', 'atomic_store', 'n'));
  add('__atomic_store', special('atomic-store', 'atomic_store'));
  add('__c11_atomic_store', special('atomic-store', 'atomic_store', 'n'));
  add('__c11_atomic_init', special('atomic-store', 'atomic_store', 'init'));
  add('__atomic_exchange_n', special('atomic-exchange', 'atomic_exchange', 'n'));
  add('__atomic_exchange', special('atomic-exchange', 'atomic_exchange'));
  add('__c11_atomic_exchange', special('atomic-exchange', 'atomic_exchange', 'n'));
  add('__atomic_compare_exchange_n', special('atomic-cas', 'atomic_compare_exchange', 'n', BOOL));
  add('__atomic_compare_exchange', special('atomic-cas', 'atomic_compare_exchange', '', BOOL));
  add('__c11_atomic_compare_exchange_strong', special('atomic-cas', 'atomic_compare_exchange', 'c11', BOOL));
  add('__c11_atomic_compare_exchange_weak', special('atomic-cas', 'atomic_compare_exchange', 'c11', BOOL));
  add('__atomic_thread_fence', special('fence', 'atomic_fence', '', VOID));
  add('__c11_atomic_thread_fence', special('fence', 'atomic_fence', '', VOID));
  add('__atomic_signal_fence', special('fence', 'signal_fence', '', VOID));
  add('__c11_atomic_signal_fence', special('fence', 'signal_fence', '', VOID));
  add('__atomic_always_lock_free', special('atomic-lock-free', null, '', BOOL));
  add('__atomic_is_lock_free', special('atomic-lock-free', null, '', BOOL));
}

let table: ReadonlyMap<string, BuiltinRow> | null = null;

/** The row of a builtin's name, or undefined. */
export function findBuiltin(name: string): BuiltinRow | undefined {
  if (!name.startsWith('__')) return undefined;
  table ??= build();
  return table.get(name);
}

/** Functions declared with `asm("llvm.bpf.load.byte")`: the packet loads of old. */
export const ASM_LABELS: Readonly<Record<string, BuiltinName>> = {
  'llvm.bpf.load.byte': 'bpf_load_byte',
  'llvm.bpf.load.half': 'bpf_load_half',
  'llvm.bpf.load.word': 'bpf_load_word',
};
