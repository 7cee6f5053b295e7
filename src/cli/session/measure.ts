/** `run --coverage` and `run --profile`: the counts of a session as files, tables and JSON. */
import {
  type CoverageReport,
  coverageReport,
  ExecutionCounter,
  foldedStacks,
  lcovText,
  type Profile,
  profile,
  type Share,
} from '../../debug/index.ts';
import { utf8 } from '../../util/bytes.ts';
import { UsageError } from '../errors.ts';
import { writeFile } from '../files.ts';
import { grouped, type Output } from '../output.ts';

export interface MeasureOptions {
  /** A trace file for lcov. */
  readonly coverage?: string;
  readonly profile?: boolean;
  /** Stacks for flame graphs. */
  readonly folded?: string;
}

/** Lines of a profile that people are shown. */
const HOTTEST = 10;

/** Undefined where nothing is measured. Throws UsageError where the programs would run unseen. */
export function openMeasurement(
  options: MeasureOptions & { readonly kernel?: string; readonly engine?: string },
): Measurement | undefined {
  const asked = (['coverage', 'profile', 'folded'] as const).filter((name) => options[name] !== undefined);
  if (asked.length === 0) return undefined;
  const flags = asked.map((name) => `--${name}`).join(' and ');
  if (options.kernel === 'host')
    throw new UsageError(
      `${flags}: the programs of the host kernel run where nobody can count`,
      'leave out --kernel host: the embedded kernel counts every instruction',
    );
  if (options.engine === 'jit')
    throw new UsageError(`${flags}: compiled programs are not counted`, 'leave out --engine jit');
  return new Measurement(options);
}

export class Measurement {
  readonly observer = new ExecutionCounter();
  readonly #options: MeasureOptions;

  constructor(options: MeasureOptions) {
    this.#options = options;
  }

  /** Writes the files that were asked for. `testName`: of the lcov record. */
  write(testName: string): void {
    const { coverage, folded } = this.#options;
    if (coverage !== undefined) writeFile(coverage, utf8(lcovText(coverageReport(this.observer), testName)));
    if (folded !== undefined) writeFile(folded, utf8(foldedStacks(profile(this.observer))));
  }

  print(out: Output): void {
    const { coverage, profile: profiled } = this.#options;
    if (coverage !== undefined) printCoverage(out, coverageReport(this.observer), coverage);
    if (profiled) printProfile(out, profile(this.observer));
  }

  json(): Record<string, unknown> {
    return {
      coverage: this.#options.coverage === undefined ? undefined : coverageReport(this.observer),
      profile: this.#options.profile ? profile(this.observer) : undefined,
    };
  }
}

function percent({ found, hit }: Share): string {
  return found === 0 ? '-' : `${((100 * hit) / found).toFixed(1)} %`;
}

const counts = (share: Share): string[] => [percent(share), `${grouped(share.hit)}/${grouped(share.found)}`];

function shareOf(numbers: readonly number[]): Share {
  return { found: numbers.length, hit: numbers.filter((count) => count > 0).length };
}

function printCoverage(out: Output, report: CoverageReport, path: string): void {
  out.heading('coverage');
  const rows = report.files.map((file) => [
    file.file,
    ...counts(shareOf(file.lines.map(({ count }) => count))),
    ...counts(shareOf(file.functions.map(({ count }) => count))),
    ...counts(shareOf(file.branches.flatMap(({ taken, notTaken }) => [taken, notTaken]))),
  ]);
  const right = (title: string) => ({ title, align: 'right' as const });
  const titles = [right('lines'), right(''), right('functions'), right(''), right('branches'), right('')];
  if (rows.length > 0) out.table([{ title: 'file' }, ...titles], rows);
  out.table(
    [{ title: 'program' }, right('instructions'), right('')],
    report.programs.map(({ name, instructions }) => [name, ...counts(instructions)]),
  );
  for (const { name, hasLines } of report.programs)
    if (!hasLines) out.note(`'${name}' came without line information: build it with -g`);
  out.line(out.color.dim(`lcov: ${path}`));
}

function printProfile(out: Output, result: Profile): void {
  out.heading(`profile: ${grouped(result.instructions)} instructions`);
  const right = (title: string) => ({ title, align: 'right' as const });
  const part = (share: number) => `${(share * 100).toFixed(1)} %`;
  out.table(
    [{ title: 'function' }, { title: 'program' }, right('calls'), right('instructions'), right('share')],
    result.functions.map(({ name, program, calls, instructions, share }) => [
      name,
      program,
      grouped(calls),
      grouped(instructions),
      part(share),
    ]),
  );
  if (result.lines.length === 0) return;
  out.table(
    [right('instructions'), right('share'), { title: 'line' }, { title: '' }],
    result.lines
      .slice(0, HOTTEST)
      .map(({ file, line, text, instructions, share }) => [
        grouped(instructions),
        part(share),
        `${file.replace(/^.*\//, '')}:${line}`,
        text,
      ]),
  );
}
