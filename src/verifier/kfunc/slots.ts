/** Where in the stack an iterator or a saved interrupt flag lies. Kernel 6.18: stack_slot_obj_get_spi. */
import type { Env } from '../env.ts';
import type { Reg } from '../registers.ts';
import { EMPTY_SLOT, type Slot, slotIndex } from '../state.ts';

/** Index of the first (highest) slot; 'range': outside of the stack allocated so far; 'invalid': the log says why. */
export function objectSlot(env: Env, reg: Reg, what: string, count: number): number | 'invalid' | 'range' {
  if (reg.v.tnum.mask !== 0n) {
    env.verbose(`${what} has to be at a constant offset\n`);
    return 'invalid';
  }
  const off = reg.off + Number(BigInt.asIntN(64, reg.v.tnum.value));
  const spi = slotIndex(off);
  if (off % 8 !== 0 || spi + 1 < count) {
    env.verbose(`cannot pass in ${what} at an offset=${off}\n`);
    return 'invalid';
  }
  const { stack } = env.frameOf(reg);
  return spi - count + 1 >= 0 && spi < stack.length ? spi : 'range';
}

/** Puts what `slot` makes (by its index from 0) into the slots, or clears them. */
export function setSlots(
  env: Env,
  frameno: number,
  spi: number,
  count: number,
  slot: (i: number) => Slot = () => EMPTY_SLOT,
): void {
  for (let i = 0; i < count; i++) {
    env.cur.setSlot(frameno, spi - i, slot(i));
    env.liveStack.markWrite(frameno, spi - i);
    env.scratched.markSlot(spi - i);
  }
}
