/**
 * The explanation of a refusal, from whoever has one: the verifier that refused; where that is another kernel's, which only has a
 * log, this package's verifier over the same program; else the log itself.
 */
import { sharedBtf } from '../../btf/index.ts';
import { BpfObject } from '../../libbpf/index.ts';
import { errnoName } from '../../util/errno.ts';
import { BpfError, VerifierError } from '../../util/errors.ts';
import type { Explanation } from '../../util/explanation.ts';
import type { CliEnv } from '../environment.ts';
import { type LoadedObject, type LoadRequest, loadObject, type ProgramReport } from '../load.ts';
import { fixFor } from './fixes.ts';

export interface Explained {
  readonly explanation: Explanation | undefined;
  /** Looks for an input that goes wrong; undefined where there is nobody to ask. */
  readonly findInput?: VerifierError['findInput'];
  /** What a person should know about where it comes from. */
  readonly note?: string;
}

/** Undefined for errors that are no refusals by a verifier. */
export function explanationOf(error: unknown): Explanation | undefined {
  if (!(error instanceof VerifierError)) return undefined;
  return error.explain?.() ?? fromLog(error);
}

/** What a log alone tells: the reason in the kernel's words, and what is to be done about its kind. */
function fromLog(error: VerifierError): Explanation {
  const { source, registers, insn, kind } = error;
  return {
    version: 1,
    origin: 'log',
    kind: kind ?? 'unknown',
    title: 'refused',
    errno: errnoName(error.errno),
    message: error.message,
    asked: '',
    why: error.message,
    needed: '',
    fix: { text: error.hint ?? fixFor(kind) },
    ...(insn < 0 ? {} : { place: { insn, text: '', ...(source === undefined ? {} : { source }) } }),
    registers: registers.map(({ register, state }) => ({ register, state, type: '' })),
    reason: {},
    path: [],
  };
}

/** Loads the object once more, into an embedded kernel, and gives the errors of its programs by name. */
async function replay(
  env: CliEnv,
  original: LoadedObject,
  request: LoadRequest,
): Promise<ReadonlyMap<string, unknown>> {
  const { object, kernel } = original;
  const again = new BpfObject(object.spec);
  for (const program of again.programs) program.autoload = object.findProgram(program.name).autoload;
  const bytes = kernel.kernelBtf();
  const loaded = await loadObject(env, again, {
    ...(bytes === null ? {} : { kernelBtf: sharedBtf(bytes) }),
    ...request,
    kernel: 'embedded',
    strict: false,
  });
  try {
    return new Map(loaded.reports.map(({ program, error }) => [program.name, error]));
  } finally {
    loaded.close();
  }
}

/** Explanations of all programs that were refused; other kernels' refusals are replayed. */
export async function explainAll(
  env: CliEnv,
  loaded: LoadedObject,
  request: LoadRequest,
): Promise<ReadonlyMap<ProgramReport, Explained>> {
  const { reports } = loaded;
  const out = new Map<ProgramReport, Explained>();
  const foreign = reports.filter(
    ({ error }) => error instanceof VerifierError && error.explain === undefined,
  );
  for (const report of reports)
    if (report.error !== undefined)
      out.set(report, {
        explanation: explanationOf(report.error),
        findInput: report.error instanceof VerifierError ? report.error.findInput : undefined,
      });
  if (foreign.length === 0) return out;
  let replayed: ReadonlyMap<string, unknown>;
  try {
    replayed = await replay(env, loaded, request);
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    for (const report of foreign)
      out.set(report, {
        ...out.get(report)!,
        note: `it could not be replayed by this package's verifier: ${error.message}`,
      });
    return out;
  }
  for (const report of foreign)
    out.set(report, judge(report, replayed.get(report.program.name), out.get(report)!));
  return out;
}

function judge(report: ProgramReport, ours: unknown, fallback: Explained): Explained {
  const error = report.error as VerifierError;
  if (ours === undefined)
    return {
      ...fallback,
      note: 'the verifier of this package accepts the program: only the log of the kernel explains it',
    };
  const explanation = ours instanceof VerifierError ? ours.explain?.() : undefined;
  if (explanation === undefined) return fallback;
  if (explanation.message !== error.message)
    return {
      ...fallback,
      note: `the verifier of this package refuses it for another reason (${explanation.message}): only the log of the kernel explains it`,
    };
  return {
    explanation: { ...explanation, origin: 'replay' },
    findInput: (ours as VerifierError).findInput,
    note: 'refused by the kernel of this machine; explained by the verifier of this package, which refuses it for the same reason',
  };
}
