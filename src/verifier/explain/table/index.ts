/** The table of reasons: one row for each kind of refusal; a missing one is a compile error. */
import type { RefusalKind } from '../../../contracts/refusal.ts';
import type { Row } from '../row.ts';
import { CALL_ROWS } from './calls.ts';
import { MEMORY_ROWS } from './memory.ts';
import { PROGRAM_ROWS } from './program.ts';
import { STACK_ROWS } from './stack.ts';

export const REASONS: Readonly<Record<RefusalKind, Row>> = {
  ...PROGRAM_ROWS,
  ...STACK_ROWS,
  ...MEMORY_ROWS,
  ...CALL_ROWS,
} satisfies Record<RefusalKind, Row>;
