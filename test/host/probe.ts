/** Questions to the kernel that the tests run on, through bpf_probe.py; only programs and maps that die at once. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { fileURLToPath } from 'node:url';

export interface ProbeRequest {
  readonly op: 'prog_load' | 'map_create' | 'btf_id';
  readonly [field: string]: unknown;
}

export interface ProbeAnswer {
  readonly errno: number;
  readonly log: string;
  readonly id: number;
}

const SCRIPT = fileURLToPath(new URL('./bpf_probe.py', import.meta.url));

export function probe(requests: readonly ProbeRequest[]): ProbeAnswer[] {
  const output = execFileSync('python3', [SCRIPT], {
    input: JSON.stringify(requests),
    maxBuffer: 1 << 30,
    encoding: 'utf8',
  });
  return JSON.parse(output);
}

/** Why the kernel cannot be asked here, or null where it can. Tables are of one kernel series. */
export function whyNoProbe(series = '6.18'): string | null {
  if (process.platform !== 'linux') return 'not Linux';
  if (process.arch !== 'x64') return 'not x86-64';
  if (!release().startsWith(`${series}.`)) return `kernel ${release()}, tables are of ${series}`;
  if (process.getuid?.() !== 0) return 'bpf(2) needs root';
  if (!existsSync('/sys/kernel/btf/vmlinux')) return 'kernel without BTF';
  try {
    const [answer] = probe([{ op: 'map_create', map_type: 2, key_size: 4, value_size: 4, max_entries: 1 }]);
    return answer?.errno === 0 ? null : `MAP_CREATE fails with errno ${answer?.errno}`;
  } catch {
    return 'python3 is missing';
  }
}

/** One instruction as hex. */
export function insn(code: number, dst = 0, src = 0, off = 0, imm = 0): string {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setUint8(0, code);
  bytes.setUint8(1, dst | (src << 4));
  bytes.setInt16(2, off, true);
  bytes.setInt32(4, imm, true);
  return Buffer.from(bytes.buffer).toString('hex');
}

/** `r0 = value; exit` */
export function exitWith(value: number): string {
  return insn(0xb7, 0, 0, 0, value) + insn(0x95);
}
