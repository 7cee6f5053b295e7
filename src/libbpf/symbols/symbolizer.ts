/**
 * Addresses to names: of the kernel by /proc/kallsyms, of a process by what it has mapped and the symbol tables of those files, and
 * by /tmp/perf-PID.map for code that is made at run time (perf's convention; Node writes one with --perf-basic-prof).
 *
 * What was read is kept: maps until `forget`, files until more than a few dozen were asked for.
 */
import type { Kernel, MachineFiles } from '../../contracts/kernel.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { Executable } from './executable.ts';
import { KernelSymbols } from './kallsyms.ts';
import { type ProcessMapping, parseProcessMaps } from './process-maps.ts';

export interface Frame {
  readonly address: bigint;
  /** Function; undefined where nobody knows. */
  readonly name: string | undefined;
  /** Bytes from its start, or from the start of the file where there is no function. */
  readonly offset: bigint;
  /** Path of the executable or library, module of the kernel, `[vdso]`, ''. */
  readonly object: string;
}

interface PerfMapEntry {
  readonly start: bigint;
  readonly size: bigint;
  readonly name: string;
}

interface Process {
  readonly mappings: readonly ProcessMapping[];
  readonly generated: readonly PerfMapEntry[];
}

const MAX_FILES = 64;
const WORD = 8;

export class Symbolizer {
  readonly #files: MachineFiles | undefined;
  #kernel: KernelSymbols | undefined;
  readonly #processes = new Map<number, Process>();
  /** By path as this process sees it; null: no ELF file, or not to be read. */
  readonly #executables = new Map<string, Executable | null>();

  /** A kernel without a machine below it (embedded) has no names to give: frames are then addresses. */
  constructor(kernel: Kernel) {
    this.#files = kernel.files;
  }

  /** An address of the kernel. */
  kernel(address: bigint): Frame {
    if (this.#kernel === undefined) {
      const bytes = this.#read('/proc/kallsyms');
      this.#kernel = bytes === null ? new KernelSymbols([]) : KernelSymbols.parse(bytes);
    }
    const found = this.#kernel.at(address);
    if (found === undefined) return { address, name: undefined, offset: 0n, object: '' };
    return { address, name: found.symbol.name, offset: found.offset, object: found.symbol.module };
  }

  /** An address of a process. A process that has ended is known only if it was asked for before. */
  user(pid: number, address: bigint): Frame {
    const process = this.#process(pid);
    const mapping = process.mappings.find(({ start, end }) => address >= start && address < end);
    const generated = process.generated.find(({ start, size }) => address >= start && address - start < size);
    if (generated !== undefined)
      return {
        address,
        name: generated.name,
        offset: address - generated.start,
        object: mapping?.path ?? '',
      };
    if (mapping === undefined) return { address, name: undefined, offset: 0n, object: '' };
    const offset = address - mapping.start + mapping.offset;
    const object = mapping.path;
    const found = object.startsWith('/')
      ? this.#executable(pid, object)?.functionAt(Number(offset))
      : undefined;
    if (found === undefined) return { address, name: undefined, offset, object };
    return { address, name: found.symbol.name, offset: BigInt(found.within), object };
  }

  /**
   * A value of a STACK_TRACE map, or what bpf_get_stack wrote: innermost frame first. `pid`: the process of a user stack; without
   * it the stack is the kernel's. Stacks by build id are not resolved.
   */
  stack(value: Uint8Array, pid?: number): Frame[] {
    const view = new DataView(value.buffer, value.byteOffset, value.length);
    const frames: Frame[] = [];
    for (let at = 0; at + WORD <= value.length; at += WORD) {
      const address = view.getBigUint64(at, true);
      if (address === 0n) break;
      frames.push(pid === undefined ? this.kernel(address) : this.user(pid, address));
    }
    return frames;
  }

  /** What is known of a process, or of all: it has mapped something since, or its id is another's now. */
  forget(pid?: number): void {
    if (pid === undefined) this.#processes.clear();
    else this.#processes.delete(pid);
  }

  #process(pid: number): Process {
    let process = this.#processes.get(pid);
    if (process === undefined) {
      const maps = this.#read(`/proc/${pid}/maps`);
      const perfMap =
        this.#read(`/tmp/perf-${pid}.map`) ?? this.#read(`/proc/${pid}/root/tmp/perf-${pid}.map`);
      process = {
        mappings: maps === null ? [] : parseProcessMaps(maps),
        generated: perfMap === null ? [] : parsePerfMap(perfMap),
      };
      this.#processes.set(pid, process);
    }
    return process;
  }

  #executable(pid: number, path: string): Executable | null {
    const known = this.#executables.get(path);
    if (known !== undefined) return known;
    // The path is that of the process, which may have another root.
    const bytes = this.#read(`/proc/${pid}/root${path}`) ?? this.#read(path);
    let executable: Executable | null = null;
    try {
      executable = bytes === null ? null : new Executable(path, bytes);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
    }
    if (this.#executables.size >= MAX_FILES) this.#executables.clear();
    this.#executables.set(path, executable);
    return executable;
  }

  /** Null also for what may not be read: names are a help, not a duty. */
  #read(path: string): Uint8Array | null {
    try {
      return this.#files?.read(path) ?? null;
    } catch (error) {
      if (error instanceof BpfError) return null;
      throw error;
    }
  }
}

/** `START SIZE name` a line, numbers in hex; later lines replace earlier ones of the same place. */
export function parsePerfMap(bytes: Uint8Array): PerfMapEntry[] {
  const entries: PerfMapEntry[] = [];
  for (const line of fromUtf8(bytes).split('\n')) {
    const match = /^(?:0x)?([0-9a-f]{1,16}) (?:0x)?([0-9a-f]{1,16}) (.+)$/i.exec(line);
    if (match === null) continue;
    entries.push({ start: BigInt(`0x${match[1]}`), size: BigInt(`0x${match[2]}`), name: match[3] });
  }
  return entries.reverse();
}
