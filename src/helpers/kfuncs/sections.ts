/**
 * Sections and locks: on one CPU one thing runs at a time, so RCU, preemption, interrupts and locks have nothing to do but keep what
 * programs see as Linux does. Locks on a memory that CPUs share are real. Casts give their argument back.
 */
import { ERRNO } from '../../util/errno.ts';
import type { HelperContext } from '../types.ts';
import { currentRun } from './held.ts';
import { type KfuncFamily, kfn } from './types.ts';

const NOTHING = kfn('', 'void', () => () => undefined);
/** The interrupt flag of x86 in the saved flags. */
const IRQ_ENABLED = 0x200;

/** RES_NR_HELD: of so many locks Linux remembers which ones are held. */
const REMEMBERED = 31;

/** RES_DEF_TIMEOUT, milliseconds. */
const LOCK_TIMEOUT = 250;

interface HeldLock {
  readonly lock: number;
  readonly run: number;
}

const heldBy = new WeakMap<HelperContext, HeldLock[]>();

function heldOf(ctx: HelperContext): HeldLock[] {
  let held = heldBy.get(ctx);
  if (held === undefined) {
    held = [];
    heldBy.set(ctx, held);
  }
  return held;
}

const isIn = (held: readonly HeldLock[], lock: number): boolean => held.some((one) => one.lock === lock);

/** A lock that is held is held by this program, which would wait for itself. */
function takeLock(ctx: HelperContext, lock: number): number {
  if (!ctx.valid(lock, 4)) return -ERRNO.EFAULT;
  const { view } = ctx.memory;
  const held = heldOf(ctx);
  if (ctx.memory.shared && !isIn(held, lock)) {
    if (!waitForLock(ctx, lock)) return -ERRNO.ETIMEDOUT;
    held.push({ lock, run: currentRun(ctx) });
    return 0;
  }
  if (view.getUint32(lock, true) !== 0)
    return isIn(held.slice(0, REMEMBERED), lock) ? -ERRNO.EDEADLK : -ERRNO.ETIMEDOUT;
  view.setUint32(lock, 1, true);
  held.push({ lock, run: currentRun(ctx) });
  return 0;
}

/** Another CPU may hold it: false where it does so for too long, as when each of two CPUs waits for the other's lock. */
function waitForLock({ memory: { i32 }, module }: HelperContext, lock: number): boolean {
  const at = lock >>> 2;
  let end = 0;
  while (Atomics.compareExchange(i32, at, 0, 1) !== 0) {
    end ||= performance.now() + LOCK_TIMEOUT;
    for (let spin = 0; spin < 100 && Atomics.load(i32, at) !== 0; spin++);
    // The holder may have lost its processor.
    module.nap(lock, 1);
    if (performance.now() > end) return false;
  }
  return true;
}

function leaveLock(ctx: HelperContext, lock: number): void {
  if (!ctx.valid(lock, 4)) return;
  if (ctx.memory.shared) Atomics.store(ctx.memory.i32, lock >>> 2, 0);
  else ctx.memory.view.setUint32(lock, 0, true);
  const held = heldOf(ctx);
  const at = held.findLastIndex((one) => one.lock === lock);
  if (at >= 0) held.splice(at, 1);
}

/** Of the run that asks, which was stopped. */
export function dropLocks(ctx: HelperContext): void {
  const current = currentRun(ctx);
  for (const { lock, run } of [...heldOf(ctx)]) if (run === current) leaveLock(ctx, lock);
}

export const SECTION_KFUNCS: KfuncFamily = {
  bpf_rcu_read_lock: NOTHING,
  bpf_rcu_read_unlock: NOTHING,
  bpf_preempt_disable: NOTHING,
  bpf_preempt_enable: NOTHING,
  bpf_local_irq_save: kfn('p', 'void', ({ memory, valid }) => (flags) => {
    if (valid(flags, 8)) memory.writeHalves(flags, IRQ_ENABLED, 0);
  }),
  bpf_local_irq_restore: NOTHING,
  bpf_res_spin_lock: kfn('p', 's32', (ctx) => (lock) => takeLock(ctx, lock)),
  bpf_res_spin_unlock: kfn('p', 'void', (ctx) => (lock) => leaveLock(ctx, lock)),
  bpf_res_spin_lock_irqsave: kfn('pp', 's32', (ctx) => (lock, flags) => {
    const refused = takeLock(ctx, lock);
    if (refused === 0 && ctx.valid(flags, 8)) ctx.memory.writeHalves(flags, IRQ_ENABLED, 0);
    return refused;
  }),
  bpf_res_spin_unlock_irqrestore: kfn('p', 'void', (ctx) => (lock) => leaveLock(ctx, lock)),
  bpf_cast_to_kern_ctx: kfn('p', 'ptr', () => (ctx) => ctx),
  bpf_rdonly_cast: kfn(
    'q',
    'u64',
    ({ returnHalves }) =>
      (low, high) =>
        returnHalves(low, high),
  ),
  bpf_map_sum_elem_count: kfn('p', 'u64', ({ env, returnU64 }) => (header) => {
    returnU64(BigInt(env.mapByAddress(header)?.count() ?? 0));
  }),
};
