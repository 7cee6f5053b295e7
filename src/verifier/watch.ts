/** Looking on while a program is verified: what each instruction costs and what is known there. Nobody looks unless asked to. */
import type { Env } from './env.ts';
import type { Refusal } from './refusal.ts';

export interface Watcher {
  /** Instruction `at` is about to be checked in the state `env.cur`. */
  insn?(env: Env, at: number): void;
  /** The path ends before instruction `at`: what is known there was explored before. */
  pruned?(env: Env, at: number): void;
  /** A path is refused at instruction `at`. True: only this path ends, the others are explored; the program is not safe then. */
  refused?(refusal: Refusal, at: number): boolean;
}
