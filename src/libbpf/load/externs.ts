/**
 * `extern … __ksym`: kernel variables by type (BTF id) or by address (kallsyms), kernel functions by BTF id of vmlinux or of a module
 * (libbpf: bpf_object__resolve_externs). A weak one that the kernel lacks is NULL; a call of it is poisoned, for code that is never
 * reached may have it.
 */
import { type Btf, btfName, essentialName, typesCompatible } from '../../btf/index.ts';
import type { Fd } from '../../contracts/kernel.ts';
import type { ProgramRelocation } from '../../object/index.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import type { LoadContext } from './context.ts';
import type { FoundType } from './kernel-types.ts';

export type KsymRelocation = Extract<ProgramRelocation, { kind: 'ksym' | 'kfunc' | 'kfunc_address' }>;

/** Where a symbol is in the kernel. `objFd`: descriptor of the module's BTF, 0 for vmlinux. */
export type ResolvedKsym =
  | { readonly by: 'btf'; readonly id: number; readonly objFd: Fd }
  | { readonly by: 'address'; readonly address: bigint };

const KINDS = {
  kfunc: { btf: 'func', what: 'func ksym' },
  kfunc_address: { btf: 'func', what: 'func ksym' },
  ksym: { btf: 'var', what: 'var ksym' },
} as const;

const SYMBOLS_OF = new WeakMap<LoadContext, string | null>();

/** null: a weak symbol that this kernel does not have. Throws ENOENT, EINVAL naming the program. */
export function resolveKsym(
  context: LoadContext,
  program: string,
  relocation: KsymRelocation,
): ResolvedKsym | null {
  const { symbol, weak } = relocation;
  if (relocation.kind === 'ksym' && !relocation.typed) return byAddress(context, program, relocation);
  const kind = KINDS[relocation.kind];
  const found = context.types.find(essentialName(symbol), kind.btf);
  if (found === undefined) {
    if (weak) return null;
    throw missing(program, `extern (${kind.what}) '${symbol}': not found in kernel or module BTFs`);
  }
  const local = context.spec.btf;
  const type = found.btf.type(found.id);
  const target = type.kind === 'func' || type.kind === 'var' ? type.type : 0;
  if (local !== undefined && !typesCompatible(local, relocation.typeId, found.btf, target)) {
    if (weak && kind.btf === 'func') return null;
    throw new BpfError(
      'EINVAL',
      `program '${program}': extern (${kind.what}) '${symbol}': incompatible types, expected ${shown(local, relocation.typeId)}, but ${owner(found)} has ${shown(found.btf, target)}`,
    );
  }
  return { by: 'btf', id: found.id, objFd: found.module?.fd ?? 0 };
}

const owner = (found: FoundType): string => found.module?.name ?? 'kernel';

function shown(btf: Btf, id: number): string {
  const type = btf.resolved(id);
  return `[${btf.resolve(id)}] ${type.kind} ${btfName(type)}`.trimEnd();
}

function missing(program: string, what: string): BpfError {
  return new BpfError('ENOENT', `program '${program}': ${what}`, {
    hint: 'declare it __weak and test for it',
  });
}

function byAddress(
  context: LoadContext,
  program: string,
  { symbol, weak }: KsymRelocation,
): ResolvedKsym | null {
  const symbols = kernelSymbols(context);
  const addresses = addressesOf(symbols ?? '', symbol);
  const [address] = addresses;
  if (address === undefined) {
    if (weak) return null;
    throw missing(
      program,
      `extern (ksym) '${symbol}': ${symbols === null ? 'this kernel has no kallsyms' : 'not found in kallsyms'}`,
    );
  }
  if (addresses.size > 1) {
    const list = [...addresses].map((one) => `0x${one.toString(16)}`).join(' or ');
    throw new BpfError(
      'EINVAL',
      `program '${program}': extern (ksym) '${symbol}': resolution is ambiguous: ${list}`,
    );
  }
  return { by: 'address', address };
}

/** Read once a load: modules come and go. It is long, and few names of it are wanted. */
function kernelSymbols(context: LoadContext): string | null {
  let symbols = SYMBOLS_OF.get(context);
  if (symbols === undefined) {
    const bytes = context.kernel.files?.read('/proc/kallsyms');
    symbols = bytes == null ? null : fromUtf8(bytes);
    SYMBOLS_OF.set(context, symbols);
  }
  return symbols;
}

/** Lines `ffffffff81000000 T name`, with a tab and the module's name behind those of modules. */
function addressesOf(symbols: string, name: string): Set<bigint> {
  const found = new Set<bigint>();
  for (let at = symbols.indexOf(name); at >= 0; at = symbols.indexOf(name, at + 1)) {
    const end = symbols[at + name.length];
    if (symbols[at - 1] !== ' ' || (end !== undefined && end !== '\n' && end !== '\t')) continue;
    const line = symbols.slice(symbols.lastIndexOf('\n', at) + 1, at);
    const match = /^([0-9a-f]{1,16}) \S $/i.exec(line);
    if (match !== null) found.add(BigInt(`0x${match[1]}`));
  }
  return found;
}
