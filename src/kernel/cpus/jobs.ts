/** What a CPU runs when it is asked to, on whichever thread: the same code for CPU 0 and all others. */
import { RUN_STATE } from '../../memory/index.ts';
import { MODELLED_XDP, MODELLED_XDP_SIZE } from '../../spec/index.ts';
import { XDP_ACTION } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { progTestRun } from '../commands/test-run.ts';
import type { Machine } from '../machine.ts';
import type { ProgObject } from '../objects.ts';
import { taskOf } from '../processes.ts';
import { oops, reclaim, runProgram } from '../run.ts';
import type { EventJob, FramesResult, Job, JobResults } from './protocol.ts';

/** What the packet loop counts, and behind it another result. */
const RESULTS = 5;
const RECORD_HEADER = 16;
const EDGES = {
  starts: [MODELLED_XDP.data, MODELLED_XDP.data_meta, MODELLED_XDP.buffer],
  ends: [MODELLED_XDP.data_end, MODELLED_XDP.buffer_end],
};
/** Longest frame that the loop takes. */
const LONGEST = 1 << 18;

type Frames = Extract<Job, { kind: 'frames' }>;

/** `program`: the one behind the job's entry. Throws as the commands do. */
export function runJob(machine: Machine, program: ProgObject, job: Job): JobResults[keyof JobResults] {
  if (job.kind === 'frames') return runFrames(machine, program, job);
  if (job.kind === 'event') return runEvent(machine, program, job);
  const fd = machine.fds.install(program.get());
  try {
    return progTestRun(machine, { ...job.attr, progFd: fd });
  } finally {
    machine.fds.close(fd);
  }
}

function runEvent(
  machine: Machine,
  program: ProgObject,
  { ctx, cookie, task, stacks, time }: EventJob,
): number | null {
  const before = { current: machine.current, stacks: machine.stacks };
  machine.current = taskOf(task);
  machine.stacks = stacks;
  if (time !== undefined) {
    machine.clock.setEpoch(time.epoch);
    machine.clock.follow(() => time.now);
  }
  try {
    return runProgram(machine, program, ctx, cookie);
  } finally {
    if (time !== undefined) machine.clock.follow(undefined);
    machine.current = before.current;
    machine.stacks = before.stacks;
  }
}

/** Contexts for frames, one a machine. */
const contexts = new WeakMap<Machine, number>();

function contextOf(machine: Machine): number {
  let ctx = contexts.get(machine);
  if (ctx === undefined) {
    ctx = machine.memory.allocate(MODELLED_XDP_SIZE + (RESULTS + 1) * 4, 'xdp_buff');
    contexts.set(machine, ctx);
  }
  return ctx;
}

function runFrames(machine: Machine, program: ProgObject, job: Frames): FramesResult {
  const { executable } = program.parts;
  if (executable.runFrames === undefined)
    throw new BpfError(
      'ENOTSUPP',
      `program ${program.parts.name} is interpreted: frames must be received one by one`,
    );
  const { memory, clock } = machine;
  const ctx = contextOf(machine);
  memory.u8.fill(0, ctx, ctx + MODELLED_XDP_SIZE + (RESULTS + 1) * 4);
  memory.u32[(ctx + MODELLED_XDP.ingress_ifindex) >>> 2] = job.ifindex;
  const stamp = (at: number): bigint => {
    const ticks = memory.view.getUint32(at + 4, true) * job.tick;
    return BigInt(memory.view.getUint32(at, true)) * 1_000_000_000n + BigInt(ticks);
  };
  const frame = (RUN_STATE.frame + memory.cpuDelta) >>> 2;
  const outer = machine.running;
  const level = machine.level++;
  const actions = new Map<number, number>();
  const activity = (RUN_STATE.activity + memory.cpuDelta) >>> 2;
  machine.running = program;
  let faulted = false;
  if (job.time !== undefined) clock.setEpoch(job.time.first - job.time.start);
  try {
    for (let pass = 0; pass < job.times && !faulted; pass++) {
      const start = job.time?.start ?? clock.monotonic();
      const first = job.time?.first ?? (job.at + RECORD_HEADER <= job.end ? stamp(job.at) : 0n);
      // Between two passes nothing is held that a program was given.
      if (pass > 0) Atomics.add(memory.u32, activity, 2);
      if (job.time !== undefined || !clock.runs)
        clock.follow(() => start + stamp(memory.u32[frame]!) - first);
      faulted = !onePass(machine, program, job, ctx, level, actions);
      clock.follow(undefined);
    }
  } finally {
    clock.follow(undefined);
    machine.level = level;
    machine.running = outer;
    machine.redirects.clear();
    reclaim(machine);
  }
  let frames = 0;
  for (const times of actions.values()) frames += times;
  if (machine.keepsStats) program.runCount += frames;
  return { actions: [...actions], frames, faulted };
}

function onePass(
  machine: Machine,
  program: ProgObject,
  job: Frames,
  ctx: number,
  level: number,
  actions: Map<number, number>,
): boolean {
  const { memory } = machine;
  const counts = ctx + MODELLED_XDP_SIZE;
  const collect = (): boolean => {
    const { u32 } = memory;
    const add = (action: number, times: number): void => {
      if (times > 0) actions.set(action, (actions.get(action) ?? 0) + times);
    };
    for (let result = 0; result < RESULTS; result++) add(result, u32[(counts >>> 2) + result]!);
    const other = u32[(counts >>> 2) + RESULTS]!;
    if (other !== 0) add(other, 1);
    u32.fill(0, counts >>> 2, (counts >>> 2) + RESULTS + 1);
    return other !== 0;
  };
  let { at } = job;
  try {
    do {
      const run = { at, end: job.end, longest: LONGEST, ctx, edges: EDGES, counts };
      at = program.parts.executable.runFrames!(run, level);
    } while (collect());
    return true;
  } catch (error) {
    collect();
    oops(machine, program, error);
    // A program that faults drops.
    actions.set(XDP_ACTION.XDP_ABORTED, (actions.get(XDP_ACTION.XDP_ABORTED) ?? 0) + 1);
    return false;
  }
}
