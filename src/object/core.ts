/** CO-RE at the level of a program: the instructions as they are for one target, or a refusal that names what is open. */
import { type Btf, type CoreResult, describeCore, relocateCore } from '../btf/index.ts';
import { objectError } from './context.ts';
import type { ObjectSpec, ProgramSpec } from './types.ts';

/**
 * The program's instructions with its CO-RE relocations applied to `target`, the types of the kernel it is to run on, or for what
 * that does not have to those of its modules.
 * Errors: EOPNOTSUPP where the program has such relocations and no target is given; those of `relocateCore`.
 */
export function resolveCore(
  spec: ObjectSpec,
  program: ProgramSpec,
  target: Btf | undefined,
  modules?: () => readonly Btf[],
): CoreResult {
  const first = program.coreRelocations[0];
  if (first === undefined) return { insns: program.insns, unresolved: [] };
  if (spec.btf === undefined)
    throw objectError('EINVAL', `program '${program.name}' has CO-RE relocations, but no BTF`);
  if (target === undefined) {
    const line = program.lineInfo.findLast((item) => item.insn <= first.insn);
    const where = line === undefined ? '' : ` (${line.file}:${line.line})`;
    throw objectError(
      'EOPNOTSUPP',
      `program '${program.name}', instruction ${first.insn}${where}: CO-RE relocation ${describeCore(spec.btf, first)} needs the kernel's BTF`,
      'give the BTF of the kernel to run on, such as /sys/kernel/btf/vmlinux',
    );
  }
  return relocateCore(program.insns, program.coreRelocations, spec.btf, target, modules);
}
