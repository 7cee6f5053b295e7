/**
 * Checks of the instruction array that need no path: where subprograms start, jumps inside their subprogram, 64-bit
 * immediate loads with both halves and the map behind them, opcodes that exist. Order and messages are those of Linux
 * 6.18 (add_subprog_and_kfunc, check_subprogs, resolve_pseudo_ldimm64).
 */

import { rowsByCode } from '../asm/lookup.ts';
import {
  CALL,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  JMP_OP,
  LD_IMM64,
  MODE,
  PSEUDO,
  SOURCE,
} from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { MapInfo } from '../contracts/maps.ts';
import { errnoName } from '../util/errno.ts';
import { type Env, makeSubprog } from './env.ts';
import { helperPrototype } from './helper-table.ts';
import { resolveSymbol } from './kernel-symbols.ts';
import { addKfunc } from './kfunc/resolve.ts';
import { F_SLEEPABLE, MAX_SUBPROGS, MAX_USED_MAPS, MAX_VAR_OFF } from './limits.ts';
import { hasSpecialField } from './registers.ts';
import { checkInsnRelease } from './release.ts';
import { declTags } from './special-fields.ts';

const CALL_CODE = CLASS.JMP | JMP_OP.CALL;
const EXIT_CODE = CLASS.JMP | JMP_OP.EXIT;

export function isPseudoCall(insn: Insn): boolean {
  return insn.code === CALL_CODE && insn.src === CALL.LOCAL;
}

export function isKfuncCall(insn: Insn): boolean {
  return insn.code === CALL_CODE && insn.src === CALL.KFUNC;
}

export function isHelperCall(insn: Insn): boolean {
  return insn.code === CALL_CODE && insn.src === CALL.HELPER;
}

export function isPseudoFunc(insn: Insn): boolean {
  return insn.code === LD_IMM64 && insn.src === PSEUDO.FUNC;
}

/** Distance of a jump in slots, after the instruction. */
export function jumpDistance(insn: Insn): number {
  return insn.code === (CLASS.JMP32 | JMP_OP.JA) ? insn.imm : insn.off;
}

function isTailCall(env: Env, insn: Insn): boolean {
  return isHelperCall(insn) && helperPrototype(env, insn.imm)?.tailCall === true;
}

/** First instruction of the function that handles exceptions, as a tag of the main function says; 0 for none. */
function exceptionCallback(env: Env): number {
  const { btf, funcInfo } = env.request;
  if (btf === undefined || funcInfo === undefined || funcInfo.length === 0) return 0;
  const prefix = 'exception_callback:';
  const tags = declTags(btf, funcInfo[0]!.typeId).filter(
    ({ componentIndex, name }) => componentIndex === -1 && name.startsWith(prefix),
  );
  if (tags.length === 0) return 0;
  const refuse = (text: string, errno: 'EINVAL' | 'ENOENT' | 'EEXIST' = 'EINVAL'): never =>
    env.fail(errno, text, { kind: 'callback', detail: 'exception' });
  if (tags.length > 1) refuse('multiple exception callback tags for main subprog', 'EEXIST');
  const name = tags[0]!.name.slice(prefix.length);
  const id = btf.find(name, 'func');
  if (id === undefined) refuse(`exception callback '${name}' could not be found in BTF`, 'ENOENT');
  const func = btf.type(id!);
  if (func.kind !== 'func' || func.linkage !== 'global') {
    refuse(`exception callback '${name}' must have global linkage`);
  }
  const record = funcInfo.findLast(({ typeId }) => typeId === id);
  if (record === undefined) refuse('exception callback type id not found in func_info');
  if (record!.insn === 0) refuse('invalid exception callback insn_off in func_info: 0');
  return record!.insn;
}

/** Finds the subprograms: the entry and every target of a call or of a function pointer. */
export function findSubprogs(env: Env): void {
  const starts = new Set<number>([0]);
  env.insns.forEach((insn, i) => {
    const local = isPseudoFunc(insn) || isPseudoCall(insn);
    if (!local && !isKfuncCall(insn)) return;
    if (!env.bpfCapable) {
      env.fail(
        'EPERM',
        'loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN',
        { kind: 'capability', at: i, expected: 'CAP_BPF', detail: 'functions' },
      );
    }
    if (!local) {
      addKfunc(env, insn);
      return;
    }
    const start = i + insn.imm + 1;
    if (start < 0 || start >= env.count)
      env.fail('EINVAL', 'call to invalid destination', { kind: 'call_out_of_range', at: i, insn: start });
    starts.add(start);
    if (starts.size > MAX_SUBPROGS)
      env.fail('E2BIG', 'too many subprograms', { kind: 'too_many_subprograms', limit: MAX_SUBPROGS });
  });
  const handler = exceptionCallback(env);
  if (handler > 0) starts.add(handler);
  env.subprogs = [...starts].sort((a, b) => a - b).map(makeSubprog);
  env.subprogs.forEach((subprog, i) => {
    subprog.end = env.subprogs[i + 1]?.start ?? env.count;
  });
  if (handler > 0) {
    env.exceptionCallback = env.subprogStartingAt(handler);
    const subprog = env.subprogs[env.exceptionCallback]!;
    subprog.isCallback = true;
    subprog.isAsyncCallback = true;
  }
  if (!env.logsAll) return;
  env.subprogs.forEach((subprog, i) => {
    env.verbose(`func#${i} @${subprog.start}\n`);
  });
}

/** Jumps stay inside their subprogram, and no subprogram falls through into the next. */
export function checkSubprogs(env: Env): void {
  for (const subprog of env.subprogs) {
    for (let i = subprog.start; i < subprog.end; i++) {
      const insn = env.insns[i]!;
      const cls = insnClass(insn.code);
      if (isTailCall(env, insn)) {
        subprog.hasTailCall = true;
        subprog.tailCallReachable = true;
      }
      const mode = insnMode(insn.code);
      if (cls === CLASS.LD && (mode === MODE.ABS || mode === MODE.IND)) subprog.hasLdAbs = true;
      if (cls === CLASS.JMP || cls === CLASS.JMP32) {
        const op = insnOp(insn.code);
        if (op !== JMP_OP.EXIT && op !== JMP_OP.CALL) {
          // In 32 bits, as the kernel computes and prints it.
          const target = (i + jumpDistance(insn) + 1) | 0;
          if (target < subprog.start || target >= subprog.end) {
            env.fail('EINVAL', `jump out of range from insn ${i} to ${target}`, {
              kind: 'jump_out_of_range',
              at: i,
              insn: target,
            });
          }
        }
      }
      if (
        i === subprog.end - 1 &&
        insn.code !== EXIT_CODE &&
        insn.code !== (CLASS.JMP32 | JMP_OP.JA) &&
        insn.code !== (CLASS.JMP | JMP_OP.JA)
      ) {
        env.fail('EINVAL', 'last insn is not an exit or jmp', { kind: 'falls_off_end', at: i });
      }
    }
  }
}

const TRACING_FIELDS: readonly (readonly [readonly string[], string])[] = [
  [['list_head', 'rb_root'], 'bpf_{list_head,rb_root}'],
  [['spin_lock', 'res_spin_lock'], 'bpf_spin_lock'],
  [['timer'], 'bpf_timer'],
  [['workqueue'], 'bpf_wq'],
];

function checkMapForProgram(env: Env, map: MapInfo): void {
  const { progType } = env.request;
  for (const [kinds, what] of TRACING_FIELDS) {
    if (!hasSpecialField(map, ...kinds)) continue;
    if (kinds.includes('spin_lock') && progType.noSpinLock) {
      env.fail('EINVAL', 'socket filter progs cannot use bpf_spin_lock yet', {
        kind: 'map_not_for_program',
        map: map.name,
        field: 'bpf_spin_lock',
      });
    }
    if (progType.tracing)
      env.fail('EINVAL', `tracing progs cannot use ${what} yet`, {
        kind: 'map_not_for_program',
        map: map.name,
        field: what,
      });
  }
  if (map.type.notInPrograms)
    env.fail('EINVAL', 'bpf_struct_ops map cannot be used in prog', {
      kind: 'map_not_for_program',
      map: map.name,
    });
  const needs = env.release.sleepableMapNeeds(map.type);
  if ((env.request.flags & F_SLEEPABLE) !== 0 && (!map.type.sleepable || needs !== undefined)) {
    env.fail('EINVAL', 'Sleepable programs can only use array, hash, ringbuf and local storage maps', {
      kind: 'map_not_for_program',
      map: map.name,
      detail: 'sleepable',
      ...(needs === undefined ? {} : { needs }),
    });
  }
  if (map.type.oncePerProgram) {
    if (env.cgroupStorages.has(map.type.id)) {
      env.fail(
        'EBUSY',
        map.type.directValue
          ? 'Only one arena per program'
          : 'only one cgroup storage of each type is allowed',
        { kind: 'map_limit', map: map.name, limit: 1 },
      );
    }
    env.cgroupStorages.add(map.type.id);
    if (map.type.directValue) useArena(env, map);
  }
}

function useArena(env: Env, map: MapInfo): void {
  if (!env.allowPtrLeaks || !env.bpfCapable) {
    env.fail('EPERM', 'CAP_BPF and CAP_PERFMON are required to use arena', {
      kind: 'capability',
      expected: 'CAP_PERFMON',
      map: map.name,
    });
  }
  if (map.mapExtra === undefined) {
    env.fail('EINVAL', "arena's user address must be set via map_extra or mmap()", {
      kind: 'map_not_for_program',
      map: map.name,
      detail: 'no address',
    });
  }
  env.arena = map;
}

function useMap(env: Env, found: MapInfo | number, fd: number): MapInfo {
  if (typeof found === 'number') {
    return env.fail(errnoName(Math.abs(found)), `fd ${fd} is not pointing to valid bpf_map`, {
      kind: 'map_unknown',
      actual: fd,
    });
  }
  if (env.usedMaps.includes(found)) return found;
  if (env.usedMaps.length >= MAX_USED_MAPS) {
    env.fail('E2BIG', `The total number of maps per program has reached the limit of ${MAX_USED_MAPS}`, {
      kind: 'map_limit',
      limit: MAX_USED_MAPS,
    });
  }
  checkMapForProgram(env, found);
  env.usedMaps.push(found);
  return found;
}

function resolveMapLoad(env: Env, i: number): void {
  const low = env.insns[i]!;
  const high = env.insns[i + 1]!;
  const value = low.src === PSEUDO.MAP_VALUE || low.src === PSEUDO.MAP_IDX_VALUE;
  const whole = low.src === PSEUDO.MAP_FD || low.src === PSEUDO.MAP_IDX;
  if (!value && !(whole && high.imm === 0))
    env.fail('EINVAL', 'unrecognized bpf_ld_imm64 insn', { kind: 'encoding', at: i });
  const byIndex = low.src === PSEUDO.MAP_IDX || low.src === PSEUDO.MAP_IDX_VALUE;
  if (byIndex && env.request.mapByIndex === undefined) {
    env.fail('EPROTO', 'fd_idx without fd_array is invalid', { kind: 'encoding', at: i });
  }
  const found = byIndex ? env.request.mapByIndex!(low.imm) : env.request.mapByFd(low.imm);
  const map = useMap(env, found, low.imm);
  env.mapOf[i] = map;
  const facts = env.factsOf(i);
  facts.map = map;
  if (whole) return;
  const offset = high.imm >>> 0;
  if (offset >= MAX_VAR_OFF)
    env.fail('EINVAL', `direct value offset of ${offset} is not allowed`, {
      kind: 'map_direct_offset',
      at: i,
      map: map.name,
      offset,
    });
  if (!map.type.directValue)
    env.fail('EINVAL', 'no direct value access support for this map type', {
      kind: 'map_no_direct_value',
      at: i,
      map: map.name,
    });
  // Arrays: only of one element; the arena has no values and takes any offset below its size.
  const size = map.valueSize === 0 ? map.maxEntries * 4096 : map.valueSize;
  if (map.valueSize !== 0 && map.maxEntries !== 1) {
    env.verbose(`invalid access to map value pointer, value_size=${map.valueSize} off=${offset}\n`);
    env.refuse('ENOTSUPP', { kind: 'map_direct_offset', at: i, map: map.name, offset });
  }
  if (offset >= size) {
    env.fail('EINVAL', `invalid access to map value pointer, value_size=${map.valueSize} off=${offset}`, {
      kind: 'map_direct_offset',
      at: i,
      map: map.name,
      offset,
      limit: size,
    });
  }
  facts.mapValueOffset = offset;
}

/** Calls through a register have a number and a text, but no kernel takes them. */
function isKnownOpcode(code: number): boolean {
  return rowsByCode(code).some((row) => !row.internal && !(row.group === 'call' && (code & SOURCE.X) !== 0));
}

/** Every opcode exists, every 64-bit immediate load has both halves, every map is one. */
export function resolveImmediates(env: Env): void {
  for (let i = 0; i < env.count; i++) {
    const insn = env.insns[i]!;
    checkInsnRelease(env, insn, i, true);
    const mode = insnMode(insn.code);
    if (
      insnClass(insn.code) === CLASS.LDX &&
      ((mode !== MODE.MEM && mode !== MODE.MEMSX) || insn.imm !== 0)
    ) {
      env.fail('EINVAL', 'BPF_LDX uses reserved fields', { kind: 'encoding', at: i });
    }
    if (insn.code === LD_IMM64) {
      const high = env.insns[i + 1];
      if (high === undefined || high.code !== 0 || high.dst !== 0 || high.src !== 0 || high.off !== 0) {
        env.fail('EINVAL', 'invalid bpf_ld_imm64 insn', { kind: 'encoding', at: i });
      }
      if (insn.src === PSEUDO.BTF_ID) {
        env.symbols.set(i, resolveSymbol(env, i));
      } else if (insn.src !== PSEUDO.NONE && insn.src !== PSEUDO.FUNC) {
        resolveMapLoad(env, i);
      }
      i++;
      continue;
    }
    if (!isKnownOpcode(insn.code)) {
      env.fail('EINVAL', `unknown opcode ${insn.code.toString(16).padStart(2, '0')}`, {
        kind: 'encoding',
        at: i,
      });
    }
  }
}
