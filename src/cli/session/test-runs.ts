/** Programs without input: PROG_TEST_RUN on given data, or on zeros. */
import type { ProgTestRunAttr, ProgTestRunResult } from '../../contracts/test-run.ts';
import { BpfError } from '../../util/errors.ts';
import type { Placement } from './attach.ts';
import type { Results } from './packets.ts';

/** Bytes of the packet of zeros. */
const PACKET_SIZE = 64;

export interface TestRunRequest {
  readonly data?: Uint8Array;
  readonly repeat: number;
  readonly note: (text: string) => void;
}

/** Throws BpfError where no program could be run with what it was given. */
export function testRunAll(
  placements: readonly Placement[],
  results: Results,
  request: TestRunRequest,
): void {
  let ran = 0;
  let refused: BpfError | undefined;
  for (const placement of placements) {
    const { program, type, place } = placement;
    if (place === 'none' && type?.testRun === undefined) continue;
    const input = inputFor(type?.testRun, request.data);
    if (input === undefined) {
      request.note(`'${program.name}' waits for events: give them with --replay`);
      continue;
    }
    try {
      const { retval } = testRunRepeatedly(
        (attr) => program.testRun(attr),
        type?.testRun,
        input,
        request.repeat,
      );
      results.get(placement)!.set(`returned ${retval | 0}`, request.repeat);
      ran++;
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      request.note(`'${program.name}' was not run: ${error.message}`);
      refused = error;
    }
  }
  if (ran === 0 && refused !== undefined) throw refused;
  if (ran > 0 && request.data === undefined) request.note('no input was given: packets are 64 zero bytes');
}

/** Programs that take a context alone are repeated from here: the kernel takes no repeat count for them. */
export function testRunRepeatedly(
  testRun: (attr: Omit<ProgTestRunAttr, 'progFd'>) => ProgTestRunResult,
  kind: string | undefined,
  input: Omit<ProgTestRunAttr, 'progFd' | 'repeat'>,
  repeat: number,
): ProgTestRunResult {
  if (kind === 'packet') return testRun({ ...input, repeat });
  let result = testRun(input);
  let total = result.duration;
  for (let i = 1; i < repeat; i++) {
    result = testRun(input);
    total += result.duration;
  }
  return { ...result, duration: Math.round(total / Math.max(repeat, 1)) };
}

function inputFor(kind: string | undefined, data: Uint8Array | undefined): object | undefined {
  if (kind === 'packet') return { dataIn: data ?? new Uint8Array(PACKET_SIZE) };
  if (kind === 'ctx') return { ctxIn: data ?? new Uint8Array() };
  return undefined;
}
