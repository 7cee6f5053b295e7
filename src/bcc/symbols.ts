/** Names of addresses, and what the kernel and executables have by name, as BCC gives them. */
import type { Kernel } from '../contracts/kernel.ts';
import { type FunctionSymbol, KernelSymbols, openExecutable, Symbolizer } from '../libbpf/index.ts';
import { BpfError } from '../util/errors.ts';
import { findBinary } from './usdt.ts';

export interface SymbolOptions {
  readonly showModule?: boolean;
  readonly showOffset?: boolean;
}

export class Symbols {
  readonly #kernel: Kernel;
  #known: Symbolizer | undefined;
  #byName: KernelSymbols | undefined;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  get #symbolizer(): Symbolizer {
    this.#known ??= new Symbolizer(this.#kernel);
    return this.#known;
  }

  kernel(address: bigint, options: SymbolOptions): string {
    const { name, offset, object } = this.#symbolizer.kernel(address);
    return shown(name, offset, object || 'kernel', options);
  }

  user(address: bigint, pid: number, options: SymbolOptions): string {
    if (pid < 0) return this.kernel(address, options);
    const { name, offset, object } = this.#symbolizer.user(pid, address);
    return shown(name, offset, object.split('/').pop() ?? '', options);
  }

  /** Address of a function of the kernel, -1n where there is none. */
  address(name: string): bigint {
    if (this.#byName === undefined) {
      const bytes = this.#kernel.files?.read('/proc/kallsyms') ?? null;
      this.#byName = bytes === null ? new KernelSymbols([]) : KernelSymbols.parse(bytes);
    }
    return this.#byName.find(name)[0]?.address ?? -1n;
  }

  /** Functions of a program or library that match from the start of their names on, each address once. */
  functions(binary: string, pattern: RegExp, pid: number | undefined): FunctionSymbol[] {
    const from = new RegExp(`^(?:${pattern.source})`, pattern.flags.replace(/[gy]/g, ''));
    const seen = new Set<number>();
    const path = findBinary(this.#kernel, binary, pid);
    const found = openExecutable(this.#kernel, path)
      .functions()
      .filter(({ name, offset }) => {
        if (seen.has(offset) || !from.test(name)) return false;
        seen.add(offset);
        return true;
      });
    if (found.length === 0) throw new BpfError('ENOENT', `no function of ${path} matches ${pattern}`);
    return found;
  }
}

function shown(
  name: string | undefined,
  offset: bigint,
  module: string,
  { showModule, showOffset }: SymbolOptions,
): string {
  const place = showModule === true && module !== '' ? ` [${module}]` : '';
  if (name === undefined) return `[unknown]${module === 'kernel' ? '' : place}`;
  return `${name}${showOffset === true ? `+0x${offset.toString(16)}` : ''}${place}`;
}
