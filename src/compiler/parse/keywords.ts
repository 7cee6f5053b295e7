/** The words that are no identifiers, and which of them begin a type or a declaration. */
import { QUAL_ATOMIC, QUAL_CONST, QUAL_RESTRICT, QUAL_VOLATILE } from '../ast/index.ts';

/** What a word means among declaration specifiers. */
export type SpecifierWord =
  | { readonly role: 'storage'; readonly storage: 'typedef' | 'extern' | 'static' | 'auto' | 'register' }
  | { readonly role: 'qualifier'; readonly qual: number }
  | { readonly role: 'base'; readonly base: string }
  | { readonly role: 'sign'; readonly signed: boolean }
  | { readonly role: 'length' }
  | { readonly role: 'record'; readonly union: boolean }
  | { readonly role: 'enum' | 'typeof' | 'typeof-unqual' | 'auto-type' | 'atomic' }
  | { readonly role: 'inline' | 'noreturn' | 'thread' | 'attribute' | 'alignas' | 'extension' }
  | { readonly role: 'refused'; readonly message: string };

const storage = (name: 'typedef' | 'extern' | 'static' | 'auto' | 'register'): SpecifierWord => ({
  role: 'storage',
  storage: name,
});
const qualifier = (qual: number): SpecifierWord => ({ role: 'qualifier', qual });
const base = (name: string): SpecifierWord => ({ role: 'base', base: name });
const signed: SpecifierWord = { role: 'sign', signed: true };
const complex: SpecifierWord = { role: 'refused', message: 'complex numbers are not supported on BPF' };

export const SPECIFIERS: ReadonlyMap<string, SpecifierWord> = new Map<string, SpecifierWord>([
  ['typedef', storage('typedef')],
  ['extern', storage('extern')],
  ['static', storage('static')],
  ['auto', storage('auto')],
  ['register', storage('register')],
  ['const', qualifier(QUAL_CONST)],
  ['__const', qualifier(QUAL_CONST)],
  ['__const__', qualifier(QUAL_CONST)],
  ['volatile', qualifier(QUAL_VOLATILE)],
  ['__volatile', qualifier(QUAL_VOLATILE)],
  ['__volatile__', qualifier(QUAL_VOLATILE)],
  ['restrict', qualifier(QUAL_RESTRICT)],
  ['__restrict', qualifier(QUAL_RESTRICT)],
  ['__restrict__', qualifier(QUAL_RESTRICT)],
  ['_Nonnull', qualifier(0)],
  ['_Nullable', qualifier(0)],
  ['void', base('void')],
  ['char', base('char')],
  ['short', base('short')],
  ['int', base('int')],
  ['float', base('float')],
  ['double', base('double')],
  ['_Bool', base('_Bool')],
  ['__int128', base('__int128')],
  ['_Float16', base('_Float16')],
  ['__bf16', base('__bf16')],
  ['__float128', base('__float128')],
  ['__builtin_va_list', base('__builtin_va_list')],
  ['long', { role: 'length' }],
  ['signed', signed],
  ['__signed', signed],
  ['__signed__', signed],
  ['unsigned', { role: 'sign', signed: false }],
  ['struct', { role: 'record', union: false }],
  ['union', { role: 'record', union: true }],
  ['enum', { role: 'enum' }],
  ['typeof', { role: 'typeof' }],
  ['__typeof', { role: 'typeof' }],
  ['__typeof__', { role: 'typeof' }],
  ['typeof_unqual', { role: 'typeof-unqual' }],
  ['__typeof_unqual__', { role: 'typeof-unqual' }],
  ['__typeof_unqual', { role: 'typeof-unqual' }],
  ['__auto_type', { role: 'auto-type' }],
  ['_Atomic', { role: 'atomic' }],
  ['inline', { role: 'inline' }],
  ['__inline', { role: 'inline' }],
  ['__inline__', { role: 'inline' }],
  ['_Noreturn', { role: 'noreturn' }],
  ['_Thread_local', { role: 'thread' }],
  ['__thread', { role: 'thread' }],
  ['__attribute__', { role: 'attribute' }],
  ['__attribute', { role: 'attribute' }],
  ['_Alignas', { role: 'alignas' }],
  ['__extension__', { role: 'extension' }],
  ['_Complex', complex],
  ['__complex__', complex],
  ['_Imaginary', complex],
]);

/** A qualifier that is always one bit. */
export const ATOMIC_QUALIFIER = QUAL_ATOMIC;

const OTHERS: ReadonlySet<string> = new Set([
  'if',
  'else',
  'while',
  'do',
  'for',
  'switch',
  'case',
  'default',
  'break',
  'continue',
  'return',
  'goto',
  'sizeof',
  '_Alignof',
  '__alignof',
  '__alignof__',
  'asm',
  '__asm',
  '__asm__',
  '__label__',
  '_Generic',
  '_Static_assert',
  '__func__',
  '__FUNCTION__',
  '__PRETTY_FUNCTION__',
  '__builtin_offsetof',
  '__builtin_types_compatible_p',
  '__builtin_va_arg',
  '__real__',
  '__real',
  '__imag__',
  '__imag',
]);

/** Cannot name anything. */
export function isReserved(word: string): boolean {
  return SPECIFIERS.has(word) || OTHERS.has(word);
}
