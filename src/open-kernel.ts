/**
 * Which kernel: the embedded one, Linux itself, or whichever may be had. A composition root: with `bin.ts` and `index.ts` the one place
 * that knows both. The host kernel is imported when it is asked for, so that nothing of it is loaded elsewhere.
 */
import type { BackgroundOptions } from './contracts/background.ts';
import type { Kernel } from './contracts/kernel.ts';
import { EmbeddedKernel, type EmbeddedKernelOptions } from './kernel/index.ts';
import type { ErrnoName } from './util/errno.ts';
import { BpfError } from './util/errors.ts';

export type KernelChoice = 'embedded' | 'host' | 'auto';

/** Options beside `kernel` are those of the embedded kernel; Linux is as it is. */
export interface OpenKernelOptions extends Omit<EmbeddedKernelOptions, 'background'> {
  /** Default in Node: a thread that is started with the first large program of `progLoadAsync`; elsewhere, and with false: none. */
  readonly background?: BackgroundOptions | false;
  /** Default `embedded`. `auto`: the host where it may be used. */
  readonly kernel?: KernelChoice;
}

export interface OpenedKernel {
  readonly kernel: Kernel;
  readonly chosen: 'embedded' | 'host';
  /** For people: why this one. */
  readonly why: string;
}

/**
 * Opens a kernel. `host` rejects with BpfError where Linux cannot be used: ENOSYS another platform, ENOENT without koffi, EPERM
 * without privileges; `auto` takes the embedded kernel then and says in `why` what is missing. The caller ends it with `shutdown`.
 */
export async function openKernel(options: OpenKernelOptions = {}): Promise<OpenedKernel> {
  const { kernel: choice = 'embedded', background, ...rest } = options;
  const threads = background ?? hostThreads();
  const embedded: EmbeddedKernelOptions = threads ? { ...rest, background: threads } : rest;
  if (choice === 'embedded') return await openEmbedded(embedded, 'it is the default');
  const host = await openHost();
  if (host.kernel !== undefined) {
    const why = choice === 'host' ? 'it was asked for' : 'this process may load programs into it';
    return { kernel: host.kernel, chosen: 'host', why };
  }
  if (choice === 'auto')
    return await openEmbedded(embedded, `the host kernel cannot be used: ${host.error.message}`);
  throw host.error;
}

async function openEmbedded(options: EmbeddedKernelOptions, why: string): Promise<OpenedKernel> {
  const compileModule = options.compileModule ?? (await hostCompiler());
  const kernel = new EmbeddedKernel(compileModule === undefined ? options : { ...options, compileModule });
  return { kernel, chosen: 'embedded', why };
}

const isNode = (): boolean => typeof process !== 'undefined' && process.versions?.node !== undefined;

/** Nothing of them is loaded before one is needed. */
function hostThreads(): BackgroundOptions | undefined {
  if (!isNode()) return undefined;
  // From here, as a bundle of this package has its files beside it.
  const entry = new URL('./host/background-worker.js', import.meta.url);
  return {
    start: async (events) => (await import('./host/cpu-threads.ts')).nodeBackgroundThreads(entry)(events),
  };
}

/** Only Node lets its compiler be chosen. */
async function hostCompiler(): Promise<EmbeddedKernelOptions['compileModule']> {
  if (!isNode()) return undefined;
  const { smallAtOnce } = await import('./host/v8-compiler.ts');
  return smallAtOnce();
}

type HostOpening =
  | { readonly kernel: Kernel; readonly error?: undefined }
  | { readonly kernel?: undefined; readonly error: BpfError };

/** Asks with a map that is gone at once: ids and capabilities do not say everything (lockdown, seccomp, sysctls). */
async function openHost(): Promise<HostOpening> {
  let kernel: Kernel;
  try {
    const { createHostKernel } = await import('./host/index.ts');
    kernel = await createHostKernel();
  } catch (error) {
    if (error instanceof BpfError) return { error };
    throw error;
  }
  try {
    kernel.close(kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 4, maxEntries: 1 }));
    return { kernel };
  } catch (error) {
    kernel.shutdown();
    if (!(error instanceof BpfError)) throw error;
    const { code, hint } = error;
    const message = `this process may not use bpf(2) of the host kernel: ${error.message}`;
    return {
      error: new BpfError(code as ErrnoName, message, {
        cause: error,
        ...(hint === undefined ? {} : { hint }),
      }),
    };
  }
}
