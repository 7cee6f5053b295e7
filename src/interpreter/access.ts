/** Where a load or store goes: the one check of the loop. Small, so that it is inlined wherever it stands. */
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { badAccess } from './fault.ts';
import type { Machine } from './machine.ts';
import type { Decoded } from './program.ts';

/** Offset of the `size` bytes at register r plus the instruction's offset; faults where they are not all in its region. */
export function place(
  m: Machine,
  program: Decoded,
  pc: number,
  verb: 'read' | 'write' | 'atomic access',
  r: number,
  size: number,
): number {
  const a = (m.lo[r]! + program.off[pc]!) | 0;
  if (m.hi[r] !== KERNEL_HI_SIGNED || a < m.from[r]! || a + size > m.upto[r]!)
    badAccess(m, program, pc, verb, r, program.off[pc]!, size);
  return a;
}
