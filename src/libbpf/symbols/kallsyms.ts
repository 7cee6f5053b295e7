/**
 * Symbols of the kernel: /proc/kallsyms, by name and by address. Addresses are 0 for who may not see them (kptr_restrict); such a
 * table finds nothing by address.
 */
import { fromUtf8 } from '../../util/bytes.ts';

export interface KernelSymbol {
  readonly name: string;
  readonly address: bigint;
  /** nm(1): `t` and `T` are code. */
  readonly type: string;
  /** Module, '' for the kernel itself, `bpf` for programs. */
  readonly module: string;
}

export class KernelSymbols {
  /** By address. */
  readonly symbols: readonly KernelSymbol[];
  readonly #byName = new Map<string, KernelSymbol[]>();

  constructor(symbols: readonly KernelSymbol[]) {
    this.symbols = [...symbols].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
    for (const symbol of this.symbols) {
      const same = this.#byName.get(symbol.name);
      if (same === undefined) this.#byName.set(symbol.name, [symbol]);
      else same.push(symbol);
    }
  }

  static parse(bytes: Uint8Array): KernelSymbols {
    const symbols: KernelSymbol[] = [];
    for (const line of fromUtf8(bytes).split('\n')) {
      const match = /^([0-9a-f]{1,16}) (\S) (\S+)(?:\s+\[(.+)\])?$/i.exec(line);
      if (match === null) continue;
      const [, address, type, name, module = ''] = match;
      symbols.push({ name, address: BigInt(`0x${address}`), type, module });
    }
    return new KernelSymbols(symbols);
  }

  /** Names need not be unique. */
  find(name: string): readonly KernelSymbol[] {
    return this.#byName.get(name) ?? [];
  }

  /** The symbol that an address lies in or behind, and how far behind its start. */
  at(address: bigint): { readonly symbol: KernelSymbol; readonly offset: bigint } | undefined {
    let low = 0;
    let high = this.symbols.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.symbols[middle].address <= address) low = middle + 1;
      else high = middle;
    }
    const symbol = this.symbols[low - 1];
    if (symbol === undefined || symbol.address === 0n) return undefined;
    return { symbol, offset: address - symbol.address };
  }
}
