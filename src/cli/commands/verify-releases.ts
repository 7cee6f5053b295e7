/**
 * `tsbpf verify --release 5.15,6.1,6.18`: on which releases of Linux each program of an object loads, and what the others lack. Each
 * release is an embedded kernel of its own, so the loader adapts the object to it as it would to the real one.
 */
import Table from 'cli-table3';
import { InvalidArgumentError, Option } from 'commander';
import { LONG_TERM_RELEASES, NEWEST_RELEASE, OLDEST_RELEASE, releaseOrder } from '../../spec/index.ts';
import { BpfError, UnsupportedFeatureError, VerifierError } from '../../util/errors.ts';
import { type CommandContext, readTarget, type TargetOptions } from '../command.ts';
import { EXIT } from '../errors.ts';
import { headline } from '../explain/text.ts';
import { openObject } from '../files.ts';
import { toJson } from '../json.ts';
import { loadObject } from '../load.ts';
import { plural } from '../output.ts';

export interface ReleaseOptions extends TargetOptions {
  readonly release: readonly string[];
  readonly json?: boolean;
  readonly format?: string;
  readonly kernel?: string;
  readonly program?: readonly string[];
  readonly progType?: string;
}

/** Whether one program loads on one release. */
interface ReleaseVerdict {
  readonly release: string;
  readonly loads: boolean;
  /** `helper bpf_loop since 5.17`, or what the verifier says. */
  readonly reason?: string;
  readonly errno?: string;
  /** What the release lacks, and the first that has it. */
  readonly needs?: { readonly what: string; readonly since: string };
}

interface ProgramReleases {
  readonly name: string;
  readonly section: string;
  readonly releases: readonly ReleaseVerdict[];
}

function parseReleases(text: string): string[] {
  const names = text === 'all' ? [...LONG_TERM_RELEASES] : text.split(',').map((name) => name.trim());
  for (const name of names) {
    let order: number;
    try {
      order = releaseOrder(name);
    } catch (error) {
      if (error instanceof BpfError) throw new InvalidArgumentError(error.message);
      throw error;
    }
    if (order < releaseOrder(OLDEST_RELEASE) || order > releaseOrder(NEWEST_RELEASE)) {
      throw new InvalidArgumentError(
        `Releases from ${OLDEST_RELEASE} to ${NEWEST_RELEASE} are known, not ${name}.`,
      );
    }
  }
  return [...new Set(names)];
}

export function releaseOption(): Option {
  return new Option(
    '--release <list>',
    `on which releases of Linux each program loads: 5.15,6.1,6.18, or all (${LONG_TERM_RELEASES.join(', ')})`,
  ).argParser(parseReleases);
}

function verdictOf(release: string, error: unknown): ReleaseVerdict {
  if (error === undefined) return { release, loads: true };
  // Anything else says nothing of the program.
  if (!(error instanceof BpfError)) throw error;
  const needs = neededBy(error);
  return {
    release,
    loads: false,
    reason: needs === undefined ? sentenceOf(error) : `${needs.what} since ${needs.since}`,
    errno: error.code,
    ...(needs === undefined ? {} : { needs }),
  };
}

function sentenceOf(error: BpfError): string {
  return headline(error.message, error instanceof VerifierError ? error.insn : undefined);
}

/** What a refusal, or what it was caused by, is said to need. */
function neededBy(error: unknown): ReleaseVerdict['needs'] {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    if (at instanceof UnsupportedFeatureError) return { what: at.feature, since: at.since };
    if (at instanceof VerifierError && at.needs !== undefined) return at.needs;
  }
  return undefined;
}

/** With one CPU its number would be known, and programs pass that other machines refuse. */
const CPUS = 2;

/** Exit code 1 where some program does not load on some of the releases. */
export async function verifyReleases(
  { env, out }: CommandContext,
  file: string,
  options: ReleaseOptions,
): Promise<number> {
  if (options.kernel === 'host') {
    throw new BpfError('EINVAL', 'the host kernel has the release that it has', {
      hint: 'leave out --release, or take --kernel embedded',
    });
  }
  const programs = new Map<string, { section: string; releases: ReleaseVerdict[] }>();
  const target = readTarget(options);
  for (const release of options.release) {
    // Loading adapts an object to a kernel: each gets its own.
    const object = openObject(file);
    const names = new Set((options.program ?? []).map((name) => object.findProgram(name).name));
    for (const program of object.programs) program.autoload = names.size === 0 || names.has(program.name);
    const verdict = (name: string, section: string, error: unknown): void => {
      const row = programs.get(name) ?? { section, releases: [] };
      programs.set(name, row);
      row.releases.push(verdictOf(release, error));
    };
    const selected = object.programs.filter((program) => program.autoload);
    try {
      const loaded = await loadObject(env, object, {
        strict: false,
        cpus: CPUS,
        release,
        ...(options.progType === undefined ? {} : { type: options.progType }),
        ...target,
      });
      for (const { program, error } of loaded.reports) verdict(program.name, program.spec.section, error);
      loaded.close();
    } catch (error) {
      // A map or the object's types: no program loads without them.
      if (!(error instanceof BpfError)) throw error;
      for (const program of selected) verdict(program.name, program.spec.section, error);
    }
  }
  const rows = [...programs].map(([name, row]): ProgramReleases => ({ name, ...row }));
  if (options.json === true || options.format === 'json') {
    out.line(toJson({ version: 1, file, releases: options.release, programs: rows }, 2));
  } else print(out, file, options.release, rows);
  return rows.some((row) => row.releases.some(({ loads }) => !loads)) ? EXIT.failed : EXIT.ok;
}

function print(
  out: CommandContext['out'],
  file: string,
  releases: readonly string[],
  rows: readonly ProgramReleases[],
): void {
  if (rows.length === 0) {
    out.note(`${file} has no programs`);
    return;
  }
  const { color } = out;
  const table = new Table({ head: ['program', ...releases], style: { head: [], border: [] } });
  for (const row of rows) {
    table.push([
      row.name,
      ...row.releases.map(({ loads }) => (loads ? color.green('yes') : color.red('no'))),
    ]);
  }
  out.line(table.toString());
  for (const row of rows) {
    const reasons = new Map<string, string[]>();
    for (const { release, reason } of row.releases) {
      if (reason !== undefined) reasons.set(reason, [...(reasons.get(reason) ?? []), release]);
    }
    for (const [reason, on] of reasons) out.line(`${row.name} on ${on.join(', ')}: ${reason}`);
  }
  const everywhere = rows.filter((row) => row.releases.every(({ loads }) => loads)).length;
  out.line(color.dim(`${plural(rows.length, 'program')}, ${everywhere} on every release asked for`));
}
