/**
 * What the compiler has to say: errors, warnings and the notes under them, collected in a sink that knows about `-W` options, the
 * limit of errors, and `#pragma GCC diagnostic`. Printing is `print.ts`.
 */
import { type Location, NO_LOCATION, type SourceRange } from './location.ts';
import type { SourceManager } from './manager.ts';

export type Severity = 'note' | 'warning' | 'error' | 'fatal';

/** Replace the tokens of `range` by `text`; an empty `range.end` (0) inserts before `range.begin`. */
export interface FixIt {
  readonly range: SourceRange;
  readonly text: string;
}

export interface Note {
  readonly message: string;
  readonly location: Location;
  readonly ranges?: readonly SourceRange[];
  readonly fixits?: readonly FixIt[];
}

export interface Diagnostic {
  readonly severity: Severity;
  /**
   * What it is, stable for tests and editors: for warnings the name of the `-W` option that turns it on and off
   * (`unused-variable`, as clang names them), for errors a word of our own (`undeclared-identifier`).
   */
  readonly code: string;
  /** The `-W` option behind it, where there is one; `upgraded`: `-Werror` made an error of the warning. */
  readonly flag: string | null;
  readonly upgraded: boolean;
  /** Without position and severity, as clang words it where clang has it: `use of undeclared identifier 'x'`. */
  readonly message: string;
  readonly location: Location;
  readonly ranges: readonly SourceRange[];
  readonly notes: readonly Note[];
  readonly fixits: readonly FixIt[];
}

export interface DiagnosticDetails {
  readonly ranges?: readonly SourceRange[];
  readonly notes?: readonly Note[];
  readonly fixits?: readonly FixIt[];
}

export interface DiagnosticOptions {
  /** Errors after which nothing more is reported; 0: no limit. clang: -ferror-limit, default 20. */
  readonly errorLimit?: number;
  /** `-w` */
  readonly noWarnings?: boolean;
  /** What stood behind `-W`, in order: `all`, `no-unused-variable`, `error`, `error=unused-variable`, `no-error`. */
  readonly warnings?: readonly string[];
}

/** Warnings that are off until `-Wall`, `-Wextra` or their own name turns them on. */
const GROUPS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    all: [
      'unused-variable',
      'unused-function',
      'unused-label',
      'unused-but-set-variable',
      'uninitialized',
      'tautological-overlap-compare',
      'tautological-bitwise-compare',
      'bitwise-op-parentheses',
      'logical-op-parentheses',
      'sometimes-uninitialized',
      'parentheses',
      'missing-braces',
      'switch',
      'unknown-pragmas',
      'self-assign',
      'misleading-indentation',
    ],
    parentheses: [
      'parentheses',
      'logical-op-parentheses',
      'bitwise-op-parentheses',
      'shift-op-parentheses',
      'parentheses-equality',
    ],
    extra: ['unused-parameter', 'sign-compare', 'missing-field-initializers'],
    unused: ['unused-variable', 'unused-function', 'unused-label', 'unused-but-set-variable', 'unused-value'],
    pedantic: ['empty-translation-unit', 'gnu-statement-expression', 'macro-redefined'],
    implicit: ['implicit-function-declaration', 'implicit-int'],
    conversion: ['sign-conversion', 'shorten-64-to-32', 'implicit-int-conversion'],
  }),
);
/** Off until turned on: the members of these groups. */
const DEFAULT_OFF: ReadonlySet<string> = new Set(
  ['all', 'extra', 'conversion']
    .flatMap((group) => GROUPS.get(group) ?? [])
    .concat(
      'pedantic',
      'c99-compat',
      'undef',
      'unused-macros',
      'gnu-statement-expression',
      'shadow',
      'expansion-to-defined',
    )
    .filter((name) => name !== 'parentheses' && name !== 'switch'),
);

/** Reported as warnings, shown as errors unless turned down: what C99 and later forbid, as clang has it. */
const DEFAULT_ERROR: ReadonlySet<string> = new Set([
  'implicit-function-declaration',
  'implicit-int',
  'int-conversion',
  'incompatible-function-pointer-types',
  'return-mismatch',
]);

/** Reported as errors, yet `-Wno-…` and pragmas govern them: clang's warnings that are errors by default. */
const DEFAULT_ERRORS: ReadonlySet<string> = new Set([
  'int-conversion',
  'incompatible-function-pointer-types',
  'implicit-function-declaration',
  'implicit-int',
  'return-mismatch',
]);

type Level = 'ignored' | 'warning' | 'error';

/** Opaque: see `DiagnosticSink.state`. */
export interface DiagnosticState {
  readonly allErrors: boolean;
}

interface Settings extends DiagnosticState {
  readonly levels: ReadonlyMap<string, Level>;
  readonly allErrors: boolean;
}

export class DiagnosticSink {
  readonly sources: SourceManager;
  readonly diagnostics: Diagnostic[] = [];
  errors = 0;
  warnings = 0;
  /** Set after a fatal error or at the limit: readers of tokens get an end of file and finish by themselves. */
  stopped = false;
  private readonly errorLimit: number;
  private readonly noWarnings: boolean;
  private settings: Settings;
  private readonly saved: Settings[] = [];

  constructor(sources: SourceManager, options: DiagnosticOptions = {}) {
    this.sources = sources;
    this.errorLimit = options.errorLimit ?? 20;
    this.noWarnings = options.noWarnings ?? false;
    this.settings = commandLineSettings(options.warnings ?? []);
  }

  error(code: string, message: string, location: Location, details: DiagnosticDetails = {}): void {
    this.report('error', code, message, location, details);
  }

  warning(code: string, message: string, location: Location, details: DiagnosticDetails = {}): void {
    this.report('warning', code, message, location, details);
  }

  /** An error after which going on makes no sense: nothing is reported any more. */
  fatal(code: string, message: string, location: Location, details: DiagnosticDetails = {}): void {
    this.report('fatal', code, message, location, details);
  }

  get hasErrors(): boolean {
    return this.errors > 0;
  }

  report(
    severity: Severity,
    code: string,
    message: string,
    location: Location,
    details: DiagnosticDetails = {},
  ): void {
    if (this.stopped) return;
    let shown = severity;
    if (severity === 'error' && DEFAULT_ERRORS.has(code)) {
      const level = this.settings.levels.get(code);
      if (level === 'ignored') return;
      if (level === 'warning') shown = 'warning';
    }
    let upgraded = false;
    if (severity === 'warning') {
      const level = this.shownLevel(code, location);
      if (level === 'ignored') return;
      if (level === 'error') {
        shown = 'error';
        upgraded = !DEFAULT_ERROR.has(code) || this.settings.levels.has(code);
      }
    }
    this.diagnostics.push({
      severity: shown,
      code,
      flag: severity === 'warning' ? code : null,
      upgraded,
      message,
      location,
      ranges: details.ranges ?? [],
      notes: details.notes ?? [],
      fixits: details.fixits ?? [],
    });
    if (shown === 'warning') this.warnings++;
    if (shown === 'error' || shown === 'fatal') this.errors++;
    if (shown === 'fatal') this.stopped = true;
    else if (shown === 'error' && this.errorLimit > 0 && this.errors >= this.errorLimit) this.stop();
  }

  /** A system header's warnings are not shown, unless they are errors by default. */
  private shownLevel(code: string, location: Location): Level {
    const level = this.level(code);
    if (DEFAULT_ERROR.has(code) && level === 'error') return level;
    return this.noWarnings || this.sources.isSystem(location) ? 'ignored' : level;
  }

  private stop(): void {
    this.diagnostics.push({
      severity: 'fatal',
      code: 'too-many-errors',
      flag: null,
      upgraded: false,
      message: 'too many errors emitted, stopping now [-ferror-limit=]',
      location: NO_LOCATION,
      ranges: [],
      notes: [],
      fixits: [],
    });
    this.errors++;
    this.stopped = true;
  }

  /** Whether a warning of this name would be shown now: for passes that would have to work for it. */
  isEnabled(code: string): boolean {
    return !this.noWarnings && this.level(code) !== 'ignored';
  }

  private level(code: string): Level {
    const own = this.settings.levels.get(code);
    if (own !== undefined) return own === 'warning' && this.settings.allErrors ? 'error' : own;
    if (DEFAULT_ERROR.has(code)) return 'error';
    if (DEFAULT_OFF.has(code)) return 'ignored';
    return this.settings.allErrors ? 'error' : 'warning';
  }

  /**
   * Which warnings are on. The value is never changed, only replaced: a later stage puts back the state that was in
   * force where a statement stood.
   */
  get state(): DiagnosticState {
    return this.settings;
  }

  set state(state: DiagnosticState) {
    this.settings = state as Settings;
  }

  /** `#pragma GCC diagnostic push` and `pop`. False when there is nothing to pop. */
  push(): void {
    this.saved.push(this.settings);
  }

  pop(): boolean {
    const settings = this.saved.pop();
    if (settings === undefined) return false;
    this.settings = settings;
    return true;
  }

  /** `#pragma GCC diagnostic ignored "-Wname"` and its sisters. */
  setLevel(name: string, level: Level): void {
    const levels = new Map(this.settings.levels);
    for (const member of GROUPS.get(name) ?? [name]) levels.set(member, level);
    this.settings = { levels, allErrors: this.settings.allErrors };
  }
}

function commandLineSettings(options: readonly string[]): Settings {
  const levels = new Map<string, Level>();
  let allErrors = false;
  for (const option of options) {
    if (option === 'error') allErrors = true;
    else if (option === 'no-error') allErrors = false;
    else if (option.startsWith('error=')) setAll(levels, option.slice(6), 'error');
    else if (option.startsWith('no-error=')) setAll(levels, option.slice(9), 'warning');
    else if (option.startsWith('no-')) setAll(levels, option.slice(3), 'ignored');
    // What is an error stays one: `-Werror=unused-variable -Wall`.
    else setAll(levels, option, 'warning', true);
  }
  return { levels, allErrors };
}

function setAll(levels: Map<string, Level>, name: string, level: Level, keepsErrors = false): void {
  for (const member of GROUPS.get(name) ?? [name])
    if (!keepsErrors || levels.get(member) !== 'error') levels.set(member, level);
}
