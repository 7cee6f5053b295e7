/**
 * Functions of loaded programs that other programs replace or trace (kernel: bpf_trampoline, bpf_trampoline_link_prog). A program that
 * gains or loses such a neighbour is put together anew (`withTrampolines`) and prepared again; program arrays that hold it get its
 * new entry. What runs at that moment goes on in the code it is in.
 *
 * Invariant: of a function there is either one replacement, or tracing programs, at most MAX_LINKS of them.
 */
import type { Btf } from '../btf/index.ts';
import type { PreparedProgram } from '../contracts/engine.ts';
import { MAX_NESTED_RUNS, RUN_STATE } from '../memory/layout.ts';
import { type Trampoline, withArguments, withTrampolines } from '../rewrite/index.ts';
import { BpfError } from '../util/errors.ts';
import type { Attachment } from './attach-points.ts';
import { CONTEXT_OBJECTS, type ContextObject } from './context-objects.ts';
import { EventObjects } from './kernel-objects.ts';
import type { Machine } from './machine.ts';
import type { FunctionHooks, ProgObject } from './objects.ts';
import { prepare } from './prepare.ts';
import { oops, reclaim, runProgram } from './run.ts';

/** BPF_MAX_TRAMP_LINKS */
const MAX_LINKS = 38;

export type HookKind = 'replace' | 'enter' | 'leave';

const count = ({ enter, leave }: FunctionHooks): number => enter.length + leave.length;

/** Puts a program at a function: EBUSY where another one stands in the way, E2BIG where there are too many. */
export function hook(
  machine: Machine,
  target: ProgObject,
  index: number,
  kind: HookKind,
  attachment: Attachment,
): void {
  if (machine.cpus !== undefined)
    throw new BpfError(
      'EOPNOTSUPP',
      'functions of programs that run on several CPUs at the same time stay as they are',
    );
  const known = target.hooks.get(index);
  const hooks: FunctionHooks = known ?? { enter: [], leave: [], replace: undefined };
  if (hooks.replace !== undefined)
    throw new BpfError('EBUSY', 'the function is replaced by another program already');
  if (kind === 'replace') {
    if (count(hooks) > 0) throw new BpfError('EBUSY', 'tracing programs are attached to the function');
    if (inProgramArrays(machine, target))
      throw new BpfError('EBUSY', 'the target program is in a program array: others may tail-call it');
    hooks.replace = attachment;
  } else {
    if (count(hooks) >= MAX_LINKS)
      throw new BpfError('E2BIG', `a function has at most ${MAX_LINKS} tracing programs`);
    const all = [...hooks.enter, ...hooks.leave];
    if (all.some(({ program }) => program === attachment.program))
      throw new BpfError('EBUSY', 'the program is attached to the function already');
    // The last one to come runs first.
    hooks[kind] = [attachment, ...hooks[kind]];
  }
  target.hooks.set(index, hooks);
  try {
    relink(machine, target);
  } catch (error) {
    drop(target, index, attachment);
    throw error;
  }
}

export function unhook(machine: Machine, target: ProgObject, index: number, attachment: Attachment): void {
  drop(target, index, attachment);
  if (target.references > 0) relink(machine, target);
}

function drop(target: ProgObject, index: number, attachment: Attachment): void {
  const hooks = target.hooks.get(index);
  if (hooks === undefined) return;
  hooks.enter = hooks.enter.filter((one) => one !== attachment);
  hooks.leave = hooks.leave.filter((one) => one !== attachment);
  if (hooks.replace === attachment) hooks.replace = undefined;
  if (count(hooks) === 0 && hooks.replace === undefined) target.hooks.delete(index);
}

/** Whether a function of the program is replaced: it may then not be tail-called. */
export function isExtended(program: ProgObject): boolean {
  for (const { replace } of program.hooks.values()) if (replace !== undefined) return true;
  return false;
}

/** The slots of program arrays, as entry numbers. */
function* slots(machine: Machine): Generator<number> {
  for (const { map } of machine.maps.values()) {
    if (map.info.type.holds !== 'prog') continue;
    const { values, stride } = map.layout;
    for (let i = 0; i < map.info.maxEntries; i++) yield (values + i * stride) >>> 2;
  }
}

function inProgramArrays(machine: Machine, { parts }: ProgObject): boolean {
  const { u32 } = machine.memory;
  for (const slot of slots(machine)) if (u32[slot] === parts.executable.entry) return true;
  return false;
}

function relink(machine: Machine, target: ProgObject): void {
  const { parts } = target;
  const trampolines = new Map<number, Trampoline>();
  for (const [index, hooks] of target.hooks)
    trampolines.set(index, trampoline(machine, target, index, hooks));
  const wrapped = withTrampolines(parts.program, trampolines);
  const program = parts.entryArguments < 0 ? wrapped : withArguments(wrapped, parts.entryArguments);
  const before = parts.executable;
  const { executable } = prepare(machine, program, machine.credentials);
  if (executable.engine !== before.engine) {
    executable.release();
    throw new BpfError('ENOMEM', `program ${parts.name} could not be compiled with what is attached to it`);
  }
  const { u32 } = machine.memory;
  for (const slot of slots(machine)) if (u32[slot] === before.entry) u32[slot] = executable.entry;
  parts.executable = executable;
  parts.code = program;
  parts.announce(program);
  retire(machine, target, before);
}

/** Code that may be running still, or whose callbacks others keep, goes later. */
function retire(machine: Machine, { parts, retired }: ProgObject, before: PreparedProgram): void {
  if (parts.program.calls.some((call) => call?.kind === 'callback')) retired.push(before);
  else machine.retired.push(before);
  reclaim(machine);
}

function trampoline(machine: Machine, target: ProgObject, index: number, hooks: FunctionHooks): Trampoline {
  const args = target.parts.functions[index]!.args;
  const { replace } = hooks;
  if (replace !== undefined)
    return { args, replace: (ctx) => runReplacement(machine, replace.program, ctx, args) };
  const { contexts } = target.parts.functions[index]!;
  const object = CONTEXT_OBJECTS[target.runsAs.ctx.struct];
  const run = (list: readonly Attachment[]) => (ctx: number) => {
    const { kernelBtf } = machine;
    const shown = contexts.length > 0 && kernelBtf !== undefined && object !== undefined;
    const give = shown ? showContexts(machine, kernelBtf, object, ctx, contexts) : undefined;
    try {
      for (const { program, cookie } of list) runTracing(machine, program, ctx, cookie);
    } finally {
      give?.();
    }
  };
  return {
    args,
    ...(hooks.enter.length === 0 ? {} : { enter: run(hooks.enter) }),
    ...(hooks.leave.length === 0 ? {} : { leave: run(hooks.leave) }),
  };
}

/** Puts the kernel's own structs in the place of contexts; gives what puts the contexts back. */
function showContexts(
  machine: Machine,
  types: Btf,
  { struct, members }: ContextObject,
  args: number,
  contexts: readonly number[],
): () => void {
  const { memory } = machine;
  const objects = new EventObjects(memory, machine.processes, () => types);
  const kept = contexts.map((i) => {
    const at = args + 8 * i;
    const word = memory.view.getBigUint64(at, true);
    const known = members(memory, Number(word & 0xffff_ffffn));
    memory.view.setBigUint64(at, objects.placeKnown({ kind: 'object', struct, members: known }), true);
    return { at, word };
  });
  return () => {
    for (const { at, word } of kept) memory.view.setBigUint64(at, word, true);
    objects.release();
  };
}

/** A tracing program does not run within itself. */
function runTracing(machine: Machine, program: ProgObject, ctx: number, cookie: bigint): void {
  if (program.active || machine.level >= MAX_NESTED_RUNS) {
    program.recursionMisses++;
    return;
  }
  program.active = true;
  try {
    runProgram(machine, program, ctx, cookie);
  } finally {
    program.active = false;
  }
}

const BUDGET = RUN_STATE.budget >>> 2;
const R0 = RUN_STATE.r0 >>> 2;

/** Runs what stands in the place of a function, as a part of the program that calls it; the result goes behind the arguments. */
function runReplacement(machine: Machine, program: ProgObject, ctx: number, args: number): void {
  if (program.fault !== undefined || machine.level >= MAX_NESTED_RUNS) return;
  const { i32 } = machine.memory;
  const budget = i32[BUDGET]!;
  const level = machine.level++;
  try {
    program.parts.executable.run(ctx, level);
    const result = (ctx + 8 * args) >>> 2;
    machine.memory.i32[result] = machine.memory.i32[R0]!;
    machine.memory.i32[result + 1] = machine.memory.i32[R0 + 1]!;
  } catch (error) {
    oops(machine, program, error);
  } finally {
    machine.level = level;
    machine.memory.i32[BUDGET] = budget;
  }
}
