/**
 * Addresses of the kernel's variables and functions as 64-bit immediates (typed `__ksym`s): what register such a load gives.
 * Kernel 6.18: check_pseudo_btf_id.
 */
import type { Btf } from '../btf/index.ts';
import type { ErrnoName } from '../util/errno.ts';
import type { Env } from './env.ts';
import { MEM_PERCPU, MEM_RDONLY, PTR_TO_BTF_ID, PTR_TO_MEM, pointerReg, type Reg } from './registers.ts';

const PER_CPU_SECTION = '.data..percpu';

const perCpu = new WeakMap<Btf, ReadonlySet<number>>();

/** Ids of the variables of which every processor has its own. */
function perCpuVariables(btf: Btf): ReadonlySet<number> {
  let ids = perCpu.get(btf);
  if (ids === undefined) {
    const section = btf.find(PER_CPU_SECTION, 'datasec');
    const type = section === undefined ? null : btf.type(section);
    ids = new Set(type?.kind === 'datasec' ? type.vars.map((entry) => entry.type) : []);
    perCpu.set(btf, ids);
  }
  return ids;
}

/** Checks the load at `index` and returns the register it gives. */
export function resolveSymbol(env: Env, index: number): Reg {
  const id = env.insns[index]!.imm;
  const refuse = (errno: ErrnoName, text: string, kind: 'map_unknown' | 'missing_kernel_types'): never =>
    env.fail(errno, text, { kind, at: index, detail: 'kernel symbol' });
  if (env.insns[index + 1]!.imm !== 0) {
    refuse('EINVAL', 'invalid module BTF object FD specified.', 'map_unknown');
  }
  const btf = env.request.kernelBtf;
  if (btf === undefined) {
    return refuse(
      'EINVAL',
      'kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.',
      'missing_kernel_types',
    );
  }
  if (id <= 0 || id >= btf.typeCount) {
    refuse('ENOENT', `ldimm64 insn specifies invalid btf_id ${id}.`, 'map_unknown');
  }
  const symbol = btf.type(id);
  if (symbol.kind !== 'var' && symbol.kind !== 'func') {
    return refuse('EINVAL', `pseudo btf_id ${id} in ldimm64 isn't KIND_VAR or KIND_FUNC`, 'map_unknown');
  }
  env.factsOf(index).symbol = symbol.name;
  if (symbol.kind === 'func') return pointerReg(PTR_TO_MEM | MEM_RDONLY, { raw: 0 });
  const struct = { name: btf.name(symbol.type), btf, id: symbol.type, kernel: true };
  if (perCpuVariables(btf).has(id)) return pointerReg(PTR_TO_BTF_ID | MEM_PERCPU, { struct });
  const target = btf.resolve(symbol.type);
  const kind = btf.kind(target);
  if (kind === 'struct' || kind === 'union') {
    return pointerReg(PTR_TO_BTF_ID, { struct: { name: btf.name(target), btf, id: target, kernel: true } });
  }
  let size = 0;
  try {
    size = btf.sizeOf(target);
  } catch {
    refuse(
      'EINVAL',
      `ldimm64 unable to resolve the size of type '${btf.name(target)}': -22`,
      'missing_kernel_types',
    );
  }
  return pointerReg(PTR_TO_MEM | MEM_RDONLY, { raw: size });
}
