/** Values of `extern … __kconfig` variables: those that libbpf itself provides, and options of the kernel's configuration. */
import type { KernelFeatures } from '../contracts/kernel.ts';
import type { KconfigSpec } from '../object/index.ts';
import { BpfError } from '../util/errors.ts';
import { utf8 } from '../util/index.ts';

/** libbpf's virtual externs. */
const VIRTUAL: Readonly<Record<string, (features: KernelFeatures) => bigint>> = {
  LINUX_KERNEL_VERSION: ({ release }) => {
    const [major = 0, minor = 0, patch = 0] = release.split(/[.-]/).map(Number);
    return BigInt((major << 16) + (minor << 8) + Math.min(Number.isNaN(patch) ? 0 : patch, 255));
  },
  LINUX_HAS_BPF_COOKIE: () => 1n,
  LINUX_HAS_SYSCALL_WRAPPER: () => 1n,
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
  }
  throw new BpfError(
    'EINVAL',
    `the kernel option ${variable.name}=${text} is no ${variable.kind} of ${variable.size} bytes`,
  );
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
    const value =
      VIRTUAL[variable.name]?.(features) ?? (text === undefined ? undefined : parseValue(variable, text));
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
