/**
 * The phases of a verification in the kernel's order (bpf_check of Linux 6.18), and its result. Nothing a program contains
 * makes this throw: every refusal is a `Rejection`, also one by a bug of ours (EFAULT, with the bug's text in the log).
 */

import { CLASS, JMP_OP } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { RefusalReason } from '../contracts/refusal.ts';
import type {
  Rejection,
  SubprogInfo,
  VerifiedProgram,
  VerifyRequest,
  VerifyResult,
  VerifyStats,
} from '../contracts/verify.ts';
import { InternalError } from '../util/errors.ts';
import { checkAttachTarget } from './attach-check.ts';
import { refcountedArguments } from './attach-target.ts';
import { checkFuncInfo, checkFuncInfoEarly, checkLineInfo, prepareArgs } from './btf-check.ts';
import { checkCfg, computePostorder, computeScc } from './cfg.ts';
import { checkSubprogs, findSubprogs, isKfuncCall, resolveImmediates } from './check-structure.ts';
import { exploreAll } from './do-check.ts';
import { deduceAs } from './domain/index.ts';
import { dynptrReg } from './dynptr.ts';
import { Env, type SubprogArg } from './env.ts';
import { failingPath, registersThatMatter, sourceOf } from './explain/notes.ts';
import { Explored } from './explored.ts';
import { COMPLEXITY_LIMIT_INSNS, F_SLEEPABLE, MAX_INSNS, MAX_INSNS_CAPABLE } from './limits.ts';
import { computeLiveRegisters } from './live-registers.ts';
import { LiveStack } from './live-stack.ts';
import { LOG_STATS } from './log.ts';
import { acquireReference } from './references.ts';
import { Refusal } from './refusal.ts';
import {
  MAYBE_NULL,
  MEM_RDONLY,
  PTR_TO_BTF_ID,
  PTR_TO_CTX,
  PTR_TO_MEM,
  PTR_TRUSTED,
  PTR_UNTRUSTED,
  pointerReg,
  type Reg,
  UNKNOWN_REG,
} from './registers.ts';
import { deductionsOf } from './release.ts';
import { checkStackDepth, reportedStackDepth } from './stack-depth.ts';
import { Frame, MAIN_CALLSITE, VState } from './state.ts';
import type { Watcher } from './watch.ts';

/** R1–R5 of a function that is verified on its own, from its BTF. */
function argReg(env: Env, arg: SubprogArg): Reg {
  const nullable = arg.nullable ? MAYBE_NULL : 0;
  switch (arg.kind) {
    case 'scalar':
    case 'arena':
      return UNKNOWN_REG;
    case 'ctx':
      return pointerReg(PTR_TO_CTX);
    case 'dynptr':
      return dynptrReg('local', true, env.nextId());
    case 'mem':
      return pointerReg(
        PTR_TO_MEM | nullable | (arg.untrusted ? PTR_UNTRUSTED : 0) | (arg.rdonly ? MEM_RDONLY : 0),
        { raw: arg.memSize ?? 0, id: arg.nullable ? env.nextId() : 0 },
      );
    case 'btf_id':
      return pointerReg(
        PTR_TO_BTF_ID | nullable | (arg.trusted ? PTR_TRUSTED : 0) | (arg.untrusted ? PTR_UNTRUSTED : 0),
        { struct: arg.struct ?? null, id: env.nextId() },
      );
  }
}

/** Whether the main function's prototype takes the context; it may be wrong, and is then not relied on. */
function checkMainPrototype(env: Env): void {
  const main = env.subprogs[0]!;
  if (main.typeId === 0) return;
  try {
    const args = prepareArgs(env, 0);
    if (args.length !== 1 || args[0]!.kind !== 'ctx') main.unreliable = true;
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    main.unreliable = true;
  }
}

/** Explores one function from its entry. */
function checkFunction(env: Env, index: number): void {
  env.forgetLine();
  const state = new VState();
  state.sleepable = (env.request.flags & F_SLEEPABLE) !== 0;
  const frame = new Frame(state.owner, MAIN_CALLSITE, 0, index);
  state.frames.push(frame);
  state.firstInsn = env.subprogs[index]!.start;
  env.cur = state;
  env.startPath();
  env.scratched.markAll();
  env.insn = env.subprogs[index]!.start;
  if (index === 0 && !env.replaces) {
    checkMainPrototype(env);
    frame.regs[1] = pointerReg(PTR_TO_CTX);
  } else {
    env.verbose(`Validating ${env.subprogs[index]!.name}() func#${index}...\n`);
    const args = prepareArgs(env, index);
    if (index !== 0 && index === env.exceptionCallback && (args.length !== 1 || args[0]!.kind !== 'scalar')) {
      env.fail('EINVAL', 'exception cb only supports single integer argument', {
        kind: 'callback',
        detail: 'exception',
      });
    }
    args.forEach((arg, i) => {
      frame.regs[i + 1] = argReg(env, arg);
    });
  }
  if (index === 0) {
    env.argumentRefs.clear();
    for (const argument of refcountedArguments(env)) env.argumentRefs.set(argument, acquireReference(env, 0));
  }
  env.liveStack.resetCurrent();
  exploreAll(env, new Explored(env));
  if (!env.logsAll) env.log.cutTo(0);
}

/** Global functions that were called: each is verified for any arguments that its prototype allows. */
function checkGlobals(env: Env): void {
  // What handles exceptions is taken to be called always.
  if (env.exceptionCallback !== 0) env.subprogs[env.exceptionCallback]!.called = true;
  for (let again = true; again; ) {
    again = false;
    env.subprogs.forEach((subprog, i) => {
      if (i === 0 || subprog.linkage !== 'global' || !subprog.called || subprog.verified) return;
      checkFunction(env, i);
      if (env.logsInsns) {
        env.verbose(`Func#${i} ('${subprog.name}') is safe for any args that match its prototype\n`);
      }
      subprog.verified = true;
      again = true;
    });
  }
}

function checkLength(env: Env): void {
  const limit = env.bpfCapable ? MAX_INSNS_CAPABLE : MAX_INSNS;
  if (env.count === 0 || env.count > limit) {
    env.fail('E2BIG', `a program has 1 to ${limit} instructions, this one has ${env.count}`, {
      kind: 'program_length',
      limit,
      actual: env.count,
    });
  }
}

function runPhases(env: Env): void {
  checkLength(env);
  checkFuncInfoEarly(env);
  findSubprogs(env);
  checkSubprogs(env);
  checkFuncInfo(env);
  checkLineInfo(env);
  resolveImmediates(env);
  checkCfg(env);
  computePostorder(env);
  env.liveStack = new LiveStack(env);
  checkAttachTarget(env);
  computeScc(env);
  computeLiveRegisters(env);
  checkFunction(env, 0);
  checkGlobals(env);
  checkStackDepth(env);
  checkMissingKfuncs(env);
}

/** Calls of kernel functions that do not exist are only allowed where no path gets to. */
function checkMissingKfuncs(env: Env): void {
  const { insns, seen } = env;
  if (insns.some((insn, i) => seen[i] !== 0 && isKfuncCall(insn) && insn.imm === 0)) {
    env.fail('EINVAL', 'invalid kernel function call not eliminated in verifier pass', {
      kind: 'function_unknown',
    });
  }
}

function statsOf(env: Env, started: number, accepted: boolean): VerifyStats {
  return {
    insnsProcessed: env.insnsProcessed,
    totalStates: env.totalStates,
    peakStates: env.peakStates,
    maxStatesPerInsn: env.maxStatesPerInsn,
    stackDepth: accepted ? reportedStackDepth(env) : env.subprogs.map((subprog) => subprog.stackDepth),
    microseconds: Math.round((performance.now() - started) * 1000),
  };
}

function writeStats(env: Env, stats: VerifyStats): void {
  if (env.log.level === 0) return;
  if ((env.log.level & LOG_STATS) !== 0) {
    env.verbose(`verification time ${stats.microseconds} usec\nstack depth ${stats.stackDepth.join('+')}\n`);
  }
  env.verbose(
    `processed ${stats.insnsProcessed} insns (limit ${COMPLEXITY_LIMIT_INSNS}) ` +
      `max_states_per_insn ${stats.maxStatesPerInsn} total_states ${stats.totalStates} ` +
      `peak_states ${stats.peakStates} mark_read 0\n`,
  );
}

function subprogInfos(env: Env): SubprogInfo[] {
  return env.subprogs.map((subprog, i) => ({
    start: subprog.start,
    end: subprog.end,
    stackDepth: subprog.stackDepth,
    ...(subprog.name === '' ? {} : { name: subprog.name }),
    ...(subprog.linkage === 'global' ? { isGlobal: true } : {}),
    ...(subprog.callbackShape === undefined ? {} : { callbackShape: subprog.callbackShape }),
    ...(subprog.hasTailCall ? { hasTailCall: true } : {}),
    ...(i !== 0 && i === env.exceptionCallback ? { exceptionCallback: true } : {}),
    ...(subprog.typeId === 0 ? {} : { typeId: subprog.typeId }),
    ...(subprog.unreliable ? { unreliable: true } : {}),
    ...(subprog.changesPacket ? { changesPacket: true } : {}),
    ...(subprog.mightSleep ? { mightSleep: true } : {}),
  }));
}

function accept(env: Env, started: number): VerifiedProgram {
  const stats = statsOf(env, started, true);
  writeStats(env, stats);
  return {
    verdict: 'accept',
    request: env.request,
    facts: env.facts.map((facts) => {
      if (facts === undefined) return undefined;
      const { callMapPoisoned: _m, keyPoisoned: _k, ...known } = facts;
      return known;
    }),
    seen: env.seen,
    subprogs: subprogInfos(env),
    usedMaps: env.usedMaps,
    log: env.log.level === 0 ? '' : env.log.text(),
    stats,
  };
}

/** Checks of memory do not know whether they are made for the argument of a call. */
function withArgument(reason: RefusalReason, insn: Insn | undefined): RefusalReason {
  const { register, argument } = reason;
  const call = insn !== undefined && insn.code === (CLASS.JMP | JMP_OP.CALL);
  if (!call || argument !== undefined || register === undefined || register < 1 || register > 5)
    return reason;
  return { ...reason, argument: register };
}

function reject(env: Env, refusal: Refusal, exploring: boolean, started: number): Rejection {
  const { errno } = refusal;
  const message = env.log.lastLine();
  const at = refusal.reason.at ?? (exploring ? env.cur.insn : -1);
  const reason = withArgument(refusal.reason, env.insns[at]);
  const stats = statsOf(env, started, false);
  writeStats(env, stats);
  const source = sourceOf(env.request, at);
  return {
    verdict: 'reject',
    errno,
    message,
    reason,
    insn: at,
    ...(source === undefined ? {} : { source }),
    registers: exploring ? registersThatMatter(env, at, reason) : [],
    path: exploring ? failingPath(env, at) : [],
    log: env.log.level === 0 ? '' : env.log.text(),
    stats,
  };
}

/**
 * Verifies a program as Linux 6.18 would. Never throws for what the program contains. `watcher` looks on; one that has refused
 * paths passed over makes the verdict worthless.
 */
export function verify(request: VerifyRequest, watcher: Watcher | null = null): VerifyResult {
  const started = performance.now();
  const env = new Env(request, watcher);
  const before = deduceAs(deductionsOf(env.release));
  try {
    runPhases(env);
    return accept(env, started);
  } catch (thrown) {
    const exploring = env.cur.frames.length > 0 && env.hasPath;
    if (thrown instanceof Refusal) return reject(env, thrown, exploring, started);
    if (!(thrown instanceof InternalError || thrown instanceof RangeError)) throw thrown;
    env.verbose(`verifier bug: ${thrown.message}\n`);
    return reject(env, new Refusal('EFAULT', { kind: 'internal' }), exploring, started);
  } finally {
    deduceAs(before);
  }
}
