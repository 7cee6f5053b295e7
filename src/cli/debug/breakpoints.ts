/** Commands that say where to stop: break, watch, catch, and what is done with them later. */
import type { BreakpointPlace } from '../../debug/index.ts';
import { UsageError } from '../errors.ts';
import { numberOf, type PromptCommand, placeOf, splitCondition, stopped } from './prompt-command.ts';
import type { DebugSession } from './view.ts';

function add(
  { debug, view }: DebugSession,
  place: BreakpointPlace,
  condition: string | undefined,
  temporary: boolean,
): void {
  const made = debug.addBreakpoint(place, { temporary, ...(condition === undefined ? {} : { condition }) });
  view.show(`${temporary ? 'Temporary breakpoint' : 'Breakpoint'} ${made.number}: ${made.text}`, {
    breakpoint: made.number,
    at: made.text,
    condition,
  });
}

function breakAt(temporary: boolean): PromptCommand['run'] {
  return (session, argument) => {
    const { before, condition } = splitCondition(argument);
    add(session, placeOf(before, session.debug), condition, temporary);
  };
}

function catchUse(session: DebugSession, argument: string): void {
  const { before, condition } = splitCondition(argument);
  const [what = '', name = '', more] = before.split(/\s+/);
  if (more !== undefined) throw new UsageError(`'${more}' is too much`, 'catch call bpf_map_update_elem');
  if (what === 'call' || what === 'helper')
    add(session, name === '' ? { kind: 'call' } : { kind: 'call', name }, condition, false);
  else if (what === 'map' && name !== '') add(session, { kind: 'map', name }, condition, false);
  else throw new UsageError('catch needs what', 'catch call [HELPER], catch map MAP');
}

/** `1 3-5`: numbers of breakpoints; none: all. */
function numbers(argument: string): number[] {
  return argument
    .split(/[\s,]+/)
    .filter((word) => word !== '' && word !== 'breakpoints')
    .flatMap((word) => {
      const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(word) ?? [];
      if (from === undefined) throw new UsageError(`'${word}' is no number of a breakpoint`);
      const length = Number(to ?? from) - Number(from) + 1;
      if (length > 1000) throw new UsageError(`'${word}' are too many`);
      return Array.from({ length: Math.max(length, 0) }, (_, i) => Number(from) + i);
    });
}

function each(argument: string, all: () => void, one: (number: number) => void): void {
  const wanted = numbers(argument);
  if (wanted.length === 0) all();
  for (const number of wanted) one(number);
}

const enable =
  (enabled: boolean): PromptCommand['run'] =>
  ({ debug, view }, argument) => {
    each(
      argument,
      () => debug.setEnabled(enabled),
      (number) => debug.setEnabled(enabled, number),
    );
    view.show([], { [enabled ? 'enabled' : 'disabled']: numbers(argument) });
  };

export const BREAKPOINT_COMMANDS: readonly PromptCommand[] = [
  {
    names: ['break', 'b'],
    usage: '[FUNCTION|LINE|FILE:LINE|*INSN] [if EXPRESSION]',
    help: 'stops there; without a place: here',
    completes: 'place',
    run: breakAt(false),
  },
  {
    names: ['tbreak', 'tb'],
    usage: 'as break',
    help: 'stops there once',
    completes: 'place',
    run: breakAt(true),
  },
  {
    names: ['watch'],
    usage: 'EXPRESSION [if EXPRESSION]',
    help: 'stops where its value changes: a variable, map[key], *(__u32 *)$r6',
    completes: 'expression',
    run: ({ debug, view }, argument) => {
      const { before, condition } = splitCondition(argument.replace(/^-l(ocation)?\s+/, ''));
      if (before === '') throw new UsageError('watch needs an expression');
      const made = debug.addWatchpoint(before, condition === undefined ? {} : { condition });
      view.show(`Watchpoint ${made.number}: ${before}`, {
        watchpoint: made.number,
        expression: before,
        condition,
      });
    },
  },
  {
    names: ['catch'],
    usage: 'call [HELPER] | map MAP [if EXPRESSION]',
    help: 'stops at calls of a helper, kernel function or tail call, and at uses of a map',
    completes: 'call',
    run: catchUse,
  },
  {
    names: ['condition'],
    usage: 'NUMBER [EXPRESSION]',
    help: 'stops there only where it is not 0; without an expression: always',
    run: ({ debug, view }, argument) => {
      const [, number = '', condition = ''] = /^(\S*)\s*(.*)$/s.exec(argument) ?? [];
      debug.setCondition(numberOf(number), condition === '' ? undefined : condition);
      view.show(condition === '' ? `Breakpoint ${number} now stops always.` : [], {
        breakpoint: Number(number),
        condition: condition === '' ? null : condition,
      });
    },
  },
  {
    names: ['ignore'],
    usage: 'NUMBER TIMES',
    help: 'passes it by so many times',
    run: ({ debug, view }, argument) => {
      const [number = '', times = ''] = argument.split(/\s+/);
      debug.setIgnore(numberOf(number), numberOf(times, 'time'));
      view.show(`Breakpoint ${number} is passed by ${times} times.`, {
        breakpoint: Number(number),
        ignore: Number(times),
      });
    },
  },
  { names: ['enable'], usage: '[NUMBER…]', help: 'breakpoints stop again', run: enable(true) },
  { names: ['disable'], usage: '[NUMBER…]', help: 'breakpoints do not stop', run: enable(false) },
  {
    names: ['delete', 'd'],
    usage: '[NUMBER…]',
    help: 'breakpoints and watchpoints; without a number all of them',
    run: ({ debug, view }, argument) => {
      each(
        argument,
        () => debug.delete(),
        (number) => debug.delete(number),
      );
      const deleted = numbers(argument);
      view.show([], { deleted: deleted.length === 0 ? 'all' : deleted });
    },
  },
  {
    names: ['until', 'u'],
    usage: '[PLACE]',
    help: 'to a later line of this function: out of loops; with a place as advance',
    completes: 'place',
    run: (session, argument) => {
      const { debug } = session;
      stopped(session, argument === '' ? debug.until() : debug.advance(placeOf(argument, debug)), false);
    },
  },
  {
    names: ['advance'],
    usage: 'PLACE',
    help: 'on to a place',
    completes: 'place',
    run: (session, argument) => {
      if (argument === '') throw new UsageError('advance needs a place', 'advance FUNCTION, advance LINE');
      stopped(session, session.debug.advance(placeOf(argument, session.debug)), false);
    },
  },
];
