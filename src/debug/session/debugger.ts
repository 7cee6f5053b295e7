/**
 * The debugger: a recording, a place in it, and ways to go on, forwards and backwards. Stepping is by instruction or by C line, into or
 * over calls; breakpoints and watchpoints stop it. No state of the kernel is changed.
 */

import type { CallTarget } from '../../contracts/engine.ts';
import { HEAP_START } from '../../memory/layout.ts';
import { BpfError } from '../../util/errors.ts';
import { bytesOf, truth } from '../expression/evaluate.ts';
import { sizeOf } from '../expression/types.ts';
import type { Recording } from '../recording/recording.ts';
import { Inspector, type Location, type Shown } from './inspect.ts';
import { Walk } from './walk.ts';

export type Direction = 'forward' | 'reverse';

/** Where a breakpoint is. */
export type BreakpointPlace =
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'line'; readonly line: number; readonly file?: string }
  /** Index in the program as loaded. */
  | { readonly kind: 'insn'; readonly insn: number; readonly program?: string }
  /** Calls of a helper or kernel function by name, or tail calls (`bpf_tail_call`); without a name, of any. */
  | { readonly kind: 'call'; readonly name?: string }
  /** Calls that are handed the map, and loads and stores of its values. */
  | { readonly kind: 'map'; readonly name: string };

export interface Breakpoint {
  readonly number: number;
  readonly what: 'breakpoint' | 'watchpoint';
  /** As it was asked for. */
  readonly text: string;
  readonly temporary: boolean;
  /** An expression; it stops only where that is not 0. Set by `setCondition`. */
  readonly condition: string | undefined;
  enabled: boolean;
  /** So many times it is passed by. */
  ignore: number;
  hits: number;
}

type Settable = { -readonly [K in keyof Breakpoint]: Breakpoint[K] };

interface Held extends Settable {
  readonly stops: (step: number) => boolean;
}

interface Watched extends Settable {
  /** Steps at which the value may have changed. */
  readonly may: (step: number) => boolean;
  readonly value: () => Watch;
}

interface Watch {
  /** To compare. */
  readonly bytes: string;
  readonly shown: Shown['value'] | undefined;
}

export interface Stop {
  readonly reason: 'step' | 'breakpoint' | 'watchpoint' | 'end' | 'start' | 'fault' | 'limit';
  readonly location: Location;
  readonly breakpoint?: number;
  /** Of a watchpoint; `before` and `after` in the order of the run, undefined where there was no value. */
  readonly change?: {
    readonly expression: string;
    readonly before: Shown['value'] | undefined;
    readonly after: Shown['value'] | undefined;
  };
  /** Of a fault: what was wrong. */
  readonly message?: string;
}

export class Debugger {
  readonly recording: Recording;
  readonly inspect: Inspector;
  readonly walk: Walk;
  #next = 1;
  readonly #breakpoints: Held[] = [];
  readonly #watchpoints: Watched[] = [];
  /** Values as they were last on the present way. */
  readonly #seen = new Map<Watched, Watch>();

  /** Stands at the first step. */
  constructor(recording: Recording) {
    this.recording = recording;
    this.inspect = new Inspector(recording);
    this.walk = new Walk(recording);
    recording.seek(0);
  }

  get position(): number {
    return this.recording.position;
  }

  get breakpoints(): readonly Breakpoint[] {
    return [...this.#breakpoints, ...this.#watchpoints].sort((a, b) => a.number - b.number);
  }

  /** Stops where `place` is come to and `condition` (an expression) is not 0. Throws ENOENT for a place that no program has. */
  addBreakpoint(
    place: BreakpointPlace,
    options: { condition?: string; temporary?: boolean } = {},
  ): Breakpoint {
    if (options.condition !== undefined) this.inspect.parse(options.condition);
    const { text, stops } = this.#place(place);
    const held = {
      number: this.#next++,
      what: 'breakpoint' as const,
      text,
      temporary: options.temporary === true,
      condition: options.condition,
      enabled: true,
      ignore: 0,
      hits: 0,
      stops,
    };
    this.#breakpoints.push(held);
    return held;
  }

  #place(place: BreakpointPlace): { text: string; stops: (step: number) => boolean } {
    const { recording, walk } = this;
    const { journal } = recording;
    switch (place.kind) {
      case 'function': {
        const { name } = place;
        if (!recording.sources.some(({ functions }) => functions.some((one) => one.name === name)))
          throw new BpfError('ENOENT', `there is no function '${name}'`, { hint: this.#functions() });
        const stops = (step: number) =>
          journal.entry.at(step) === step &&
          recording.source(step).functionAt(recording.insn(step))?.name === name;
        return { text: name, stops };
      }
      case 'line': {
        const line = this.#line(place.line, place.file);
        const stops = (step: number) => {
          if (!walk.beginsLine(step) || journal.kind.at(step) !== 0) return false;
          const at = recording.source(step).lineAt(recording.insn(step));
          return at?.line === line.line && at.file === line.file;
        };
        return { text: `${line.file.replace(/^.*\//, '')}:${line.line}`, stops };
      }
      case 'insn': {
        const { insn, program } = place;
        const known = recording.sources.find(
          (source) =>
            source.program.insns[insn] !== undefined &&
            (program ?? source.program.name) === source.program.name,
        );
        if (known === undefined) throw new BpfError('ENOENT', `there is no instruction ${insn}`);
        const stops = (step: number) =>
          walk.beginsInsn(step) &&
          journal.kind.at(step) === 0 &&
          recording.insn(step) === insn &&
          (program === undefined || recording.source(step).program.name === program);
        return { text: `*${insn}`, stops };
      }
      case 'call':
        return { text: `call of ${place.name ?? 'any helper'}`, stops: this.#callsOf(place.name) };
      case 'map':
        return { text: `map ${place.name}`, stops: this.#usesOf(place.name) };
    }
  }

  /** Helpers and kernel functions that the programs call. */
  calledNames(): string[] {
    const called = new Set<string>();
    for (const { program } of this.recording.sources)
      for (const call of program.executable.calls) called.add(calledName(call) ?? '');
    called.delete('');
    return [...called].sort();
  }

  #callsOf(name: string | undefined): (step: number) => boolean {
    const { recording, walk } = this;
    const called = new Set(this.calledNames());
    const full = name === undefined || called.has(name) ? name : `bpf_${name}`;
    if (full !== undefined && !called.has(full))
      throw new BpfError('ENOENT', `no program of the recording calls '${name}'`, {
        hint: called.size === 0 ? 'they call nothing' : `they call ${[...called].join(', ')}`,
      });
    return (step) => {
      if (!walk.beginsCall(step)) return false;
      const at = calledName(recording.callAt(step));
      return at !== undefined && (full === undefined || at === full);
    };
  }

  #usesOf(name: string): (step: number) => boolean {
    const { recording, walk, inspect } = this;
    const { map } = inspect.map(name);
    const first = map.valueAddress(0);
    const block = first > 0 ? recording.blockAt(first) : undefined;
    const holds = (value: bigint): boolean =>
      Number(value & 0xffff_ffffn) === map.layout.address && value >> 32n !== 0n;
    return (step) => {
      if (walk.beginsCall(step)) {
        recording.seek(step);
        return [1, 2, 3, 4, 5].some((r) => holds(recording.register(r)));
      }
      const access = block === undefined ? undefined : recording.accessAt(step);
      if (block === undefined || access === undefined || !walk.beginsInsn(step)) return false;
      recording.seek(step);
      const address = Number((recording.register(access.register) + BigInt(access.offset)) & 0xffff_ffffn);
      return address < block.start + block.size && address + access.size > block.start;
    };
  }

  #functions(): string {
    const names = recordedFunctions(this.recording);
    return `there are ${names.join(', ')}`;
  }

  /** The line, or the next one that has code. */
  #line(wanted: number, file: string | undefined): { line: number; file: string } {
    let best: { line: number; file: string } | undefined;
    for (const { lines } of this.recording.sources)
      for (const one of lines) {
        const named = file === undefined || one.file === file || one.file.endsWith(`/${file}`);
        if (named && one.line >= wanted && (best === undefined || one.line < best.line)) best = one;
      }
    if (best !== undefined) return best;
    const files = new Set(this.recording.sources.flatMap(({ lines }) => lines.map((one) => one.file)));
    if (files.size === 0)
      throw new BpfError('ENOENT', 'the programs came without line information', {
        hint: 'build them with -g',
      });
    const known = file === undefined || [...files].some((one) => one === file || one.endsWith(`/${file}`));
    if (known) throw new BpfError('ENOENT', `no line from ${wanted} on has code`);
    throw new BpfError('ENOENT', `no code comes from a file '${file}'`, {
      hint: `there are ${[...files].join(', ')}`,
    });
  }

  /** Stops where the value of an expression has changed. Throws what evaluating it throws, but for a key that is not there yet. */
  addWatchpoint(expression: string, options: { condition?: string } = {}): Breakpoint {
    const { recording, inspect } = this;
    if (options.condition !== undefined) inspect.parse(options.condition);
    let place: { from: number; upto: number } | undefined;
    let inMap = false;
    try {
      const value = inspect.evaluate(expression);
      if (value.place !== undefined) place = { from: value.place, upto: value.place + sizeOf(value.type) };
      inMap = value.bytes !== undefined;
    } catch (error) {
      if (!(error instanceof BpfError) || error.code !== 'ENOENT' || !error.message.startsWith('map '))
        throw error;
      inMap = true;
    }
    const { journal } = recording;
    const ofFrame = inspect.isOfFrame(expression);
    const touched = (step: number): boolean => {
      if (place === undefined && !inMap)
        return ofFrame || journal.changesUpto.at(step) !== journal.changesUpto.at(step - 1);
      for (const { address, after } of recording.changes(step)) {
        const end = address + after.length;
        if (place === undefined ? end > HEAP_START : address < place.upto && end > place.from) return true;
      }
      return false;
    };
    const value = (): Watch => {
      try {
        if (place !== undefined && expression.trim() !== '') {
          const bytes = recording.read(place.from, place.upto - place.from);
          return { bytes: bytes.join(), shown: undefined };
        }
        const found = inspect.evaluate(expression);
        return { bytes: bytesOf(found, inspect.scope()).join(), shown: inspect.print(expression).value };
      } catch (error) {
        if (error instanceof BpfError) return { bytes: '', shown: undefined };
        throw error;
      }
    };
    const watch = {
      number: this.#next++,
      what: 'watchpoint' as const,
      text: expression,
      temporary: false,
      condition: options.condition,
      enabled: true,
      ignore: 0,
      hits: 0,
      may: touched,
      value,
    };
    this.#watchpoints.push(watch);
    return watch;
  }

  #find(number: number): Settable {
    const found = [...this.#breakpoints, ...this.#watchpoints].find((one) => one.number === number);
    if (found === undefined) throw new BpfError('ENOENT', `there is no breakpoint ${number}`);
    return found;
  }

  /** Undefined: it always stops. Throws ENOENT, and EINVAL where it is no expression. */
  setCondition(number: number, condition: string | undefined): void {
    const found = this.#find(number);
    if (condition !== undefined) this.inspect.parse(condition);
    found.condition = condition;
  }

  /** Without a number: all. Throws ENOENT. */
  setEnabled(enabled: boolean, number?: number): void {
    const all = number === undefined ? [...this.#breakpoints, ...this.#watchpoints] : [this.#find(number)];
    for (const one of all) one.enabled = enabled;
  }

  /** It is passed by so many times from now on. Throws ENOENT. */
  setIgnore(number: number, times: number): void {
    this.#find(number).ignore = times;
  }

  /** On to a place, as if a temporary breakpoint were there; other breakpoints stop it too. */
  advance(place: BreakpointPlace, direction: Direction = 'forward'): Stop {
    const { stops } = this.#place(place);
    return this.#go(direction, 1, stops);
  }

  /** To a later line of the present function (`reverse`: an earlier one), or out of it: loops are run to their end. */
  until(direction: Direction = 'forward'): Stop {
    const { journal } = this.recording;
    const here = this.position;
    const entry = journal.entry.at(here);
    const insn = this.recording.insn(here);
    return this.#go(direction, 1, (step, height) => {
      if (this.#height(step) < height) return this.walk.beginsLine(step);
      if (journal.entry.at(step) !== entry || !this.walk.beginsLine(step)) return false;
      const at = this.recording.insn(step);
      return direction === 'forward' ? at > insn : at < insn;
    });
  }

  /** Without a number: all. Throws ENOENT. */
  delete(number?: number): void {
    if (number === undefined) {
      this.#breakpoints.length = 0;
      this.#watchpoints.length = 0;
      return;
    }
    for (const list of [this.#breakpoints, this.#watchpoints]) {
      const at = list.findIndex((one) => one.number === number);
      if (at >= 0) {
        list.splice(at, 1);
        return;
      }
    }
    throw new BpfError('ENOENT', `there is no breakpoint ${number}`);
  }

  /** By instruction, into calls. */
  stepInsn(direction: Direction = 'forward', times = 1): Stop {
    return this.#go(direction, times, (step) => this.walk.beginsInsn(step));
  }

  /** By instruction, over calls. */
  nextInsn(direction: Direction = 'forward', times = 1): Stop {
    return this.#go(
      direction,
      times,
      (step, height) => this.walk.beginsInsn(step) && this.#height(step) <= height,
    );
  }

  /** By C line, into calls. Without line information: by instruction. */
  step(direction: Direction = 'forward', times = 1): Stop {
    if (!this.#hasLines()) return this.stepInsn(direction, times);
    return this.#go(direction, times, (step) => this.walk.beginsLine(step));
  }

  /** By C line, over calls. */
  next(direction: Direction = 'forward', times = 1): Stop {
    if (!this.#hasLines()) return this.nextInsn(direction, times);
    return this.#go(
      direction,
      times,
      (step, height) => this.walk.beginsLine(step) && this.#height(step) <= height,
    );
  }

  /** Until the present function has returned; `reverse`: to its call. */
  finish(direction: Direction = 'forward'): Stop {
    const { journal } = this.recording;
    // The outermost function ends with its run.
    const outermost = (step: number) =>
      direction === 'forward' ? journal.kind.at(step) !== 0 : journal.entry.at(step) === step;
    return this.#go(
      direction,
      1,
      (step, height) =>
        this.#height(step) < height || (height === 0 && this.#height(step) === 0 && outermost(step)),
    );
  }

  /** Until a breakpoint, a watchpoint, a fault, or the end (start) of the recording. */
  continue(direction: Direction = 'forward'): Stop {
    return this.#go(direction, 1, () => false);
  }

  /** Goes to a step of the recording. */
  goto(step: number): Stop {
    this.recording.seek(step);
    return this.#stopAt('step');
  }

  #hasLines(): boolean {
    return this.recording.source(this.position).lines.length > 0;
  }

  #height(step: number): number {
    return this.recording.journal.height.at(step);
  }

  #go(direction: Direction, times: number, wanted: (step: number, height: number) => boolean): Stop {
    this.#seen.clear();
    return this.recording.walk(() => this.#walkOn(direction, times, wanted));
  }

  #walkOn(direction: Direction, times: number, wanted: (step: number, height: number) => boolean): Stop {
    const way = direction === 'forward' ? 1 : -1;
    let stop = this.#stopAt('step');
    for (let i = 0; i < times; i++) {
      const from = this.position;
      const last = way > 0 ? this.recording.length - 1 : 0;
      if (from === last) return this.#stopAt(way > 0 ? this.#ending() : 'start');
      const height = this.#height(from);
      let found: Stop | undefined;
      const step = this.walk.find(from, way, (at) => {
        found = this.#interrupted(at, way);
        return found !== undefined || wanted(at, height);
      });
      if (found === undefined && step === last) found = this.#interrupted(step, way);
      this.recording.seek(found?.location.step ?? step);
      if (found !== undefined) return found;
      if (step === last && (way > 0 || !wanted(step, height)))
        return this.#stopAt(way > 0 ? this.#ending() : 'start');
      stop = this.#stopAt('step');
    }
    return stop;
  }

  #ending(): Stop['reason'] {
    if (this.recording.kind(this.recording.length - 1) === 'fault') return 'fault';
    return this.recording.truncated === undefined ? 'end' : 'limit';
  }

  #stopAt(reason: Stop['reason']): Stop {
    const location = this.inspect.location();
    const fault = this.recording.journal.faults.get(location.step);
    return fault === undefined ? { reason, location } : { reason: 'fault', location, message: fault.message };
  }

  /** What stops a way that comes through a step. */
  #interrupted(step: number, way: 1 | -1): Stop | undefined {
    for (const watch of this.#watchpoints) {
      if (!watch.enabled) continue;
      const stop = this.#changed(watch, step, way);
      if (stop !== undefined) return stop;
    }
    if (this.recording.kind(step) === 'fault') {
      this.recording.seek(step);
      return this.#stopAt('fault');
    }
    for (const one of this.#breakpoints) {
      if (!one.enabled || !one.stops(step) || !this.#holds(one.condition, step)) continue;
      one.hits++;
      if (one.ignore > 0) {
        one.ignore--;
        continue;
      }
      if (one.temporary) this.delete(one.number);
      return { reason: 'breakpoint', location: this.inspect.location(step), breakpoint: one.number };
    }
    return undefined;
  }

  /** A condition that cannot be evaluated stops, as gdb does. */
  #holds(condition: string | undefined, step: number): boolean {
    if (condition === undefined) return true;
    this.recording.seek(step);
    try {
      return truth(this.inspect.evaluate(condition), this.inspect.scope());
    } catch (error) {
      if (error instanceof BpfError) return true;
      throw error;
    }
  }

  /** Forwards, one stops behind the change; backwards, before it. */
  #changed(watch: Watched, step: number, way: 1 | -1): Stop | undefined {
    const after = way > 0 ? step : step + 1;
    if (after === 0 || after >= this.recording.length || !watch.may(after)) return undefined;
    const valueAt = (at: number): Watch => {
      this.recording.seek(at);
      return watch.value();
    };
    // Nothing that it may hang on has changed since the last look.
    const known = this.#seen.get(watch);
    const before = way > 0 && known !== undefined ? known : valueAt(after - 1);
    const now = way < 0 && known !== undefined ? known : valueAt(after);
    this.#seen.set(watch, way > 0 ? now : before);
    if (before.bytes === now.bytes || !this.#holds(watch.condition, step)) return undefined;
    watch.hits++;
    if (watch.ignore > 0) {
      watch.ignore--;
      return undefined;
    }
    return {
      reason: 'watchpoint',
      location: this.inspect.location(step),
      breakpoint: watch.number,
      change: {
        expression: watch.text,
        before: this.#shownAt(watch, after - 1),
        after: this.#shownAt(watch, after),
      },
    };
  }

  #shownAt(watch: Watched, step: number): Shown['value'] | undefined {
    return this.inspect.at(step, () => {
      try {
        return this.inspect.print(watch.text).value;
      } catch (error) {
        if (error instanceof BpfError) return undefined;
        throw error;
      }
    });
  }
}

function calledName(call: CallTarget | undefined): string | undefined {
  if (call?.kind === 'tail_call') return 'bpf_tail_call';
  return call?.kind === 'function' ? (call.row?.name ?? call.callee.name) : undefined;
}

export function recordedFunctions(recording: Recording): string[] {
  return [...new Set(recording.sources.flatMap(({ functions }) => functions.map(({ name }) => name)))];
}
