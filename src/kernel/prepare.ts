/** The last step of a load: a rewritten program becomes one that runs. What the JIT cannot compile, or has no room for, is interpreted. */
import type {
  CompileElsewhere,
  ExecutableProgram,
  PreparedProgram,
  PrepareOptions,
} from '../contracts/engine.ts';
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
  try {
    const plan = planOf(machine, program, who);
    if (plan === undefined) return interpreted(machine, program);
    return accepted(
      machine,
      who,
      plan,
      machine.engines.jit.prepare(program, machine.engineEnv, plan.options),
    );
  } catch (error) {
    return uncompiled(machine, program, error);
  }
}

/** As `prepare`, with code that is made elsewhere. */
export async function prepareLater(
  machine: Machine,
  program: ExecutableProgram,
  who: Credentials,
  elsewhere: CompileElsewhere,
): Promise<Prepared> {
  const { jit } = machine.engines;
  if (jit.prepareLater === undefined) return prepare(machine, program, who);
  try {
    const plan = planOf(machine, program, who);
    if (plan === undefined) return interpreted(machine, program);
    const executable = await jit.prepareLater(program, machine.engineEnv, elsewhere, plan.options);
    if (machine.observer === null) return accepted(machine, who, plan, executable);
    // Somebody watches since.
    executable.release();
    return interpreted(machine, program);
  } catch (error) {
    return uncompiled(machine, program, error);
  }
}

interface Plan {
  readonly options: PrepareOptions;
  readonly blinded: Blinded | undefined;
}

/** Undefined: it is to be interpreted. */
function planOf(machine: Machine, program: ExecutableProgram, who: Credentials): Plan | undefined {
  if (machine.observer !== null || !jitRequested(machine)) return undefined;
  const random = () => machine.random();
  const blinded = blinds(machine, who) ? blind(program, random) : undefined;
  const options = blinded === undefined ? {} : { blinding: { low: random(), high: random() } };
  return { options, blinded };
}

function accepted(
  machine: Machine,
  who: Credentials,
  { blinded }: Plan,
  executable: PreparedProgram,
): Prepared {
  const limit = machine.sysctls.get('net.core.bpf_jit_limit');
  if (!holds(who, 'bpf') && compiledBytes(machine) + executable.codeSize > limit) {
    executable.release();
    throw new BpfError(
      'ENOMEM',
      `net.core.bpf_jit_limit has no room for ${executable.codeSize} bytes of code`,
    );
  }
  if (machine.sysctls.get('net.core.bpf_jit_enable') === JIT_AND_DUMP) machine.onJitDump(executable.dump());
  return { executable, jited: true, ...(blinded === undefined ? {} : { blinded }) };
}

function interpreted(machine: Machine, program: ExecutableProgram): Prepared {
  const executable = machine.engines.interpreter.prepare(program, machine.engineEnv);
  if (machine.observer !== null) watch(executable, machine.observer);
  return { executable, jited: jitRequested(machine) };
}

/** What cannot be compiled, for one reason or another. */
function uncompiled(machine: Machine, program: ExecutableProgram, error: unknown): Prepared {
  if (!(error instanceof BpfError)) throw error;
  return { executable: machine.engines.interpreter.prepare(program, machine.engineEnv), jited: false };
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
