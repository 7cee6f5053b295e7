/**
 * Contexts in BTF: which pointers are to the context of a program type, and the kernel's own struct behind it. Kernel 6.18:
 * btf_is_prog_ctx_type, struct bpf_ctx_convert.
 */
import type { Btf } from '../btf/index.ts';
import type { ProgTypeRow } from '../spec/types.ts';
import type { Env } from './env.ts';

/** Contexts of programs, and the kernel's structs that they show a part of. */
const PROJECTIONS: Readonly<Record<string, string>> = { __sk_buff: 'sk_buff', xdp_md: 'xdp_buff' };

export function isProjection(projection: string, name: string): boolean {
  return PROJECTIONS[projection] === name;
}

/** Whether a pointer to the type is one to the context. */
export function isContextType(btf: Btf, pointee: number, { ctx, name }: ProgTypeRow): boolean {
  if (name === 'kprobe') {
    for (let id = pointee, hops = 0; id !== 0 && hops < 32; hops++) {
      const type = btf.type(id);
      if (type.kind === 'typedef') {
        if (type.name === 'bpf_user_pt_regs_t') return true;
        break;
      }
      if (type.kind !== 'const' && type.kind !== 'volatile' && type.kind !== 'restrict') break;
      id = type.type;
    }
  }
  const type = pointee === 0 ? null : btf.resolved(pointee);
  if (type?.kind !== 'struct' || type.name === '') return false;
  return type.name === ctx.struct || isProjection(ctx.struct, type.name);
}

/** Type id of the kernel's own struct, 0 where there is none; says in the log where it is something else. */
export function kernelContextId(env: Env, { constant }: ProgTypeRow): number {
  const { kernelBtf } = env.request;
  const convert = kernelBtf?.find('bpf_ctx_convert', 'struct');
  const type = kernelBtf === undefined || convert === undefined ? null : kernelBtf.type(convert);
  const member =
    type?.kind === 'struct' ? type.members.find((m) => m.name === `${constant}_kern`) : undefined;
  if (kernelBtf === undefined || member === undefined) return 0;
  const id = kernelBtf.resolve(member.type);
  const kind = id === 0 ? 'void' : kernelBtf.kind(id);
  if (kind === 'struct' || kind === 'union') return id;
  env.verbose(`kern ctx type id ${member.type} is not a struct\n`);
  return 0;
}
