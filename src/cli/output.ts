/** Where text goes and how it looks: colours only when a person looks, tables, aligned columns. */
import Table from 'cli-table3';
import pc from 'picocolors';
import type { CliEnv, CliSink } from './environment.ts';

export type Colors = ReturnType<typeof pc.createColors>;

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

export class Output {
  readonly color: Colors;
  /** Colours of standard error, which may go elsewhere than standard output. */
  readonly errorColor: Colors;
  /** Progress may be drawn on standard error. */
  readonly interactive: boolean;
  readonly #stdout: CliSink;
  readonly #stderr: CliSink;

  constructor(env: CliEnv, options: { color: boolean }) {
    this.#stdout = env.stdout;
    this.#stderr = env.stderr;
    this.color = pc.createColors(options.color && wantsColor(env, env.stdout));
    this.errorColor = pc.createColors(options.color && wantsColor(env, env.stderr));
    this.interactive = env.stderr.isTTY;
  }

  write(text: string): void {
    this.#stdout.write(harmless(text));
  }

  line(text = ''): void {
    this.write(`${text}\n`);
  }

  errorWrite(text: string): void {
    this.#stderr.write(harmless(text));
  }

  errorLine(text = ''): void {
    this.errorWrite(`${text}\n`);
  }

  /** A remark that is no result: on standard error. */
  note(text: string): void {
    this.errorLine(`${this.errorColor.dim('note:')} ${text}`);
  }

  heading(text: string): void {
    this.line();
    this.line(this.color.bold(text));
  }

  table(columns: readonly Column[], rows: readonly (readonly string[])[]): void {
    const table = new Table({
      head: columns.map(({ title }) => this.color.bold(title)),
      colAligns: columns.map(({ align }) => align ?? 'left'),
      style: { head: [], border: [], compact: true },
    });
    for (const row of rows) table.push([...row]);
    this.line(table.toString());
  }
}

/** https://no-color.org, and FORCE_COLOR as other tools have it. */
function wantsColor(env: CliEnv, sink: CliSink): boolean {
  if (env.variables.NO_COLOR) return false;
  if (env.variables.FORCE_COLOR && env.variables.FORCE_COLOR !== '0') return true;
  return sink.isTTY && env.variables.TERM !== 'dumb';
}

/**
 * What a terminal may be sent: text, newlines, tabs, carriage returns and colours. Names and messages come from files that
 * nobody vouches for; their other control characters are shown as `\\x1b`.
 */
function harmless(text: string): string {
  return text.replace(CONTROLS, (match) =>
    match.length > 1 ? match : `\\x${match.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const CONTROLS = /\u001b\[[\d;]{0,8}m|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

/** 1234567 → 1,234,567 */
export function grouped(value: number | bigint): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ',');
}

export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${grouped(count)} ${count === 1 ? noun : many}`;
}

/** A duration in the unit that suits it. */
export function duration(nanoseconds: number): string {
  if (nanoseconds < 1000) return `${Math.round(nanoseconds)} ns`;
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toPrecision(3)} µs`;
  if (nanoseconds < 1e9) return `${(nanoseconds / 1e6).toPrecision(3)} ms`;
  return `${(nanoseconds / 1e9).toPrecision(3)} s`;
}
