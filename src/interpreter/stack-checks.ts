/** Reads of bytes of the stack that nothing was written to, by instructions and by functions that programs call (`stack-bytes.ts`). */
import { fault } from './fault.ts';
import type { Machine } from './machine.ts';
import type { Decoded, FunctionPlan } from './program.ts';

/** Faults where one of the bytes was never written. */
export function checkWritten(
  m: Machine,
  program: Decoded,
  pc: number,
  at: number,
  size: number,
  what = '',
): void {
  const missing = m.stackBytes!.missing(at, size);
  if (missing < 0) return;
  const below = m.lo[10]! - missing;
  const place = below > 0 ? `R10-${below}` : `${-below} bytes above R10`;
  fault(
    m,
    program,
    pc,
    `${what}read of ${size} bytes of the stack: nothing was written to the byte at ${place}`,
  );
}

/** Before a call: what it reads must have been written. */
export function checkArguments(m: Machine, program: Decoded, pc: number, plan: FunctionPlan): void {
  for (const check of plan.checks) {
    const size = check.size >= 0 ? check.size : m.lo[check.sizeRegister]!;
    if (!check.write && size > 0 && m.upto[check.register] !== 0)
      checkWritten(m, program, pc, m.lo[check.register]!, size, `${plan.name}: `);
  }
}

/** Before a call: what it may write counts as written; of pointers that no rule knows, all that lies behind them. */
export function noteArguments(m: Machine, plan: FunctionPlan): void {
  for (let r = 1; r <= 5; r++) {
    if (m.upto[r] === 0) continue;
    const at = m.lo[r]!;
    const check = plan.checks.find(({ register }) => register === r);
    if (check === undefined) m.stackBytes!.write(at, m.upto[r]! - at);
    else if (check.write) m.stackBytes!.write(at, check.size >= 0 ? check.size : m.lo[check.sizeRegister]!);
  }
}
