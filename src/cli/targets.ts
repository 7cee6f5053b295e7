/**
 * What a tool command acts on: an object that is loaded for the call, or what the host kernel holds already, chosen as bpftool
 * does: `id N`, `pinned PATH`, `name NAME`, for programs `tag TAG`. Everything opened is closed with the kernel.
 */
import { type Btf, parseBtf } from '../btf/index.ts';
import type { Fd, Kernel, ObjectKind, ProgInfo } from '../contracts/kernel.ts';
import { BpfMap } from '../libbpf/index.ts';
import { BpfError } from '../util/errors.ts';
import { choiceOf, type KernelOptions } from './command.ts';
import type { CliEnv } from './environment.ts';
import { UsageError } from './errors.ts';
import { openObject } from './files.ts';
import { type EngineName, type LoadedObject, loadObject, openKernel } from './load.ts';
import type { Output } from './output.ts';

export interface TargetRequest extends KernelOptions {
  readonly progType?: string;
  readonly engine?: EngineName;
  readonly sysctl?: ReadonlyMap<string, number>;
}

/** A program of an object, or one that the kernel held before. */
export interface ToolProgram {
  readonly name: string;
  readonly fd: Fd;
  readonly kernel: Kernel;
  info(): ProgInfo;
}

interface Selector {
  readonly by: 'id' | 'pinned' | 'name' | 'tag';
  readonly value: string;
}

/** What the words of a command line mean; undefined: everything that the kernel holds. */
export type Target =
  | { readonly file: string; readonly selector?: undefined }
  | { readonly selector: Selector | undefined; readonly file?: undefined };

const NOUNS = { prog: 'program', map: 'map' } as const;
const SELECTORS: Readonly<Record<keyof typeof NOUNS, readonly string[]>> = {
  prog: ['id', 'pinned', 'name', 'tag'],
  map: ['id', 'pinned', 'name'],
};

export function parseTarget(kind: 'prog' | 'map', words: readonly string[]): Target {
  const [first, value, ...rest] = words;
  if (first === undefined) return { selector: undefined };
  if (value === undefined) return { file: first };
  if (rest.length > 0 || !SELECTORS[kind].includes(first)) {
    const forms = SELECTORS[kind].map((form) => `${form} ${form === 'pinned' ? 'PATH' : form.toUpperCase()}`);
    const what = `'${words.join(' ')}' is no ${NOUNS[kind]}`;
    throw new UsageError(what, `give an object file, or ${forms.join(', ')}`);
  }
  return { selector: { by: first as Selector['by'], value } };
}

/** The kernel that a target is in. What it holds is there to be found on the host only: an embedded kernel is as old as the call. */
export async function openTargetKernel(
  env: CliEnv,
  out: Output,
  kind: 'prog' | 'map',
  options: TargetRequest,
): Promise<Kernel> {
  const { kernel, chosen } = await openKernel(env, { ...choiceOf(options, out) });
  if (chosen === 'host') return kernel;
  kernel.shutdown();
  const noun = kind === 'prog' ? 'programs' : 'maps';
  throw new UsageError(
    `the embedded kernel holds no ${noun} before the command`,
    `give an object file, or --kernel host for the ${noun} of this machine`,
  );
}

/** Loads the object, all or nothing, does something with it, and takes it away again. */
export async function withObject<T>(
  env: CliEnv,
  out: Output,
  file: string,
  options: TargetRequest,
  use: (loaded: LoadedObject) => T,
): Promise<T> {
  const loaded = await loadObject(env, openObject(file), {
    ...choiceOf(options, out),
    strict: true,
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    ...(options.sysctl === undefined ? {} : { sysctl: options.sysctl }),
    ...(options.progType === undefined ? {} : { type: options.progType }),
  });
  try {
    return use(loaded);
  } finally {
    loaded.close();
  }
}

/** Does something with each program that the words mean; those of an object are `named` or all that are loaded. */
export async function withPrograms<T>(
  env: CliEnv,
  out: Output,
  target: Target,
  options: TargetRequest & { readonly program?: readonly string[] },
  use: (programs: Iterable<ToolProgram>) => T,
): Promise<T> {
  if (target.file !== undefined) {
    return withObject(env, out, target.file, options, ({ object }) =>
      use(
        options.program?.map((name) => object.findProgram(name)) ??
          object.programs.filter(({ loaded }) => loaded),
      ),
    );
  }
  const kernel = await openTargetKernel(env, out, 'prog', options);
  try {
    return use({ [Symbol.iterator]: () => held(kernel, 'prog', target.selector, programOf) });
  } finally {
    kernel.shutdown();
  }
}

function programOf(kernel: Kernel, fd: Fd): ToolProgram {
  const info = (): ProgInfo => {
    const found = kernel.objGetInfoByFd({ bpfFd: fd });
    if (found.kind !== 'prog') throw new BpfError('EINVAL', `a ${found.kind} is no program`);
    return found;
  };
  return { kernel, fd, info, name: info().name };
}

/** The maps of the kernel that the words mean, with the types they were made with. */
export function heldMaps(kernel: Kernel, target: Target): Iterable<BpfMap> {
  return held(kernel, 'map', target.selector, (_kernel, fd) => {
    const info = kernel.objGetInfoByFd({ bpfFd: fd });
    if (info.kind !== 'map') throw new BpfError('EINVAL', `a ${info.kind} is no map`);
    return BpfMap.fromFd(kernel, fd, info.btfId === 0 ? undefined : typesOf(kernel, info.btfId));
  });
}

/** BTF by id. */
export function typesOf(kernel: Kernel, id: number): Btf | undefined {
  const fd = kernel.objGetFdById({ kind: 'btf', id });
  try {
    const info = kernel.objGetInfoByFd({ bpfFd: fd });
    return info.kind === 'btf' ? parseBtf(info.data) : undefined;
  } finally {
    kernel.close(fd);
  }
}

/** One after the other, each closed before the next is opened; an empty choice by name or tag is an error. */
function* held<T>(
  kernel: Kernel,
  kind: 'prog' | 'map',
  selector: Selector | undefined,
  open: (kernel: Kernel, fd: Fd) => T,
): Generator<T> {
  let found = 0;
  for (const fd of descriptors(kernel, kind, selector)) {
    try {
      if (!matches(kernel, fd, selector)) continue;
      found++;
      yield open(kernel, fd);
    } finally {
      kernel.close(fd);
    }
  }
  if (found === 0 && selector !== undefined)
    throw new BpfError(
      'ENOENT',
      `no ${kind === 'prog' ? 'program' : kind} has ${selector.by} ${selector.value}`,
    );
}

function* descriptors(kernel: Kernel, kind: ObjectKind, selector: Selector | undefined): Generator<Fd> {
  if (selector?.by === 'pinned') {
    yield kernel.objGet({ pathname: selector.value });
    return;
  }
  if (selector?.by === 'id') {
    const id = Number(selector.value);
    if (!Number.isInteger(id) || id < 1) throw new UsageError(`'${selector.value}' is no id`);
    yield kernel.objGetFdById({ kind, id });
    return;
  }
  for (let id = kernel.objGetNextId({ kind, startId: 0 }); id !== null; ) {
    const fd = openById(kernel, kind, id);
    if (fd !== undefined) yield fd;
    id = kernel.objGetNextId({ kind, startId: id });
  }
}

/** Undefined where it has gone meanwhile. */
function openById(kernel: Kernel, kind: ObjectKind, id: number): Fd | undefined {
  try {
    return kernel.objGetFdById({ kind, id });
  } catch (error) {
    if (error instanceof BpfError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function matches(kernel: Kernel, fd: Fd, selector: Selector | undefined): boolean {
  if (selector === undefined || selector.by === 'id' || selector.by === 'pinned') return true;
  const info = kernel.objGetInfoByFd({ bpfFd: fd });
  if (selector.by === 'tag') return info.kind === 'prog' && info.tag === selector.value;
  return (info.kind === 'prog' || info.kind === 'map') && info.name === selector.value;
}
