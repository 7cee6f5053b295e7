/**
 * Compiled code of programs, so that the same program is not translated and compiled twice, by whichever kernel of the process.
 *
 * Invariant: the key is made of everything that code is made of: the rewritten instructions with their final addresses, what calls lead
 * to, the layout of maps, the engine's settings. What the engine reads of a map stands in its `layout` and `info`, and of a callee in
 * its plain fields; fields that come later are in the key by themselves. Nothing of a kernel is kept: an entry names functions to
 * import by the calls that need them.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import type { CallTarget, CodeCacheStats, ExecutableProgram } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import type { BpfMap } from '../contracts/maps.ts';
import { toHex, utf8 } from '../util/bytes.ts';
import type { TranslatedModule } from './module.ts';

export interface CachedCode {
  readonly module: WebAssembly.Module;
  readonly compiled: TranslatedModule;
  /** Index of a call of each function to import. */
  readonly importCalls: readonly number[];
}

export interface CodeCacheOptions {
  /** Programs that are kept at most (default 256); 0: none. */
  readonly maxPrograms?: number;
  /** Bytes of WebAssembly that are kept at most (default 16 MiB). */
  readonly maxBytes?: number;
}

/** Keeps what was used last. */
export class CodeCache {
  readonly #entries = new Map<string, CachedCode>();
  readonly #maxPrograms: number;
  readonly #maxBytes: number;
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  constructor(options: CodeCacheOptions = {}) {
    this.#maxPrograms = options.maxPrograms ?? 256;
    this.#maxBytes = options.maxBytes ?? 16 << 20;
  }

  get(key: string): CachedCode | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#misses++;
      return undefined;
    }
    this.#hits++;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  set(key: string, entry: CachedCode): void {
    const size = entry.compiled.bytes.length;
    if (size > this.#maxBytes || this.#maxPrograms === 0 || this.#entries.has(key)) return;
    this.#entries.set(key, entry);
    this.#bytes += size;
    for (const [oldest, { compiled }] of this.#entries) {
      if (this.#entries.size <= this.#maxPrograms && this.#bytes <= this.#maxBytes) break;
      this.#entries.delete(oldest);
      this.#bytes -= compiled.bytes.length;
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  stats(): CodeCacheStats {
    return { hits: this.#hits, misses: this.#misses, programs: this.#entries.size, bytes: this.#bytes };
  }
}

let shared: CodeCache | undefined;

/** The cache of all kernels of this process that were given none. */
export function sharedCodeCache(): CodeCache {
  shared ??= new CodeCache();
  return shared;
}

/** 64 hex digits. `settings`: what else the code depends on. */
export function codeKey(program: ExecutableProgram, settings: unknown): string {
  const { insns, calls, origin: _, ...rest } = program;
  const hash = sha256.create().update(new Uint8Array(instructionWords(insns).buffer));
  hash.update(utf8(`${describe(settings)}${describe(rest)}${describeCalls(calls)}`));
  return toHex(hash.digest());
}

/** Two words an instruction, as it is loaded: opcode, registers and offset, then the immediate. */
export function instructionWords(insns: readonly Insn[]): Int32Array {
  const words = new Int32Array(insns.length * 2);
  insns.forEach(({ code, dst, src, off, imm }, i) => {
    words[2 * i] = code | (dst << 8) | (src << 12) | (off << 16);
    words[2 * i + 1] = imm;
  });
  return words;
}

/** Callees that are one object become one import, so each stands as a number. */
function describeCalls(calls: readonly (CallTarget | undefined)[]): string {
  const callees = new Map<unknown, number>();
  const texts = new Map<CallTarget, string>();
  const parts: string[] = [];
  calls.forEach((target, i) => {
    if (target === undefined) return;
    let text = texts.get(target);
    if (text === undefined) {
      const { map, callee, ...rest } = { map: undefined, callee: undefined, ...target };
      text = describe(rest);
      if (map !== undefined) text += describeMap(map);
      if (callee !== undefined) {
        let number = callees.get(callee);
        if (number === undefined) {
          number = callees.size;
          callees.set(callee, number);
          const { fn: __, ...plain } = callee;
          text += describe(plain);
        }
        text += `#${number}`;
      }
      texts.set(target, text);
    }
    parts.push(`${i}:${text}`);
  });
  return parts.join('\n');
}

/** Ids and names of maps are in no code. */
function describeMap({ layout, info }: BpfMap): string {
  return `${describe(layout)}${describeShape(info)}`;
}

function describeShape({ id: _, name: __, type, inner, ...rest }: BpfMap['info']): string {
  const scalars = Object.entries(rest).filter(([, value]) => typeof value !== 'object');
  const inside = inner === undefined ? '' : describeShape(inner);
  return `${type.name}${describe(Object.fromEntries(scalars.filter(([, value]) => typeof value !== 'function')))}(${inside})`;
}

const identities = new WeakMap<object, number>();
let lastIdentity = 0;

/** Functions, and rows of tables (which have a name), are what they are. */
function identity(value: object): string {
  let number = identities.get(value);
  if (number === undefined) {
    number = ++lastIdentity;
    identities.set(value, number);
  }
  return `@${number}`;
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return identity(value);
  if (typeof value !== 'object' || value === null) return String(value);
  if (ArrayBuffer.isView(value)) {
    return `<${toHex(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))}>`;
  }
  if (Array.isArray(value) || value instanceof Set || value instanceof Map)
    return `[${Array.from(value as Iterable<unknown>, describe).join()}]`;
  const entries = Object.entries(value).filter(([, part]) => part !== undefined);
  return `{${entries.map(([name, part]) => `${name}:${name === 'row' ? identity(part as object) : describe(part)}`).join()}}`;
}
