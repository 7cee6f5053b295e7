/**
 * `extern … __ksym`: kernel variables by type (BTF id) or by address (kallsyms), kernel functions by BTF id of vmlinux or of a module
 * (libbpf: bpf_object__resolve_externs). A weak one that the kernel lacks is NULL; a call of it is poisoned, for code that is never
 * reached may have it.
 */
import { type Btf, btfName, essentialName, typesCompatible } from '../../btf/index.ts';
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import type { ProgramRelocation } from '../../object/index.ts';
import { BpfError } from '../../util/errors.ts';
import { KernelSymbols } from '../symbols/kallsyms.ts';
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

const SYMBOLS_OF = new WeakMap<LoadContext, KernelSymbols | null>();

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
  const addresses = new Set(symbols?.find(symbol).map((one) => one.address));
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

/** Read once a load: modules come and go. */
function kernelSymbols(context: LoadContext): KernelSymbols | null {
  let symbols = SYMBOLS_OF.get(context);
  if (symbols === undefined) {
    symbols = readSymbols(context.kernel);
    SYMBOLS_OF.set(context, symbols);
  }
  return symbols;
}

function readSymbols(kernel: Kernel): KernelSymbols | null {
  const bytes = kernel.files?.read('/proc/kallsyms');
  return bytes == null ? null : KernelSymbols.parse(bytes);
}
