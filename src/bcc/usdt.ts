/**
 * User-level static probes, as BCC's `USDT`: which there are in a process or a file, and which functions are enabled for which. The
 * probes are read from the ELF notes (`libbpf/symbols/usdt-notes`); arguments are found by the program through libbpf's usdt.bpf.h, so that one
 * function serves several places of a probe and several probes.
 */
import type { Kernel } from '../contracts/kernel.ts';
import {
  type Executable,
  openExecutable,
  parseProcessMaps,
  parseUsdtArguments,
  type UsdtArgument,
  usdtNotes,
} from '../libbpf/index.ts';
import { BpfError } from '../util/errors.ts';

/** The processor that sys/sdt.h gave the operands for says how wide a place is. */
const C_TYPES: Readonly<Record<string, string>> = {
  '1': 'uint8_t',
  '2': 'uint16_t',
  '4': 'uint32_t',
  '8': 'uint64_t',
  '-1': 'int8_t',
  '-2': 'int16_t',
  '-4': 'int32_t',
  '-8': 'int64_t',
};

/** Everywhere in a file that one probe is. */
export interface UsdtProbe {
  readonly provider: string;
  readonly name: string;
  readonly binPath: string;
  /** Offset of the semaphore in the file; 0: it has none. */
  readonly semaphore: number;
  readonly locations: readonly UsdtLocation[];
}

export interface UsdtLocation {
  /** Virtual address as the file has it, and the place in the file. */
  readonly address: number;
  readonly offset: number;
  /** Operands as sys/sdt.h wrote them: `-4@%edi 8@-8(%rbp)`. */
  readonly text: string;
  readonly arguments: readonly UsdtArgument[];
}

interface Enabled {
  readonly probe: UsdtProbe;
  readonly fnName: string;
}

export interface UsdtOptions {
  readonly kernel: Kernel;
  /** A process: the probes of its program and of all libraries that it has mapped. */
  readonly pid?: number;
  /** A program or library; with `pid` only in that process. A name without `/` is looked for as BCC does: `c` is libc.so.6. */
  readonly path?: string;
}

export class USDT {
  readonly pid: number | undefined;
  readonly #kernel: Kernel;
  readonly #paths: readonly string[];
  #probes: readonly UsdtProbe[] | undefined;
  readonly #enabled: Enabled[] = [];

  /** Errors: EINVAL without both, ESRCH where there is no such process, ENOENT for a file, EOPNOTSUPP where the kernel shows no files. */
  constructor({ kernel, pid, path }: UsdtOptions) {
    this.#kernel = kernel;
    this.pid = pid === undefined || pid < 0 ? undefined : pid;
    if (this.pid === undefined && path === undefined)
      throw new BpfError('EINVAL', 'USDT needs a pid or the path of a program');
    if (kernel.files === undefined)
      throw new BpfError('EOPNOTSUPP', 'this kernel runs on no machine with files to look for probes in', {
        hint: 'give the embedded kernel files: new EmbeddedKernel({ files: { … } })',
      });
    this.#paths = path === undefined ? this.#mapped(this.pid!) : [findBinary(kernel, path, this.pid)];
  }

  #mapped(pid: number): string[] {
    const maps = this.#kernel.files?.read(`/proc/${pid}/maps`) ?? null;
    if (maps === null) throw new BpfError('ESRCH', `there is no process ${pid}`);
    const paths = parseProcessMaps(maps).filter((one) => one.executable && one.path.startsWith('/'));
    return [...new Set(paths.map((one) => one.path))];
  }

  /** All probes, by file and in the order of their notes. */
  enumerateProbes(): readonly UsdtProbe[] {
    this.#probes ??= this.#paths.flatMap((path) => {
      const executable = this.#open(path);
      return executable === undefined ? [] : probesOf(executable, path);
    });
    return this.#probes;
  }

  /** A process maps what is no ELF file, too; a file that was asked for must be one. */
  #open(path: string): Executable | undefined {
    try {
      return openExecutable(this.#kernel, path);
    } catch (error) {
      if (this.#paths.length === 1 || !(error instanceof BpfError)) throw error;
      return undefined;
    }
  }

  /** `probe`: a name, or `provider:name`. Errors: ENOENT. */
  enableProbe({ probe, fnName }: { readonly probe: string; readonly fnName: string }): void {
    const found = this.#find(probe);
    if (found.length === 0) {
      const names = [...new Set(this.enumerateProbes().map((one) => `${one.provider}:${one.name}`))];
      throw new BpfError(
        'ENOENT',
        `there is no USDT probe ${probe} in ${this.#paths.length === 1 ? this.#paths[0] : `process ${this.pid}`}`,
        { hint: names.length === 0 ? 'there are none' : `there are ${names.slice(0, 10).join(', ')}` },
      );
    }
    for (const one of found) this.#enabled.push({ probe: one, fnName });
  }

  /** As `enableProbe`: who wants to end the process on a failure says so. */
  enableProbeOrBail(
    what: { readonly probe: string; readonly fnName: string },
    bail: (message: string) => never,
  ): void {
    try {
      this.enableProbe(what);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      bail(error.message);
    }
  }

  #find(probe: string): readonly UsdtProbe[] {
    const [first, ...rest] = probe.split(':');
    const [provider, name] = rest.length === 0 ? [undefined, first] : [first, rest.join(':')];
    return this.enumerateProbes().filter(
      (one) => one.name === name && (provider === undefined || one.provider === provider),
    );
  }

  /** Probes with functions: what a program attaches. */
  enumerateActiveProbes(): readonly Enabled[] {
    return this.#enabled;
  }

  /** C type of an argument (from 0): that of the first place. Errors: ENOENT. */
  getProbeArgCtype(probe: string, index: number): string {
    const argument = this.#find(probe)[0]?.locations[0]?.arguments[index];
    if (argument === undefined)
      throw new BpfError('ENOENT', `there is no argument ${index} of a USDT probe ${probe}`);
    return C_TYPES[`${argument.signed ? '-' : ''}${argument.size}`]!;
  }

  /** What the functions that are enabled read, as a comment in C: nothing has to be generated for them. */
  getText(): string {
    return this.#enabled
      .map(({ probe, fnName }) => {
        const places = probe.locations.map(({ offset, text }) => ` *   0x${offset.toString(16)}: ${text}\n`);
        return `/* ${fnName}: ${probe.binPath}:${probe.provider}:${probe.name}\n${places.join('')} */\n`;
      })
      .join('');
  }
}

function probesOf(executable: Executable, path: string): UsdtProbe[] {
  const probes = new Map<string, UsdtProbe & { readonly locations: UsdtLocation[] }>();
  for (const note of usdtNotes(executable)) {
    const { provider, name, address, offset, arguments: text } = note;
    const key = `${provider}:${name}`;
    let probe = probes.get(key);
    if (probe === undefined) {
      probe = { provider, name, binPath: path, semaphore: note.semaphoreOffset ?? 0, locations: [] };
      probes.set(key, probe);
    }
    probe.locations.push({ address, offset, text, arguments: argumentsOf(text, executable.machine) });
  }
  return [...probes.values()];
}

/** Operands that nobody can read are no reason not to list the probe. */
function argumentsOf(text: string, machine: number): readonly UsdtArgument[] {
  try {
    return parseUsdtArguments(text, machine);
  } catch (error) {
    if (error instanceof BpfError) return [];
    throw error;
  }
}

/** Path of a program or library by name: `c` is libc.so.6, which programs are found after. Names with a `/` stay as they are. */
export function findBinary(kernel: Kernel, name: string, pid?: number): string {
  if (name.includes('/')) return name;
  const library = /^lib.*\.so/.test(name)
    ? [name]
    : [`lib${name}.so`, `lib${name}.so.6`, `lib${name}.so.1`, `lib${name}`];
  for (const candidate of [...library, name]) {
    const found = kernel.files?.resolveExecutable(candidate, pid) ?? null;
    if (found !== null) return found;
  }
  return name;
}
