/**
 * Which of V8's compilers a module gets. By itself V8 compiles a function when it is first called, with its baseline compiler, and
 * again once it has run often. For a small program the optimising compiler at once takes no longer than that (docs/load-time.md), and the
 * program is as fast as it gets from its first run.
 *
 * Only flags of this V8 can say so, and they are those of the process: they are set for the time of one synchronous compilation.
 */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';

/** Instructions up to which a program is optimised at once. */
const SMALL = 100;
const AT_ONCE = ['--no-wasm-lazy-compilation', '--no-liftoff'];
/** V8 14 (Node 25) inlines by what its baseline compiler has counted, and ends the process where that compiler was not asked. */
const LAST_MAJOR = 13;
/** The last one: without a baseline compiler V8 turns it off too, and does not turn it on again by itself. */
const AS_USUAL = ['--wasm-lazy-compilation', '--liftoff', '--wasm-dynamic-tiering'];

export type CompileModule = (bytes: Uint8Array<ArrayBuffer>, insns: number) => WebAssembly.Module;

/** Undefined where this is no Node or one whose V8 does not allow it, or where somebody has chosen compilers already. */
export function smallAtOnce(limit = SMALL): CompileModule | undefined {
  const { bun, deno, v8 } = process.versions;
  const chosen = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((text) =>
    /wasm|liftoff/.test(text),
  );
  const allowed = Number.parseInt(v8, 10) <= LAST_MAJOR;
  if (bun !== undefined || deno !== undefined || chosen || !allowed) return undefined;
  return (bytes, insns) => {
    if (insns > limit) return new WebAssembly.Module(bytes);
    for (const flag of AT_ONCE) setFlagsFromString(flag);
    try {
      return new WebAssembly.Module(bytes);
    } finally {
      for (const flag of AS_USUAL) setFlagsFromString(flag);
    }
  };
}
