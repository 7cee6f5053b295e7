/**
 * From a call instruction to the kernel function behind it: its BTF id in `imm`, the module's BTF by `off`. Kernel 6.18:
 * add_kfunc_call, fetch_kfunc_meta.
 */
import { CALL, CLASS, JMP_OP } from '../../asm/opcodes.ts';
import type { Btf, BtfFuncProto } from '../../btf/index.ts';
import type { Insn } from '../../contracts/insn.ts';
import { kfuncFor, kfuncSince, NEWEST_RELEASE, nameBeforeRenaming } from '../../spec/index.ts';
import type { Env } from '../env.ts';
import { attachTypeName } from '../helper-table.ts';
import { structOpsMember } from '../struct-ops.ts';
import type { Kfunc } from './types.ts';

/** MAX_KFUNC_DESCS */
const MAX_KFUNCS = 256;

const CALL_CODE = CLASS.JMP | JMP_OP.CALL;

const byEnv = new WeakMap<Env, Map<number, Kfunc>>();

function kfuncsOf(env: Env): Map<number, Kfunc> {
  let known = byEnv.get(env);
  if (known === undefined) {
    known = new Map();
    byEnv.set(env, known);
  }
  return known;
}

const keyOf = ({ imm, off }: Insn): number => imm + off * 0x1_0000_0000;

function moduleBtf(env: Env, off: number): Btf {
  const failure = (text: string, errno: 'EINVAL' | 'EPROTO'): never => {
    env.verbose(`${text}\n`);
    return env.fail(errno, 'failed to find BTF for kernel function', {
      kind: 'function_unknown',
      detail: 'module',
    });
  };
  if (off < 0) failure('negative offset disallowed for kernel module function call', 'EINVAL');
  const { btfByIndex } = env.request;
  if (btfByIndex === undefined) failure('kfunc offset > 0 without fd_array is invalid', 'EPROTO');
  const btf = btfByIndex!(off);
  if (btf === 'not_module') return failure('BTF fd for kfunc is not a module BTF', 'EINVAL');
  return btf ?? failure('invalid module BTF fd specified', 'EINVAL');
}

function protoOf(btf: Btf, id: number): BtfFuncProto | null {
  if (id <= 0 || id >= btf.typeCount) return null;
  const func = btf.type(id);
  if (func.kind !== 'func') return null;
  const proto = btf.type(func.type);
  return proto.kind === 'func_proto' ? proto : null;
}

/** Looks the function up, once for every function that the program calls; refuses what is none. */
export function addKfunc(env: Env, insn: Insn): void {
  const known = kfuncsOf(env);
  const { kernelBtf, gplCompatible } = env.request;
  if (!gplCompatible) {
    env.fail('EINVAL', 'cannot call kernel function from non-GPL compatible program', { kind: 'licence' });
  }
  // 0 stands for a function that does not exist: dead code may call it.
  if (insn.imm === 0 && insn.off === 0) return;
  const btf = insn.off === 0 ? kernelBtf : moduleBtf(env, insn.off);
  if (known.has(keyOf(insn))) return;
  if (known.size === MAX_KFUNCS) {
    env.fail('E2BIG', 'too many different kernel function calls', { kind: 'too_complex', limit: MAX_KFUNCS });
  }
  const proto = btf === undefined ? null : protoOf(btf, insn.imm);
  if (btf === undefined || proto === null) {
    env.fail('EINVAL', `kernel btf_id ${insn.imm >>> 0} is not a function`, {
      kind: btf === undefined ? 'missing_kernel_types' : 'function_unknown',
      detail: 'kfunc',
    });
  }
  const name = btf.name(insn.imm);
  const attachType = attachTypeName(env);
  const structOps = structOpsMember(env)?.struct;
  const isSince = (release: string): boolean => env.release.isSince(release);
  const renamed = nameBeforeRenaming(name, isSince);
  const since = renamed === undefined ? kfuncSince(name) : undefined;
  const lacking = since !== undefined && !isSince(since);
  // A kernel of that age has not registered it, whatever the types that are given say.
  const found = lacking
    ? undefined
    : kfuncFor(
        renamed ?? name,
        {
          progType: env.progTypeName,
          ...(attachType === undefined ? {} : { attachType }),
          ...(structOps === undefined ? {} : { structOps }),
        },
        env.release.name === NEWEST_RELEASE ? undefined : isSince,
      );
  const row = found ?? null;
  if (row?.deviceBound) {
    env.fail('EINVAL', 'metadata kfuncs require device-bound program', {
      kind: 'function_not_allowed',
      function: name,
      detail: 'not bound to a device',
    });
  }
  known.set(keyOf(insn), { id: insn.imm, name, btf, builtIn: insn.off === 0, proto, row });
}

/** The function that the instruction calls; null where it is no such call, or one of a function that does not exist. */
export function kfuncOf(env: Env, insn: Insn): Kfunc | null {
  if (insn.code !== CALL_CODE || insn.src !== CALL.KFUNC) return null;
  return kfuncsOf(env).get(keyOf(insn)) ?? null;
}

/** Whether the innermost function is the comparison of a tree's elements: then the tree's lock is held around it. */
export function inTreeCallback(env: Env): boolean {
  const { frame } = env.cur;
  if (env.cur.curframe === 0 || !frame.inCallback) return false;
  return kfuncOf(env, env.insns[frame.callsite]!)?.row?.graph === 'rbtree';
}
