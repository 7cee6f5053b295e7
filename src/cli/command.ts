/** What a command is to the command line: a row with a name and a function that declares it. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { PROG_TYPES, progTypeByName } from '../spec/index.ts';
import { fromHex } from '../util/bytes.ts';
import type { CliEnv, KernelChoice, OpenedKernel } from './environment.ts';
import { readBtf, readFile, readKconfig } from './files.ts';
import type { EngineName, LoadRequest } from './load.ts';
import type { Output } from './output.ts';

export { withExamples } from './examples.ts';

/** What every command gets. */
export interface CommandContext {
  readonly env: CliEnv;
  /** Made after the options have been read: --no-color. */
  readonly out: Output;
}

/** Gives the exit code. */
export type Action<Args extends readonly unknown[]> = (
  context: CommandContext,
  ...args: Args
) => number | Promise<number>;

export interface CommandRow {
  readonly name: string;
  /** Declares the command on its parent. `run` wraps an action for commander. */
  declare(parent: Command, run: Runner): void;
}

export type Runner = <Args extends readonly unknown[]>(
  action: Action<Args>,
) => (...args: Args) => Promise<void>;

/** No default: the host kernel has one engine, the embedded one compiles unless told otherwise. */
export function engineOption(): Option {
  return new Option('--engine <engine>', 'how programs run in the embedded kernel (default: jit)').choices([
    'jit',
    'interp',
  ] satisfies EngineName[]);
}

/** `--sysctl net.core.bpf_jit_harden=2`, as often as needed: name to value. */
export function sysctlOption(): Option {
  return new Option(
    '--sysctl <name=value>',
    'sets a sysctl of the embedded kernel, such as net.core.bpf_jit_harden=2; may be repeated',
  ).argParser((text, before: ReadonlyMap<string, number> | undefined) => {
    const [, name, value] = /^([^=]+)=(\d+)$/.exec(text) ?? [];
    if (name === undefined) throw new InvalidArgumentError('It is a name, =, and a number.');
    return new Map(before).set(name, Number(value));
  });
}

export interface KernelOptions {
  readonly kernel?: KernelChoice;
}

export function kernelOption(): Option {
  return new Option(
    '--kernel <kernel>',
    "embedded: in this process; host: this machine's Linux (root); auto: the host where it may be used",
  )
    .choices(['embedded', 'host', 'auto'] satisfies KernelChoice[])
    .default('embedded' satisfies KernelChoice);
}

/** For LoadRequest: says which kernel `auto` has taken. */
export function choiceOf({ kernel }: KernelOptions, out: Output): Pick<LoadRequest, 'kernel' | 'onChosen'> {
  return {
    ...(kernel === undefined ? {} : { kernel }),
    onChosen: ({ chosen, why }: OpenedKernel) => out.note(`the ${chosen} kernel was taken: ${why}`),
  };
}

/** For commands that take a C file in place of an object. */
export function cflagsOption(): Option {
  return new Option('--cflags <flags>', 'flags to compile a C file with: "-I include -DNAME=1"');
}

export function programTypeOption(): Option {
  return new Option(
    '--prog-type <type>',
    'program type for sections that do not say one, such as xdp or socket_filter',
  ).argParser((name) => {
    if (progTypeByName(name) !== undefined) return name;
    throw new InvalidArgumentError(`The types are ${PROG_TYPES.map((row) => row.name).join(', ')}.`);
  });
}

/** What the target kernel is: its types and its configuration. */
export interface TargetOptions {
  readonly btf?: string;
  readonly kconfig?: string;
}

export function addTargetOptions(command: Command): Command {
  return command
    .option('--btf <file>', 'types of the kernel to relocate and verify for, such as /sys/kernel/btf/vmlinux')
    .option(
      '--kconfig <file>',
      'its configuration, for extern … __kconfig: /boot/config-… or /proc/config.gz',
    );
}

export function readTarget({ btf, kconfig }: TargetOptions): Pick<LoadRequest, 'kernelBtf' | 'kconfig'> {
  return {
    ...(btf === undefined ? {} : { kernelBtf: readBtf(btf) }),
    ...(kconfig === undefined ? {} : { kconfig: readKconfig(kconfig) }),
  };
}

export function logOption(): Option {
  return new Option(
    '--log <level>',
    'log of the verifier: 1 the failing path, 2 every instruction, 4 statistics; bits',
  )
    .argParser((text) => parseInteger(text, 0, 7))
    .default(0);
}

export function parseInteger(text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max))
    throw new InvalidArgumentError(`It is an integer from ${min} to ${max}.`);
  return value;
}

export const positive = (text: string): number => parseInteger(text, 1, 0xffff_ffff);

/** For options that may be given several times. */
export function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/** Hex digits, or the contents of a file: `@FILE`, or a path that is not hex. */
export function parseData(text: string): Uint8Array {
  if (text.startsWith('@')) return readFile(text.slice(1));
  const bytes = fromHex(text);
  return bytes ?? readFile(text);
}
