/**
 * What the loader does so that programs made for today also load on kernels that are older than what headers use, where the older
 * way does the same (libbpf: bpf_object__sanitize_prog, bpf_object__sanitize_maps). By the kernel's release.
 */
import { CALL, CLASS, JMP_OP } from '../../asm/index.ts';
import type { Kernel } from '../../contracts/kernel.ts';
import type { Insn } from '../../contracts.ts';
import { helperById, helperByName, isSince, MAP_FLAG_RELEASES } from '../../spec/index.ts';
import { BPF_MAP_FLAGS } from '../../uapi/index.ts';

/** Helpers that took the place of others: id → the older one. */
const OLDER_HELPERS: ReadonlyMap<number, number> = new Map(
  (
    [
      ['probe_read_kernel', 'probe_read'],
      ['probe_read_user', 'probe_read'],
      ['probe_read_kernel_str', 'probe_read_str'],
      ['probe_read_user_str', 'probe_read_str'],
    ] as const
  ).map(([name, older]) => [helperByName(name)!.id, helperByName(older)!.id]),
);

/** Flags that only add a way for user space to get at the map. */
const DISPENSABLE = ['BPF_F_MMAPABLE'] as const;

/** Calls of helpers that the kernel has not yet become calls of those that it has, in place. */
export function useOlderHelpers(kernel: Kernel, insns: Insn[]): void {
  const { release } = kernel.features();
  insns.forEach((insn, i) => {
    if (insn.code !== (CLASS.JMP | JMP_OP.CALL) || insn.src !== CALL.HELPER) return;
    const older = OLDER_HELPERS.get(insn.imm);
    if (older === undefined || isSince(release, helperById(insn.imm)!.since)) return;
    insns[i] = { ...insn, imm: older };
  });
}

/** The flags of MAP_CREATE without those that the kernel does not know and the program does not need. */
export function mapFlagsFor(kernel: Kernel, flags: number): number {
  let left = flags;
  for (const name of DISPENSABLE) {
    if ((flags & BPF_MAP_FLAGS[name]) !== 0 && !isSince(kernel.features().release, MAP_FLAG_RELEASES[name]!))
      left &= ~BPF_MAP_FLAGS[name];
  }
  return left;
}
