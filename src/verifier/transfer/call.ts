/**
 * Calls of the program's own functions and the return from them. A static function is followed with its caller's
 * arguments; a global one is taken at its word, its BTF, and verified later by itself. Kernel 6.18: check_func_call,
 * prepare_func_exit, check_return_code.
 */
import type { Insn } from '../../contracts/insn.ts';
import { attachTarget, isVoidCgroupHook, lsmReturnRange, returnsVoid } from '../attach-target.ts';
import { markPrecise } from '../backtrack.ts';
import { formatTnum, tnumIsUnknown, tnumRange } from '../domain/index.ts';
import type { Env } from '../env.ts';
import type { Explored } from '../explored.ts';
import { attachTypeName } from '../helper-table.ts';
import { widenImprecise } from '../prune.ts';
import { checkResourceLeak } from '../references.ts';
import { NOT_INIT_REG, PTR_TO_STACK, type Reg, SCALAR, typeName, UNKNOWN_REG } from '../registers.ts';
import type { RetvalRange } from '../state.ts';
import { checkSubprogArgs } from '../subprog-args.ts';
import { enterFrame } from './callback.ts';
import { clearPacketPointers } from './packet.ts';
import { checkUnmodified } from './pointer-checks.ts';

function callGlobal(env: Env, index: number): void {
  const subprog = env.subprogs[index]!;
  const refusal = checkSubprogArgs(env, index);
  if (env.cur.activeLocks > 0) {
    env.fail(
      'EINVAL',
      'global function calls are not allowed while holding a lock,\nuse static function instead',
      { kind: 'lock_held', function: subprog.name, detail: 'global function' },
    );
  }
  const { activeRcuLock, activePreemptLocks, activeIrqId, sleepable } = env.cur;
  const atomic = activeRcuLock || activePreemptLocks > 0 || activeIrqId !== 0 || !sleepable;
  if (subprog.mightSleep && atomic) {
    env.fail(
      'EINVAL',
      'global functions that may sleep are not allowed in non-sleepable context,\n' +
        'i.e., in a RCU/IRQ/preempt-disabled section, or in\na non-sleepable BPF program context',
      { kind: 'function_sleeps', function: subprog.name },
    );
  }
  if (refusal !== null) {
    env.fail(refusal.errno, `Caller passes invalid args into func#${index} ('${subprog.name}')`, {
      ...refusal.reason,
      function: subprog.name,
    });
  }
  env.verbose(`Func#${index} ('${subprog.name}') is global and assumed valid.\n`);
  if (subprog.changesPacket) clearPacketPointers(env);
  subprog.called = true;
  env.clobberCallerSaved();
  env.setReg(0, UNKNOWN_REG);
}

/** Enters the function, or steps over it; leaves `env.insn` at the instruction before the one to go on with. */
export function checkSubprogCall(env: Env, insn: Insn): void {
  const index = env.subprogStartingAt(env.insn + insn.imm + 1);
  env.factsOf(env.insn).subprog = index;
  const subprog = env.subprogs[index]!;
  if (subprog.linkage === 'global') {
    callGlobal(env, index);
    return;
  }
  checkSubprogArgs(env, index);
  const { cur } = env;
  const caller = cur.frame;
  const frame = enterFrame(env, cur, index, env.insn);
  for (let n = 1; n <= 5; n++) frame.regs[n] = caller.regs[n]!;
  const { regs } = cur.own(cur.curframe - 1);
  for (let n = 0; n <= 5; n++) regs[n] = NOT_INIT_REG;
  env.scratched.regs |= 0x3f;
  env.insn = subprog.start - 1;
  env.liveStack.resetCurrent();
  if (env.logsInsns) {
    env.verbose('caller:\n');
    env.printState(cur, cur.curframe - 1, true);
    env.verbose('callee:\n');
    env.printState(cur, cur.curframe, true);
  }
}

function failRange(env: Env, n: number, range: RetvalRange, when: string, note = ''): never {
  const reg = env.reg(n);
  let text = `${when} the register R${n} has`;
  const reason = { kind: 'return_range', register: n, min: range.min, max: range.max, detail: when } as const;
  if (!env.release.has('words_of_result_ranges')) {
    text += tnumIsUnknown(reg.v.tnum) ? ' unknown scalar value' : ` value ${formatTnum(reg.v.tnum)}`;
    const wanted = tnumRange(BigInt.asUintN(64, BigInt(range.min)), BigInt.asUintN(64, BigInt(range.max)));
    env.fail('EINVAL', `${text} should have been in ${formatTnum(wanted)}${note}`, reason);
  }
  const known: string[] = [];
  if (reg.v.smin > -0x8000_0000_0000_0000n) known.push(` smin=${reg.v.smin}`);
  if (reg.v.smax < 0x7fff_ffff_ffff_ffffn) known.push(` smax=${reg.v.smax}`);
  text += known.length === 0 ? ' unknown scalar value' : known.join('');
  env.fail('EINVAL', `${text} should have been in [${range.min}, ${range.max}]${note}`, reason);
}

function within(range: RetvalRange, reg: Reg): boolean {
  const { v } = reg;
  if (range.narrow) return range.min <= v.s32min && v.s32max <= range.max;
  return BigInt(range.min) <= v.smin && v.smax <= BigInt(range.max);
}

/** Back to the caller; `env.insn` becomes the instruction to go on with. */
export function returnToCaller(env: Env, explored: Explored): void {
  const { cur } = env;
  env.liveStack.update();
  const callee = cur.frame;
  const r0 = callee.regs[0]!;
  const again = callee.inCallback && env.release.has('callbacks_again');
  if (r0.type === PTR_TO_STACK)
    env.fail('EINVAL', 'cannot return stack pointer to the caller', {
      kind: 'return_pointer',
      register: 0,
      given: typeName(r0.type),
    });
  if (callee.inCallback) {
    if (r0.type !== SCALAR)
      env.fail('EACCES', 'R0 not a scalar value', {
        kind: 'return_pointer',
        register: 0,
        given: typeName(r0.type),
      });
    markPrecise(env, 0);
    if (!within(callee.callbackRange, r0)) failRange(env, 0, callee.callbackRange, 'At callback return');
    // The helper decides again whether there is another round.
    env.insn = again ? callee.callsite : callee.callsite + 1;
  } else {
    cur.own(cur.curframe - 1).regs[0] = r0;
    env.insn = callee.callsite + 1;
  }
  if (env.logsInsns) {
    env.verbose('returning from callee:\n');
    env.printState(cur, cur.curframe, true);
    env.verbose(`to caller at ${env.insn}:\n`);
    env.printState(cur, cur.curframe - 1, true);
  }
  cur.frames.pop();
  if (!again) return;
  const previous = explored.previousEntry(cur, env.insn);
  if (previous !== null) widenImprecise(env, previous, cur);
}

/** The range that the program type wants R0 in; null where any value will do. */
function wantedRange(env: Env): RetvalRange | null {
  const { returns } = env.request.progType;
  if (returns === undefined) return null;
  const attachType = attachTypeName(env);
  if (env.progTypeName === 'lsm' && attachType === 'LSM_MAC') return lsmReturnRange(env);
  if (isVoidCgroupHook(env)) return { min: 1, max: 1 };
  const rule = returns.find(
    (r) => r.attachTypes === undefined || (attachType !== undefined && r.attachTypes.includes(attachType)),
  );
  return rule ?? null;
}

/** Code that a program throws, where it has no function that handles exceptions: it becomes the result. */
export function checkThrownCode(env: Env): void {
  checkReturnCode(env, 1);
}

/** Type id of the struct that a member of a struct of functions gives a pointer to; null: it gives none. */
function returnedPointer(env: Env): number | null {
  if (env.progTypeName !== 'struct_ops') return null;
  const target = attachTarget(env);
  const type =
    target === null || target.proto.returnType === 0 ? null : target.btf.resolved(target.proto.returnType);
  return type?.kind === 'ptr' ? type.type : null;
}

/** An object that the program owns, as it got it: the kernel takes it over. */
function returnsReference(env: Env, n: number, pointee: number): boolean {
  const reg = env.reg(n);
  const { btf } = attachTarget(env)!;
  const { struct } = reg;
  if (reg.refObjId === 0 || struct === null || struct.btf !== btf || pointee === 0) return false;
  if (btf.resolve(pointee) !== struct.id) return false;
  checkUnmodified(env, reg, n, false);
  return true;
}

function checkReturnCode(env: Env, n: number): void {
  const frame = env.cur.frames[0]!;
  const handler = frame.subprog !== 0 && frame.subprog === env.exceptionCallback;
  const isSubprog = frame.subprog !== 0 && !handler;
  if (!isSubprog && !frame.inAsyncCallback && returnsVoid(env)) return;
  const returned = isSubprog || frame.inAsyncCallback ? null : returnedPointer(env);
  if (returned !== null && !handler && returnsReference(env, n, returned)) return;
  const r0 = env.readReg(n);
  if (env.isLeak(r0))
    env.fail('EACCES', `R${n} leaks addr as return value`, {
      kind: 'pointer_leak',
      register: n,
      detail: 'return value',
    });
  let when = 'At program exit';
  let range: RetvalRange | null;
  if (frame.inAsyncCallback) {
    when = 'At async callback return';
    range = frame.callbackRange;
  } else if (isSubprog) {
    if (r0.type !== SCALAR) {
      env.fail(
        'EINVAL',
        `At subprogram exit the register R${n} is not a scalar value (${typeName(r0.type)})`,
        {
          kind: 'return_pointer',
          register: n,
          given: typeName(r0.type),
        },
      );
    }
    return;
  } else {
    range = returned === null ? wantedRange(env) : { min: 0, max: 0 };
  }
  if (range === null) return;
  if (r0.type !== SCALAR)
    env.fail('EINVAL', `${when} the register R${n} is not a known value (${typeName(r0.type)})`, {
      kind: 'return_pointer',
      register: n,
      given: typeName(r0.type),
      min: range.min,
      max: range.max,
    });
  markPrecise(env, n);
  if (within(range, r0)) return;
  if (frame.inAsyncCallback || !isVoidCgroupHook(env)) failRange(env, n, range, when);
  failRange(
    env,
    n,
    range,
    when,
    "\nNote, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!",
  );
}

/** BPF_EXIT: true where the path ends, false where it goes on in the caller. */
export function checkExit(env: Env, explored: Explored): boolean {
  if (env.cur.activeLocks > 0 && !env.release.has('calls_under_lock')) {
    env.fail('EINVAL', 'bpf_spin_unlock is missing', { kind: 'lock_held', detail: 'exit' });
  }
  checkResourceLeak(env, env.cur.curframe === 0, 'BPF_EXIT instruction in main prog');
  if (env.cur.curframe > 0) {
    returnToCaller(env, explored);
    return false;
  }
  checkReturnCode(env, 0);
  return true;
}
