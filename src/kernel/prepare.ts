/** The last step of a load: a rewritten program becomes one that runs. What the JIT cannot compile, or has no room for, is interpreted. */
import type { ExecutableProgram, PreparedProgram } from '../contracts/engine.ts';
import { watch } from '../interpreter/index.ts';
import { BpfError } from '../util/errors.ts';
import type { Machine } from './machine.ts';

export interface Prepared {
  readonly executable: PreparedProgram;
  /** It counts as compiled: what replaces or traces functions is for such programs only. */
  readonly jited: boolean;
}

/** Compiles where the sysctl says so. Who watches programs has them interpreted: that changes nothing else of what they may do. */
export function prepare(machine: Machine, program: ExecutableProgram): Prepared {
  const { interpreter, jit } = machine.engines;
  const asked = jitRequested(machine);
  if (machine.observer !== null || !asked) {
    const executable = interpreter.prepare(program, machine.engineEnv);
    if (machine.observer !== null) watch(executable, machine.observer);
    return { executable, jited: asked };
  }
  try {
    const executable = jit.prepare(program, machine.engineEnv);
    if (compiledBytes(machine) + executable.codeSize <= machine.sysctls.get('net.core.bpf_jit_limit'))
      return { executable, jited: true };
    executable.release();
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
  }
  return { executable: interpreter.prepare(program, machine.engineEnv), jited: false };
}

export function jitRequested(machine: Machine): boolean {
  return machine.sysctls.get('net.core.bpf_jit_enable') !== 0;
}

/** Code of all loaded programs together, which net.core.bpf_jit_limit bounds. */
function compiledBytes(machine: Machine): number {
  let bytes = 0;
  for (const { parts } of machine.programs.values()) bytes += parts.executable.codeSize;
  return bytes;
}
