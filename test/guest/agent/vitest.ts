/**
 * The part of vitest's interface that test files use, for a machine without vitest: the bundle for the guest puts this
 * module in its place. Cases run one after the other in the order they were written; `expect` is vitest's own.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  GLOBAL_EXPECT,
  getState,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from '@vitest/expect';
import type { GuestResult } from '../protocol.ts';

type Body = (context: Context) => unknown;
type Hook = () => unknown;

interface Context {
  /** Ends the case: it is reported as skipped. */
  skip(reason?: string): never;
}

interface Options {
  readonly timeout?: number;
}

interface Case {
  readonly name: string;
  readonly body: Body;
  readonly timeout: number | undefined;
  readonly skipped: boolean;
}

interface Group {
  readonly name: string;
  readonly parent: Group | null;
  readonly skipped: boolean;
  readonly children: (Case | Group)[];
  readonly beforeAll: Hook[];
  readonly afterAll: Hook[];
  readonly beforeEach: Hook[];
  readonly afterEach: Hook[];
}

class Skip extends Error {}

function group(name: string, parent: Group | null, skipped: boolean): Group {
  return { name, parent, skipped, children: [], beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] };
}

const root = group('', null, false);
let current = root;

/** `%s`, `%i` and the like of titles of tables, in order; `$name` is taken from a row that is an object. */
function title(template: string, row: readonly unknown[]): string {
  let next = 0;
  const first = row[0];
  return template
    .replace(/%[sdifjo#]/g, (mark) => (next < row.length ? text(row[next++]) : mark))
    .replace(/\$(\w+)/g, (mark, name: string) =>
      typeof first === 'object' && first !== null && name in first
        ? text((first as Record<string, unknown>)[name])
        : mark,
    );
}

const text = (value: unknown): string =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);

const rows = (table: readonly unknown[]): (readonly unknown[])[] =>
  table.map((row) => (Array.isArray(row) ? row : [row]));

function addGroup(name: string, body: () => void, skipped: boolean): void {
  const made = group(name, current, skipped || current.skipped);
  current.children.push(made);
  const before = current;
  current = made;
  try {
    body();
  } finally {
    current = before;
  }
}

function addCase(name: string, second: Options | Body, third: Body | number | undefined, skipped: boolean) {
  const body = typeof second === 'function' ? second : (third as Body);
  const timeout = typeof second === 'function' ? (third as number | undefined) : second.timeout;
  current.children.push({ name, body, timeout, skipped });
}

type AddCase = (name: string, second: Options | Body, third?: Body | number) => void;

function groups(skipped: boolean) {
  return Object.assign((name: string, body: () => void) => addGroup(name, body, skipped), {
    each: (table: readonly unknown[]) => (name: string, body: (...row: unknown[]) => void) => {
      for (const row of rows(table)) addGroup(title(name, row), () => body(...row), skipped);
    },
  });
}

function cases(skipped: boolean) {
  const add: AddCase = (name, second, third) => addCase(name, second, third, skipped);
  return Object.assign(add, {
    /** As `each`, the row as one argument, with the context behind it. */
    for:
      (table: readonly unknown[]) =>
      (name: string, body: (row: unknown, context: Context) => unknown, timeout?: number) => {
        for (const row of table) {
          add(title(name, Array.isArray(row) ? row : [row]), (context) => body(row, context), timeout);
        }
      },
    each:
      (table: readonly unknown[]) =>
      (name: string, body: (...row: unknown[]) => unknown, timeout?: number) => {
        for (const row of rows(table)) add(title(name, row), () => body(...row), timeout);
      },
  });
}

export const describe = Object.assign(groups(false), {
  skip: groups(true),
  skipIf: (condition: unknown) => groups(Boolean(condition)),
  runIf: (condition: unknown) => groups(!condition),
});

export const it = Object.assign(cases(false), {
  skip: cases(true),
  skipIf: (condition: unknown) => cases(Boolean(condition)),
  runIf: (condition: unknown) => cases(!condition),
});

export const test = it;

export const beforeAll = (hook: Hook): void => void current.beforeAll.push(hook);
export const afterAll = (hook: Hook): void => void current.afterAll.push(hook);
export const beforeEach = (hook: Hook): void => void current.beforeEach.push(hook);
export const afterEach = (hook: Hook): void => void current.afterEach.push(hook);

function makeExpect(): unknown {
  chai.use(JestExtend);
  chai.use(JestChaiExpect);
  chai.use(JestAsymmetricMatchers);
  const made = Object.assign((value: unknown, message?: string) => chai.expect(value, message), chai.expect, {
    getState: () => getState(made as never),
    setState: (state: object) => setState(state, made as never),
    ...(globalThis as unknown as Record<symbol, object>)[ASYMMETRIC_MATCHERS_OBJECT],
  });
  (globalThis as unknown as Record<symbol, unknown>)[GLOBAL_EXPECT] = made;
  setState(
    { assertionCalls: 0, isExpectingAssertions: false, isExpectingAssertionsError: null } as never,
    made as never,
  );
  return made;
}

export const expect = makeExpect();

const differences = new Map<string, string>();

/**
 * Cases (by full name) that this kernel rightly fails, with the reason: they are reported as skipped, and as failed when
 * they pass.
 */
export function knownDifferences(reasons: Readonly<Record<string, string>>): void {
  for (const [name, reason] of Object.entries(reasons)) differences.set(name, reason);
}

async function inTime(what: string, timeout: number, action: () => unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${timeout} ms`)), timeout);
  });
  try {
    await Promise.race([(async () => action())(), late]);
  } finally {
    clearTimeout(timer);
  }
}

const describeError = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const { expected, actual } = error as { expected?: unknown; actual?: unknown };
  const compared =
    expected === undefined && actual === undefined
      ? ''
      : `\nexpected: ${inspect(expected)}\nactual: ${inspect(actual)}`;
  const stack = error.stack ?? '';
  return (stack.includes(error.message) ? stack : `${error.message}\n${stack}`) + compared;
};

const inspect = (value: unknown): string => {
  try {
    return (
      typeof value === 'string'
        ? value
        : JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v))
    ).slice(0, 4000);
  } catch {
    return String(value);
  }
};

export interface RunOptions {
  /** Cases whose full name does not match are left out. */
  readonly only?: RegExp;
  /** Milliseconds for a case or a hook that names none. */
  readonly timeout: number;
  onStart(name: string): void;
  onResult(result: GuestResult): void;
}

const fullName = (at: Group, name: string): string =>
  at.parent === null ? name : fullName(at.parent, at.name === '' ? name : `${at.name} > ${name}`);

const chain = (at: Group | null): Group[] => (at === null ? [] : [...chain(at.parent), at]);

/** The program that could not be started because there is none. */
function missingProgram(error: unknown): string | null {
  const { code, syscall } = (error ?? {}) as { code?: unknown; syscall?: unknown };
  return code === 'ENOENT' ? (/^spawn(?:Sync)? (\S+)/.exec(String(syscall))?.[1] ?? null) : null;
}

async function runCase(at: Group, one: Case, options: RunOptions): Promise<void> {
  const name = fullName(at, one.name);
  if (options.only !== undefined && !options.only.test(name)) return;
  if (one.skipped || at.skipped) {
    options.onResult({ name, state: 'skip', time: 0 });
    return;
  }
  options.onStart(name);
  const timeout = one.timeout ?? options.timeout;
  const start = performance.now();
  const context: Context = {
    skip: (reason) => {
      throw new Skip(reason ?? '');
    },
  };
  let failure: unknown = null;
  const attempt = async (what: string, action: () => unknown): Promise<boolean> => {
    try {
      await inTime(what, timeout, action);
      return true;
    } catch (error) {
      failure ??= error;
      return false;
    }
  };
  const groupsAround = chain(at);
  let ready = true;
  for (const around of groupsAround) {
    for (const hook of around.beforeEach) ready = ready && (await attempt('beforeEach', hook));
  }
  if (ready) await attempt('the case', () => one.body(context));
  for (const around of groupsAround.reverse()) {
    for (const hook of [...around.afterEach].reverse()) await attempt('afterEach', hook);
  }
  const time = Math.round(performance.now() - start);
  const difference = differences.get(name);
  if (difference !== undefined && !(failure instanceof Skip)) {
    if (failure !== null)
      options.onResult({ name, state: 'skip', time, message: `differs here: ${difference}` });
    else
      options.onResult({
        name,
        state: 'fail',
        time,
        message: `passes, but is noted to differ: ${difference}`,
      });
    return;
  }
  const missing = missingProgram(failure);
  if (missing !== null) failure = new Skip(`the guest has no ${missing}`);
  if (failure === null) options.onResult({ name, state: 'pass', time });
  else if (failure instanceof Skip) options.onResult({ name, state: 'skip', time, message: failure.message });
  else options.onResult({ name, state: 'fail', time, message: describeError(failure) });
}

async function runGroup(at: Group, options: RunOptions): Promise<void> {
  const hooks = async (what: string, list: readonly Hook[]): Promise<boolean> => {
    for (const hook of list) {
      try {
        await inTime(what, options.timeout, hook);
      } catch (error) {
        options.onResult({ name: fullName(at, what), state: 'fail', time: 0, message: describeError(error) });
        return false;
      }
    }
    return true;
  };
  if (at.skipped || (await hooks('beforeAll', at.beforeAll))) {
    for (const child of at.children) {
      if ('children' in child) await runGroup(child, options);
      else await runCase(at, child, options);
    }
  }
  if (!at.skipped) await hooks('afterAll', [...at.afterAll].reverse());
}

/** Runs everything that the imported files have described. */
export function runAll(options: RunOptions): Promise<void> {
  return runGroup(root, options);
}
