/**
 * The built-in headers by name: made when they are asked for, kept afterwards. `uapi/…` names are the same headers, as kernel sources
 * call them, and libbpf's are there without their directory too. `vmlinux.h` is the embedded kernel's, unless the caller can give the BTF of a Linux to make it from.
 */
import { bpfCoreRead } from './bpf-core-read.ts';
import { bpfEndian, bpfHelpers } from './bpf-helpers.ts';
import { bpfTracing } from './bpf-tracing.ts';
import { C_HEADERS } from './c-library.ts';
import { helperDefinitions } from './helper-defs.ts';
import { LINUX_HEADERS } from './linux.ts';
import { SYSTEM_HEADERS } from './system.ts';
import { usdt } from './usdt.ts';
import { ownVmlinuxHeader } from './vmlinux.ts';

const BPF_HEADERS: Readonly<Record<string, () => string>> = {
  'bpf/bpf_helpers.h': bpfHelpers,
  'bpf/bpf_helper_defs.h': helperDefinitions,
  'bpf/bpf_endian.h': bpfEndian,
  'bpf/bpf_tracing.h': bpfTracing,
  'bpf/bpf_core_read.h': bpfCoreRead,
  'bpf/usdt.bpf.h': usdt,
};

const KERNEL_HEADERS: Readonly<Record<string, () => string>> = { 'vmlinux.h': ownVmlinuxHeader };

const HEADERS: ReadonlyMap<string, () => string> = new Map(
  [BPF_HEADERS, KERNEL_HEADERS, LINUX_HEADERS, SYSTEM_HEADERS, C_HEADERS].flatMap((table) =>
    Object.entries(table),
  ),
);

const made = new Map<string, string>();

/** The text of a built-in header, `bpf/bpf_helpers.h`; `undefined` when there is none of that name. */
export function builtinHeader(name: string): string | undefined {
  let plain = name.startsWith('uapi/') ? name.slice(5) : name;
  // Programs are written for include paths with and without libbpf's own directory.
  if (BPF_HEADERS[`bpf/${plain}`] !== undefined) plain = `bpf/${plain}`;
  const known = made.get(plain);
  if (known !== undefined) return known;
  const text = HEADERS.get(plain)?.();
  if (text !== undefined) made.set(plain, text);
  return text;
}

/** Names of all built-in headers, for documentation and for writing them out. */
export function builtinHeaderNames(): string[] {
  return [...HEADERS.keys()].sort();
}

/** `builtinHeader` with the `vmlinux.h` of a Linux; `vmlinux` is called once, when a program includes it, and may have none. */
export function headersWithVmlinux(vmlinux: () => string | undefined): (name: string) => string | undefined {
  let text: string | undefined;
  let asked = false;
  return (name) => {
    if (name !== 'vmlinux.h') return builtinHeader(name);
    if (!asked) text = vmlinux() ?? builtinHeader(name);
    asked = true;
    return text;
  };
}
