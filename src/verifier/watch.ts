/** Looking on while a program is verified: what each instruction costs and what is known there. Nobody looks unless asked to. */
import type { Refusal } from './refusal.ts';
import type { VState } from './state.ts';

export interface Watcher {
  /** Instruction `at` is about to be checked in this state (valid during the call); `states`: states kept so far. */
  insn?(at: number, state: VState, states: number): void;
  /** The path ends before instruction `at`: what is known there was explored before. */
  pruned?(at: number): void;
  /** A path is refused at instruction `at`. True: only this path ends, the others are explored; the program is not safe then. */
  refused?(refusal: Refusal, at: number): boolean;
}
