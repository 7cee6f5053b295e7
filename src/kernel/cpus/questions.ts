/**
 * What the thread of a CPU asks of the kernel's thread and sleeps for: what only that one has the books of. Programs hold no lock while they
 * ask (the verifier lets nothing that asks be called under one), so that neither thread waits for the other.
 */
import type { AsyncCalls } from '../../contracts/runtime.ts';
import { StackTraceMap } from '../../maps/index.ts';
import { helperById } from '../../spec/index.ts';
import { BPF_FUNC } from '../../uapi/index.ts';
import { ERRNO } from '../../util/errno.ts';
import type { Machine } from '../machine.ts';
import { perfOutput } from '../perf-output.ts';

type AsyncKind = Parameters<AsyncCalls['init']>[0];

/** Maps by the offset of their headers. */
export type Question =
  | {
      readonly kind: 'perf_output';
      readonly map: number;
      readonly packet: { readonly start: number; readonly length: number };
      readonly flags: readonly [low: number, high: number];
      readonly data: number;
      readonly size: number;
    }
  | {
      readonly kind: 'stack_id';
      readonly map: number;
      readonly stack: readonly bigint[];
      readonly flags: number;
    }
  | {
      readonly kind: 'async_init';
      readonly map: number;
      readonly of: AsyncKind;
      readonly field: number;
      readonly realtime: boolean;
    }
  /** The callback as the number that it has among those of its program. */
  | {
      readonly kind: 'async_callback';
      readonly field: number;
      readonly progId: number;
      readonly callback: number;
    }
  | {
      readonly kind: 'async_start';
      readonly field: number;
      readonly time: bigint;
      readonly absolute: boolean;
    }
  | { readonly kind: 'async_cancel' | 'async_pending'; readonly field: number }
  /** Of a map whose values own something: as a program on CPU 0 does it. `words`: those of the helper behind the map. */
  | { readonly kind: 'update' | 'delete'; readonly map: number; readonly words: readonly number[] }
  | { readonly kind: 'arena_high'; readonly map: number }
  | {
      readonly kind: 'arena_allocate';
      readonly map: number;
      readonly address: number | null;
      readonly count: number;
    }
  | {
      readonly kind: 'arena_free' | 'arena_reserve';
      readonly map: number;
      readonly address: number;
      readonly count: number;
    };

export type Ask = (question: Question) => number;

/** On the kernel's thread: a word. `cpu`: who asks. */
export function answer(machine: Machine, cpu: number, question: Question): number {
  switch (question.kind) {
    case 'perf_output': {
      const map = machine.mapByAddress(question.map);
      if (map === undefined) return -ERRNO.EINVAL;
      const { memory, perfEvents, packets } = machine;
      const ops = { ...packets.ops, data: () => question.packet };
      const [flagsLow, flagsHigh] = question.flags;
      const { data, size } = question;
      return perfOutput({ memory, perfEvents, cpu, packets: { ops } }, map.map, {
        ctx: 0,
        flagsLow,
        flagsHigh,
        data,
        size,
      });
    }
    case 'stack_id': {
      const map = machine.mapByAddress(question.map)?.map;
      return map instanceof StackTraceMap ? map.record(question.stack, question.flags) : -ERRNO.EINVAL;
    }
    case 'async_init':
      return machine.async.init(question.of, question.field, question.map, question.realtime);
    case 'async_callback': {
      const program = machine.programs.find(question.progId);
      if (program === undefined) return -ERRNO.EINVAL;
      const token = machine.entries.callbacksOf(program.parts.executable.entry)[question.callback];
      return token === undefined ? -ERRNO.EINVAL : machine.async.setCallback(question.field, token, program);
    }
    case 'async_start':
      return machine.async.start(question.field, question.time, question.absolute);
    case 'async_cancel':
      return machine.async.cancel(question.field);
    case 'async_pending':
      return machine.async.pending(question.field) ? 1 : 0;
    case 'update':
    case 'delete': {
      const map = machine.mapByAddress(question.map)?.map;
      const id =
        question.kind === 'update' ? BPF_FUNC.BPF_FUNC_map_update_elem : BPF_FUNC.BPF_FUNC_map_delete_elem;
      const helper = map && machine.helpers.resolve(helperById(id)!, map);
      return helper?.fn(question.map, ...question.words) ?? -ERRNO.EINVAL;
    }
    default: {
      const arena = machine.mapByAddress(question.map)?.map.arena;
      if (arena === undefined) return -ERRNO.EINVAL;
      if (question.kind === 'arena_high') return arena.userHigh;
      if (question.kind === 'arena_allocate') return arena.allocatePages(question.address, question.count);
      if (question.kind === 'arena_reserve') return arena.reservePages(question.address, question.count);
      arena.freePages(question.address, question.count);
      return 0;
    }
  }
}
