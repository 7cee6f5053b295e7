/** Memory that a helper is handed: inside of what the pointer points to, initialised where it is read, of a size that is bounded. */
import { markPrecise } from './backtrack.ts';
import { isConst, umaxNumber } from './domain/index.ts';
import type { Env } from './env.ts';
import { MAX_VAR_SIZE } from './limits.ts';
import {
  isNull,
  MEM_RDONLY,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_CTX,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_STACK,
  typeName,
} from './registers.ts';
import { accessKernelStruct } from './transfer/btf-access.ts';
import { checkMapFlags, checkMapValue } from './transfer/map-value.ts';
import { accessMemory, checkBuffer } from './transfer/memory.ts';
import { checkPacket } from './transfer/packet.ts';
import { checkRegion } from './transfer/pointer-checks.ts';
import { checkStackRange } from './transfer/stack.ts';

export interface HelperMemory {
  readonly write: boolean;
  readonly zeroSize: boolean;
  readonly onRaw?: (size: number) => void;
}

/** The context is the memory itself, without a facade: its size is checked by its last byte. */
function isPlainContext(env: Env): boolean {
  const { ctx } = env.request.progType;
  return ctx.access === 'raw' && ctx.fields.length === 0;
}

/** A helper accesses `size` bytes behind register `n`. */
export function checkHelperMemory(env: Env, n: number, size: number, access: HelperMemory): void {
  const reg = env.reg(n);
  const { zeroSize, write } = access;
  const refuseWrite = (): void => {
    if (write)
      env.fail('EACCES', `R${n} cannot write into ${typeName(reg.type)}`, {
        kind: 'read_only',
        register: n,
        argument: n,
        given: typeName(reg.type),
      });
  };
  switch (reg.base) {
    case PTR_TO_PACKET:
    case PTR_TO_PACKET_META:
      checkPacket(env, n, reg.off, size, zeroSize);
      return;
    case PTR_TO_MAP_KEY:
      refuseWrite();
      checkRegion(env, n, reg.off, size, reg.map!.keySize, false);
      return;
    case PTR_TO_MAP_VALUE:
      checkMapFlags(env, reg.map!, reg.off, size, write);
      checkMapValue(env, n, reg.off, size, zeroSize, false);
      return;
    case PTR_TO_MEM:
      if ((reg.type & MEM_RDONLY) !== 0) refuseWrite();
      checkRegion(env, n, reg.off, size, reg.raw, zeroSize);
      return;
    case PTR_TO_BUF: {
      const rdonly = (reg.type & MEM_RDONLY) !== 0;
      if (rdonly) refuseWrite();
      checkBuffer(env, n, reg, reg.off, size, rdonly ? 'rdonly' : 'rdwr');
      return;
    }
    case PTR_TO_STACK: {
      const { onRaw } = access;
      checkStackRange(
        env,
        n,
        reg.off,
        size,
        onRaw === undefined ? { zeroSize, write } : { zeroSize, write, onRaw },
      );
      return;
    }
    case PTR_TO_BTF_ID:
      accessKernelStruct(env, n, reg.off, size, false, -1);
      return;
    default:
      if (reg.base === PTR_TO_CTX && isPlainContext(env)) {
        if (size === 0) {
          if (zeroSize) return;
          env.refuse('EACCES', { kind: 'argument_zero_size', register: n, argument: n });
        }
        accessMemory(env, { ptr: n, off: size - 1, size: 1, write, value: -1 });
        return;
      }
      if (zeroSize && size === 0 && isNull(reg)) return;
      env.fail('EACCES', `R${n} type=${typeName(reg.type)} expected=${typeName(PTR_TO_STACK)}`, {
        kind: 'argument_type',
        register: n,
        argument: n,
        given: typeName(reg.type),
        expected: typeName(PTR_TO_STACK),
      });
  }
}

/** The size argument in register `n`; the memory is in the register before. `meta` gets the greatest size. */
export function checkSizeArg(env: Env, n: number, access: HelperMemory, meta: { maxSize: number }): void {
  const reg = env.reg(n);
  const umax = umaxNumber(reg.v);
  meta.maxSize = umax;
  if (reg.v.sminHi < 0) {
    env.fail('EACCES', `R${n} min value is negative, either use unsigned or 'var &= const'`, {
      kind: 'argument_negative_size',
      register: n,
      argument: n,
    });
  }
  if ((reg.v.uminLo | reg.v.uminHi) === 0 && !access.zeroSize) {
    env.fail(
      'EACCES',
      `R${n} invalid zero-sized read: u64=[${BigInt.asIntN(64, reg.v.umin)},${BigInt.asIntN(64, reg.v.umax)}]`,
      { kind: 'argument_zero_size', register: n, argument: n },
    );
  }
  if (umax >= MAX_VAR_SIZE) {
    env.fail('EACCES', `R${n} unbounded memory access, use 'var &= const' or 'if (var < const)'`, {
      kind: 'argument_unbounded_size',
      register: n,
      argument: n,
    });
  }
  // Of a size that is not known only part may be filled: then all must be initialised.
  const known = isConst(reg.v);
  const { zeroSize, write, onRaw } = access;
  checkHelperMemory(
    env,
    n - 1,
    umax,
    known && onRaw !== undefined ? { zeroSize, write, onRaw } : { zeroSize, write },
  );
  markPrecise(env, n);
}
