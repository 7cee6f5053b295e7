/** Values of `extern … __kconfig` variables: those that libbpf itself provides, and options of the kernel's configuration. */
import type { Kernel, KernelFeatures } from '../contracts/kernel.ts';
import type { KconfigSpec } from '../object/index.ts';
import { BPF_FUNC } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import { fromUtf8, utf8 } from '../util/index.ts';

/** libbpf's virtual externs. */
const VIRTUAL: Readonly<Record<string, (features: KernelFeatures) => bigint>> = {
  LINUX_KERNEL_VERSION: ({ release }) => {
    const [major = 0, minor = 0, patch = 0] = release.split(/[.-]/).map(Number);
    return BigInt((major << 16) + (minor << 8) + Math.min(Number.isNaN(patch) ? 0 : patch, 255));
  },
  LINUX_HAS_BPF_COOKIE: ({ helpers }) => BigInt(helpers.has(BPF_FUNC.BPF_FUNC_get_attach_cookie)),
  // System calls take struct pt_regs since 4.17.
  LINUX_HAS_SYSCALL_WRAPPER: ({ release }) => {
    const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
    return BigInt(major > 4 || (major === 4 && minor >= 17));
  },
};

/** enum libbpf_tristate */
const TRISTATE: Readonly<Record<string, bigint>> = { n: 0n, y: 1n, m: 2n };

/** The value of an option as the configuration file has it, in the variable's type. Throws EINVAL where it has none. */
function parseValue(variable: KconfigSpec, text: string): Uint8Array | bigint {
  if (variable.kind === 'char_array' && /^".*"$/.test(text)) {
    const value = new Uint8Array(variable.size);
    // The last byte stays 0.
    value.set(utf8(text.slice(1, -1)).subarray(0, Math.max(0, variable.size - 1)));
    return value;
  }
  const letter = text in TRISTATE;
  if (variable.kind === 'tristate' && letter) return TRISTATE[text];
  if (variable.kind === 'bool' && letter && text !== 'm') return TRISTATE[text];
  if (variable.kind === 'char' && letter) return BigInt(text.charCodeAt(0));
  if (variable.kind === 'int' && /^-?(0x[0-9a-f]+|\d+)$/i.test(text)) {
    const magnitude = BigInt(text.replace('-', ''));
    const value = text.startsWith('-') ? -magnitude : magnitude;
    const bits = variable.size * 8;
    const held = variable.signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
    if (held === value) return value;
    throw new BpfError(
      'ERANGE',
      `the kernel option ${variable.name}=${text} does not fit in ${variable.signed ? 'signed ' : ''}${variable.size} bytes`,
    );
  }
  throw new BpfError(
    'EINVAL',
    `the kernel option ${variable.name}=${text} is no ${variable.kind} of ${variable.size} bytes`,
  );
}

const parsed = (variable: KconfigSpec, text: string | undefined): Uint8Array | bigint | undefined =>
  text === undefined ? undefined : parseValue(variable, text);

function checkVirtual(variable: KconfigSpec, value: bigint): bigint {
  const numeric = variable.kind === 'int' || variable.kind === 'char' || variable.kind === 'bool';
  if (!numeric)
    throw new BpfError(
      'EINVAL',
      `${variable.name} is a number, not a ${variable.kind} of ${variable.size} bytes`,
    );
  if (value >= 1n << BigInt(8 * variable.size - Number(variable.signed)))
    throw new BpfError(
      'ERANGE',
      `${variable.name} is ${value}, which does not fit in ${variable.size} bytes`,
    );
  return value;
}

/**
 * The contents of the `.kconfig` map. `options`: the kernel's configuration. Throws ENOENT for a variable that is neither known
 * nor weak, EINVAL for one whose type does not fit.
 */
export function kconfigValues(
  variables: readonly KconfigSpec[],
  size: number,
  features: KernelFeatures,
  options: ReadonlyMap<string, string> = new Map(),
): Uint8Array {
  const bytes = new Uint8Array(size);
  for (const variable of variables) {
    const text = options.get(variable.name);
    const virtual = Object.hasOwn(VIRTUAL, variable.name) ? VIRTUAL[variable.name](features) : undefined;
    const value = virtual === undefined ? parsed(variable, text) : checkVirtual(variable, virtual);
    if (value === undefined) {
      if (variable.weak) continue;
      throw new BpfError('ENOENT', `the kernel option ${variable.name} is not known`, {
        hint: 'declare the variable __weak: it is then 0',
      });
    }
    if (typeof value !== 'bigint') {
      bytes.set(value, variable.offset);
      continue;
    }
    let rest = value;
    for (let i = 0; i < variable.size && i < 8; i++) {
      bytes[variable.offset + i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
  }
  return bytes;
}

/** Lines `CONFIG_X=value` of a kernel's configuration file. */
export function parseKernelConfig(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
}

/** As `kconfigValues`, with what the kernel itself tells: its whole release, and its configuration where `options` gives none. */
export function readKernelConfig(
  kernel: Kernel,
  variables: readonly KconfigSpec[],
  size: number,
  options: ReadonlyMap<string, string> | undefined,
): Uint8Array {
  const features = kernel.features();
  const whole = kernel.files?.read('/proc/sys/kernel/osrelease');
  const release = whole == null ? features.release : fromUtf8(whole).trim();
  const wanted = variables.some((variable) => !Object.hasOwn(VIRTUAL, variable.name));
  return kconfigValues(
    variables,
    size,
    // Sets of features are asked of the kernel when they are read, so they are not copied.
    Object.create(features, { release: { value: release } }) as KernelFeatures,
    options ?? (wanted ? parseKernelConfig(kernel.kernelConfig?.() ?? '') : undefined),
  );
}
