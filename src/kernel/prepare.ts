/** The last step of a load: a rewritten program becomes one that runs. What the JIT cannot compile, or has no room for, is interpreted. */
import type { ExecutableProgram, PreparedProgram } from '../contracts/engine.ts';
import type { Credentials } from '../contracts/verify.ts';
import { watch } from '../interpreter/index.ts';
import { type Blinded, blind } from '../rewrite/index.ts';
import { BpfError } from '../util/errors.ts';
import { holds } from './credentials.ts';
import type { Machine } from './machine.ts';

/** Of net.core.bpf_jit_enable. */
const JIT_AND_DUMP = 2;
/** Of net.core.bpf_jit_harden. */
const HARDEN_UNPRIVILEGED = 1;
const HARDEN_ALL = 2;

export interface Prepared {
  readonly executable: PreparedProgram;
  /** It counts as compiled: what replaces or traces functions is for such programs only. */
  readonly jited: boolean;
  /** The program as it was compiled, where its constants were blinded. */
  readonly blinded?: Blinded;
}

/**
 * Compiles where the sysctl says so. `who` loads it: those without CAP_BPF get no code beyond net.core.bpf_jit_limit, and have their
 * constants blinded from net.core.bpf_jit_harden 1 on (kernel: bpf_jit_charge_modmem, bpf_jit_blinding_enabled). Who watches programs has them interpreted: that changes nothing else of what they may do. */
export function prepare(machine: Machine, program: ExecutableProgram, who: Credentials): Prepared {
  const { interpreter, jit } = machine.engines;
  const asked = jitRequested(machine);
  if (machine.observer !== null || !asked) {
    const executable = interpreter.prepare(program, machine.engineEnv);
    if (machine.observer !== null) watch(executable, machine.observer);
    return { executable, jited: asked };
  }
  try {
    const random = () => machine.random();
    const blinded = blinds(machine, who) ? blind(program, random) : undefined;
    const options = blinded === undefined ? {} : { blinding: { low: random(), high: random() } };
    const executable = jit.prepare(program, machine.engineEnv, options);
    const limit = machine.sysctls.get('net.core.bpf_jit_limit');
    if (holds(who, 'bpf') || compiledBytes(machine) + executable.codeSize <= limit) {
      if (machine.sysctls.get('net.core.bpf_jit_enable') === JIT_AND_DUMP)
        machine.onJitDump(executable.dump());
      return { executable, jited: true, ...(blinded === undefined ? {} : { blinded }) };
    }
    executable.release();
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
  }
  return { executable: interpreter.prepare(program, machine.engineEnv), jited: false };
}

function blinds(machine: Machine, who: Credentials): boolean {
  const harden = machine.sysctls.get('net.core.bpf_jit_harden');
  return harden === HARDEN_ALL || (harden === HARDEN_UNPRIVILEGED && !holds(who, 'bpf'));
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
