/** IR to BPF instructions. */

import type { Func } from '../ir/index.ts';
import { type CompiledFunction, finish } from './finish.ts';
import { layoutFrame, STACK_LIMIT } from './frame.ts';
import { type Complain, selectInstructions } from './isel.ts';
import { removeDead } from './liveness.ts';
import { allocateRegisters } from './regalloc.ts';

export type { CompiledFunction } from './finish.ts';
export type { Complain } from './isel.ts';
export type { SymbolRef } from './mir.ts';

/** Compiles a legal function (see `passes/legalize.ts`). Undefined after an error that was reported. */
export function generate(func: Func, cpu: number, complain: Complain): CompiledFunction | undefined {
  const machine = selectInstructions(func, { cpu }, complain);
  removeDead(machine);
  if (!allocateRegisters(machine)) {
    complain('out-of-registers', `ran out of registers in function '${func.name}'`, func.loc);
    return undefined;
  }
  const frame = layoutFrame(func, machine.slots);
  if (frame > STACK_LIMIT) {
    complain(
      'stack-limit',
      `stack frame size (${frame}) exceeds limit (${STACK_LIMIT}) in function '${func.name}'`,
      func.loc,
    );
    return undefined;
  }
  return finish(machine, cpu, frame, complain);
}
