/**
 * Traps of compiled code as ProgramFault: which program, subprogram and instruction. The place is read from the stack
 * trace (`wasm://…/tag…:wasm-function[3]:0x1f2`), where the offset is that of the trapping instruction in the module.
 * Invariant: errors of helpers and of the kernel pass through unchanged; only traps and exhausted stacks are turned.
 */
import type { ExecutableProgram } from '../contracts/engine.ts';
import { ProgramFault } from '../util/errors.ts';
import type { CompiledSubprog, TranslatedModule } from './module.ts';
import { insnText } from './text.ts';

export interface FaultSource {
  readonly program: ExecutableProgram;
  readonly compiled: TranslatedModule;
}

/** `wasm-function[N]:0xOFF` with what stands before it on its line, which holds the module's name in V8. */
const FRAME = /^(.*)wasm-function\[(\d+)\](?::(0x[0-9a-f]+))?/;

/** The living programs of one entry table by the tag of their code, so that a trap behind a tail call names the right program. */
export type FaultSources = Map<string, FaultSource[]>;

/** An exhausted stack is no trap but an error of the host: RangeError, in Firefox an InternalError of its own. */
function isStackOverflow(error: unknown): boolean {
  return error instanceof Error && /call stack size|too much recursion/i.test(error.message);
}

export function isTrap(error: unknown): boolean {
  return error instanceof WebAssembly.RuntimeError || isStackOverflow(error);
}

/** The fault that a trap stands for. `own`: the program that was started, where the trace says nothing better. */
export function faultOf(
  error: Error,
  own: FaultSource,
  sources: FaultSources,
  budgetSpent = false,
): ProgramFault {
  const place = findPlace(error, own, sources);
  const { program } = place.source;
  const what = budgetSpent
    ? 'the run has used up its budget of loop rounds and calls'
    : isStackOverflow(error)
      ? 'the call stack is exhausted'
      : error.message;
  const where = place.subprog === undefined ? '' : ` in ${place.subprog.name}`;
  // A check of the budget is an instruction of ours, which nobody has written.
  const text = place.insn < 0 || budgetSpent ? '' : `: ${insnText(program, place.insn)}`;
  const at = place.insn < 0 ? '' : ` at instruction ${place.insn}${text}`;
  return new ProgramFault(`${what}${where}${at}`, {
    program: program.name,
    insn: place.insn < 0 ? -1 : (program.origin[place.insn] ?? place.insn),
    code: program,
    cause: error,
    reason: budgetSpent ? 'budget' : 'access',
  });
}

interface Place {
  readonly source: FaultSource;
  readonly subprog: CompiledSubprog | undefined;
  /** Index in the executable program, -1 where it is not known. */
  readonly insn: number;
}

function findPlace(error: Error, own: FaultSource, sources: FaultSources): Place {
  for (const line of (error.stack ?? '').split('\n')) {
    const match = FRAME.exec(line);
    if (match === null) continue;
    // V8 names the module: one without a tag of ours is that of the maps. Other hosts do not, so the first one counts.
    const module = /wasm:\/\/wasm\/(\w+)/.exec(match[1]!)?.[1];
    const same = module === undefined ? [own] : (sources.get(module) ?? []);
    // Programs with the same code cannot be told apart behind a tail call.
    const source = same.includes(own) ? own : same[0];
    if (source === undefined) continue;
    const subprog = source.compiled.functions.find((f) => f.index === Number(match[2]));
    if (subprog === undefined) continue;
    const insn = match[3] === undefined ? -1 : insnAt(subprog, Number(match[3]));
    return { source, subprog: subprogOf(source, insn) ?? subprog, insn };
  }
  return { source: own, subprog: undefined, insn: -1 };
}

/** The subprogram that an instruction belongs to, which may stand in the code of its caller. */
function subprogOf({ program, compiled }: FaultSource, insn: number): CompiledSubprog | undefined {
  return compiled.functions[program.subprogs.findIndex(({ start, end }) => insn >= start && insn < end)];
}

/** The instruction whose code holds the byte at `offset` of the module. */
function insnAt(subprog: CompiledSubprog, offset: number): number {
  const { offsets, insns } = subprog.marks;
  const at = offset - subprog.offset;
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (offsets[mid]! <= at) low = mid + 1;
    else high = mid;
  }
  return low === 0 ? -1 : insns[low - 1]!;
}
