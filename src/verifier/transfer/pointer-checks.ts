/**
 * Rules about a pointer that do not depend on what is done through it: alignment, modified pointers, regions of known size.
 * Kernel 6.18: check_ptr_alignment, __check_ptr_off_reg, check_mem_region_access.
 */
import type { RegionKind } from '../../contracts/refusal.ts';
import {
  constantFromNumber,
  formatVarOff,
  isZero,
  sminNumber,
  tnumAdd,
  tnumIsAligned,
  umaxNumber,
} from '../domain/index.ts';
import type { Env } from '../env.ts';
import { MAX_VAR_OFF } from '../limits.ts';
import {
  isPacketPointer,
  isPacketPointerOrEnd,
  PTR_TO_ARENA,
  PTR_TO_CTX,
  PTR_TO_FLOW_KEYS,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET,
  PTR_TO_STACK,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  type Reg,
  typeName,
} from '../registers.ts';

const DESCRIPTIONS: Readonly<Record<number, string>> = {
  [PTR_TO_FLOW_KEYS]: 'flow keys ',
  [PTR_TO_MAP_KEY]: 'key ',
  [PTR_TO_MAP_VALUE]: 'value ',
  [PTR_TO_CTX]: 'context ',
  [PTR_TO_STACK]: 'stack ',
  [PTR_TO_SOCKET]: 'sock ',
  [PTR_TO_SOCK_COMMON]: 'sock_common ',
  [PTR_TO_TCP_SOCK]: 'tcp_sock ',
  [PTR_TO_XDP_SOCK]: 'xdp_sock ',
};

/** Packets start two bytes off a word (NET_IP_ALIGN), where alignment is asked for at all. */
const IP_ALIGN = 2;

/** `off` does not include the register's own offset. */
export function checkAlignment(env: Env, reg: Reg, off: number, size: number, strictOnce: boolean): void {
  if (size === 1 || reg.type === PTR_TO_ARENA) return;
  // Spill tracking relies on aligned stack accesses.
  if (!env.strictAlignment && !strictOnce && reg.type !== PTR_TO_STACK) return;
  const packet = isPacketPointer(reg.type);
  const fixed = reg.off + off + (packet ? IP_ALIGN : 0);
  const { tnum } = reg.v;
  const sum = isZero(reg.v) ? null : tnumAdd(tnum, constantFromNumber(fixed).tnum);
  if (sum === null ? fixed % size === 0 : tnumIsAligned(sum, BigInt(size))) return;
  const varOff = formatVarOff(tnum);
  if (packet) {
    env.fail('EACCES', `misaligned packet access off ${IP_ALIGN}+${varOff}+${reg.off}+${off} size ${size}`, {
      kind: 'misaligned',
      region: 'packet',
      offset: reg.off + off,
      size,
    });
  }
  env.fail(
    'EACCES',
    `misaligned ${DESCRIPTIONS[reg.type] ?? ''}access off ${varOff}+${reg.off}+${off} size ${size}`,
    { kind: 'misaligned', given: typeName(reg.type), offset: reg.off + off, size },
  );
}

/** The pointer must be as it was given: no variable part, and no fixed offset unless `fixedOk`. */
export function checkUnmodified(env: Env, reg: Reg, n: number, fixedOk: boolean): void {
  if (reg.off < 0) {
    env.fail('EACCES', `negative offset ${typeName(reg.type)} ptr R${n} off=${reg.off} disallowed`, {
      kind: 'negative_pointer',
      register: n,
      given: typeName(reg.type),
      offset: reg.off,
    });
  }
  if (!fixedOk && reg.off !== 0) {
    env.fail('EACCES', `dereference of modified ${typeName(reg.type)} ptr R${n} off=${reg.off} disallowed`, {
      kind: 'modified_pointer',
      register: n,
      given: typeName(reg.type),
      offset: reg.off,
    });
  }
  if (!isZero(reg.v)) {
    env.fail(
      'EACCES',
      `variable ${typeName(reg.type)} access var_off=${formatVarOff(reg.v.tnum)} disallowed`,
      { kind: 'variable_offset', register: n, given: typeName(reg.type) },
    );
  }
}

/** Whether `[off, off + size)` lies in the region; otherwise the log says why not. */
export function inRegion(
  env: Env,
  n: number,
  off: number,
  size: number,
  regionSize: number,
  zeroSize: boolean,
): boolean {
  if (off >= 0 && (size > 0 || (size === 0 && zeroSize)) && off + size <= regionSize) return true;
  const reg = env.reg(n);
  if (reg.type === PTR_TO_MAP_KEY) {
    env.verbose(`invalid access to map key, key_size=${regionSize} off=${off} size=${size}\n`);
  } else if (reg.type === PTR_TO_MAP_VALUE) {
    env.verbose(`invalid access to map value, value_size=${regionSize} off=${off} size=${size}\n`);
  } else if (isPacketPointerOrEnd(reg.type)) {
    env.verbose(
      `invalid access to packet, off=${off} size=${size}, R${n}(id=${reg.id},off=${off},r=${regionSize})\n`,
    );
  } else {
    env.verbose(`invalid access to memory, mem_size=${regionSize} off=${off} size=${size}\n`);
  }
  return false;
}

export function failNegativeIndex(env: Env, n: number): never {
  env.fail('EACCES', `R${n} min value is negative, either use unsigned index or do a if (index >=0) check.`, {
    kind: 'negative_offset',
    register: n,
  });
}

/** What the pointer points into. */
function regionOf(reg: Reg): RegionKind {
  if (reg.type === PTR_TO_MAP_VALUE) return 'map_value';
  if (reg.type === PTR_TO_MAP_KEY) return 'map_key';
  return isPacketPointerOrEnd(reg.type) ? 'packet' : 'memory';
}

function mapName(reg: Reg): { readonly map?: string } {
  return reg.map === null ? {} : { map: reg.map.name };
}

/** The access stays inside a region of `regionSize` bytes for every value of the variable offset. */
export function checkRegion(
  env: Env,
  n: number,
  off: number,
  size: number,
  regionSize: number,
  zeroSize: boolean,
): void {
  const reg = env.reg(n);
  const { v } = reg;
  const sum = sminNumber(v) + off;
  if (v.sminHi < 0 && (sum < 0 || sum > 0x7fff_ffff)) failNegativeIndex(env, n);
  if (!inRegion(env, n, (v.sminLo + off) | 0, size, regionSize, zeroSize)) {
    env.fail('EACCES', `R${n} min value is outside of the allowed memory range`, {
      kind: 'region_bounds',
      register: n,
      region: regionOf(reg),
      offset: off,
      size,
      limit: regionSize,
      ...mapName(reg),
      detail: 'below',
    });
  }
  const umax = umaxNumber(v);
  if (umax >= MAX_VAR_OFF) {
    env.fail('EACCES', `R${n} unbounded memory access, make sure to bounds check any such access`, {
      kind: 'unbounded_offset',
      register: n,
      region: regionOf(reg),
      offset: off,
      size,
      limit: regionSize,
      ...mapName(reg),
    });
  }
  if (!inRegion(env, n, umax + off, size, regionSize, zeroSize)) {
    env.fail('EACCES', `R${n} max value is outside of the allowed memory range`, {
      kind: 'region_bounds',
      register: n,
      region: regionOf(reg),
      offset: off,
      size,
      limit: regionSize,
      ...mapName(reg),
      actual: umax + off + size,
    });
  }
}
