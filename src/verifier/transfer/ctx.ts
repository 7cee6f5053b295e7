/** Accesses to the context: which fields, at which size, by the rows of the program types. Kernel 6.18: check_ctx_access. */
import { ctxAccess } from '../../spec/index.ts';
import type { Capability, CtxField, CtxFieldKind } from '../../spec/types.ts';
import type { Env } from '../env.ts';
import { attachTypeName } from '../helper-table.ts';
import { kernelStruct } from '../kernel-types.ts';
import {
  MAYBE_NULL,
  MEM_RDONLY,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_FLOW_KEYS,
  PTR_TO_PACKET,
  PTR_TO_PACKET_END,
  PTR_TO_PACKET_META,
  PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET,
  PTR_TO_TP_BUFFER,
  PTR_TRUSTED,
  pointerReg,
  type Reg,
  UNKNOWN_REG,
} from '../registers.ts';
import { accessBtfArgument } from './ctx-btf.ts';
import { checkUnmodified } from './pointer-checks.ts';

const POINTERS: Readonly<Record<Exclude<CtxFieldKind, 'scalar'>, number>> = {
  pkt: PTR_TO_PACKET,
  pkt_meta: PTR_TO_PACKET_META,
  pkt_end: PTR_TO_PACKET_END,
  sock: PTR_TO_SOCKET,
  sock_common: PTR_TO_SOCK_COMMON,
  flow_keys: PTR_TO_FLOW_KEYS,
  buf: PTR_TO_BUF,
  tp_buffer: PTR_TO_TP_BUFFER,
  btf_id: PTR_TO_BTF_ID | PTR_TRUSTED,
};

export function holdsCapability(env: Env, capability: Capability | undefined): boolean {
  const c = env.request.credentials;
  if (capability === undefined || capability === 'none' || c.capSysAdmin) return true;
  if (capability === 'bpf') return c.capBpf;
  if (capability === 'perfmon') return c.capPerfmon;
  return capability === 'net_admin' && c.capNetAdmin;
}

/** What a load of the field gives. */
function loaded(env: Env, field: CtxField | undefined): Reg {
  const kind = field?.kind;
  if (field === undefined || kind === undefined || kind === 'scalar') return UNKNOWN_REG;
  let type = POINTERS[kind];
  if (kind === 'buf' && !field.write) type |= MEM_RDONLY;
  if (field.nullable) type |= MAYBE_NULL;
  return pointerReg(type, {
    id: field.nullable ? env.nextId() : 0,
    struct: kind === 'btf_id' ? kernelStruct(env, field.btfType ?? '') : null,
  });
}

/** A load or store through register `n`; `off` includes its fixed offset; `value` is the other register, or -1. */
export function accessCtx(
  env: Env,
  n: number,
  off: number,
  size: number,
  write: boolean,
  value: number,
  signed: boolean,
): void {
  const { ctx } = env.request.progType;
  if (write && value >= 0 && env.isLeak(env.reg(value)))
    env.fail('EACCES', `R${value} leaks addr into ctx`, {
      kind: 'pointer_leak',
      register: value,
      detail: 'context',
    });
  checkUnmodified(env, env.reg(n), n, false);
  const access = ctxAccess(ctx, { offset: off, size, write, signed, attachType: attachTypeName(env) });
  const needs = env.release.fieldNeeds(env.progTypeName, access?.field?.name ?? '');
  if (access === null || !holdsCapability(env, access.capability) || needs !== undefined) {
    env.verbose(`invalid bpf_context access off=${off} size=${size}\n`);
    env.verboseLine(env.insn, '; ');
    env.refuse('EACCES', {
      kind: 'context_access',
      register: n,
      region: 'context',
      offset: off,
      size,
      write,
      ...(needs === undefined ? {} : { needs }),
    });
  }
  const facts = env.factsOf(env.insn);
  facts.ctxOffset = off;
  if (write || value < 0) return;
  if (ctx.btfTyped) accessBtfArgument(env, off, size, value);
  else env.setReg(value, loaded(env, access.field));
}
