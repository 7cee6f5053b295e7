/**
 * Calls of functions that have BTF: the arguments must be what their types say, for global functions (which are verified
 * on their own) strictly; a static function whose BTF does not fit is only marked. Kernel 6.18: btf_check_func_arg_match.
 */

import { prepareArgs } from './btf-check.ts';
import { checkDynptrArg } from './dynptr.ts';
import type { Env, SubprogArg } from './env.ts';
import { checkArgOffset, checkRegType } from './helper-args.ts';
import { checkHelperMemory } from './helper-memory.ts';
import { Refusal } from './refusal.ts';
import { isNull, MAYBE_NULL, PTR_TO_ARENA, PTR_TO_CTX, SCALAR, typeName } from './registers.ts';
import { accessMemory } from './transfer/memory.ts';
import { notNull } from './transfer/not-null.ts';

/** Memory of the callee's parameter must be readable and writable. */
function checkMemArg(env: Env, n: number, size: number): void {
  const reg = env.reg(n);
  if (isNull(reg)) return;
  if (reg.maybeNull) env.setReg(n, notNull(reg));
  try {
    checkHelperMemory(env, n, size, { write: false, zeroSize: true });
    checkHelperMemory(env, n, size, { write: true, zeroSize: true });
  } catch (refusal) {
    if (refusal instanceof Refusal) env.refuse('EINVAL', refusal.reason);
    throw refusal;
  } finally {
    if (reg.maybeNull) env.setReg(n, reg);
  }
}

function checkArg(env: Env, index: number, arg: SubprogArg): void {
  const n = index + 1;
  const reg = env.reg(n);
  if (arg.untrusted) return;
  switch (arg.kind) {
    case 'scalar':
      if (reg.type !== SCALAR)
        env.fail('EINVAL', `R${n} is not a scalar`, {
          kind: 'argument_type',
          register: n,
          argument: n,
          given: typeName(reg.type),
          expected: 'scalar',
        });
      return;
    case 'ctx':
      checkArgOffset(env, n, false, false);
      if (reg.type !== PTR_TO_CTX)
        env.fail('EINVAL', `arg#${index} expects pointer to ctx`, {
          kind: 'argument_type',
          register: n,
          argument: n,
          given: typeName(reg.type),
          expected: 'ctx',
        });
      return;
    case 'mem':
      checkArgOffset(env, n, false, false);
      checkMemArg(env, n, arg.memSize ?? 0);
      if (!arg.nullable && (reg.type & MAYBE_NULL) !== 0) {
        env.fail('EINVAL', `arg#${index} is expected to be non-NULL`, {
          kind: 'argument_null',
          register: n,
          argument: n,
        });
      }
      return;
    case 'arena':
      if (reg.type !== PTR_TO_ARENA && reg.type !== SCALAR) {
        env.fail('EINVAL', `R${n} is not a pointer to arena or scalar.`, {
          kind: 'argument_type',
          register: n,
          argument: n,
          given: typeName(reg.type),
          expected: 'arena',
        });
      }
      return;
    case 'dynptr':
      checkArgOffset(env, n, false, true);
      checkDynptrArg(env, n, { rdonly: true }, (off) =>
        accessMemory(env, { ptr: n, off, size: 8, write: true, value: -1 }),
      );
      return;
    case 'btf_id':
      if (isNull(reg) && arg.nullable) return;
      checkRegType(env, n, {
        kind: 'btf_id',
        nullable: arg.nullable === true,
        ...(arg.struct === undefined ? {} : { btfType: arg.struct.name }),
      });
      checkArgOffset(env, n, false, false);
  }
}

/** Checks R1–R5 against the BTF of the function; null where they fit, else why the call is refused. */
export function checkSubprogArgs(env: Env, index: number): Refusal | null {
  const subprog = env.subprogs[index]!;
  if (subprog.typeId === 0 || subprog.unreliable)
    return new Refusal('EINVAL', { kind: 'global_function', function: subprog.name });
  try {
    const args = prepareArgs(env, index);
    args.forEach((arg, i) => {
      checkArg(env, i, arg);
    });
    return null;
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    subprog.unreliable = true;
    return refusal;
  }
}
