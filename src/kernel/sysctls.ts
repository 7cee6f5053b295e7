/** The sysctls that gate bpf (Documentation/admin-guide/sysctl/{kernel,net}.rst), with their value rules as a table. */
import { BpfError } from '../util/errors.ts';

interface SysctlRow {
  readonly min: number;
  readonly max: number;
  readonly initial: number;
  /** Once at this value it cannot be changed back before the next boot. */
  readonly stuckAt?: number;
}

export const SYSCTLS = {
  /** 0: anybody may load some program types; 1: nobody, for good; 2: nobody, until changed. */
  'kernel.unprivileged_bpf_disabled': { min: 0, max: 2, initial: 2, stuckAt: 1 },
  /** 1: run time and run count of every program are kept (bpf_prog_info.run_time_ns, run_cnt). */
  'kernel.bpf_stats_enabled': { min: 0, max: 1, initial: 0 },
  /** 0: programs are interpreted; 1: compiled; 2: compiled, for people who debug the compiler. */
  'net.core.bpf_jit_enable': { min: 0, max: 2, initial: 1 },
  /** 1: constants of programs are blinded where who loads them has no CAP_BPF; 2: of all programs. */
  'net.core.bpf_jit_harden': { min: 0, max: 2, initial: 0 },
  /** 1: compiled programs stand in /proc/kallsyms. */
  'net.core.bpf_jit_kallsyms': { min: 0, max: 1, initial: 1 },
  /** Bytes of compiled code of all programs together up to which those without CAP_BPF get theirs compiled. */
  'net.core.bpf_jit_limit': { min: 1, max: 0x7fff_ffff, initial: 528_482_304 },
} as const satisfies Record<string, SysctlRow>;

export type SysctlName = keyof typeof SYSCTLS;

export class Sysctls {
  readonly #values = new Map<string, number>(
    Object.entries(SYSCTLS).map(([name, row]) => [name, row.initial]),
  );

  #statsEnabled = false;

  /** Asked for at every run. */
  get statsEnabled(): boolean {
    return this.#statsEnabled;
  }

  get(name: SysctlName): number {
    return this.#values.get(name)!;
  }

  /** Throws EINVAL outside of the range, EPERM for a switch that only goes one way. */
  set(name: SysctlName, value: number): void {
    const row: SysctlRow | undefined = Object.hasOwn(SYSCTLS, name) ? SYSCTLS[name] : undefined;
    if (row === undefined) {
      throw new BpfError('ENOENT', `there is no sysctl ${name}`, {
        hint: `known: ${Object.keys(SYSCTLS).join(', ')}`,
      });
    }
    if (!Number.isInteger(value) || value < row.min || value > row.max) {
      throw new BpfError('EINVAL', `${name} takes ${row.min} to ${row.max}, not ${value}`);
    }
    if (row.stuckAt !== undefined && this.get(name) === row.stuckAt && value !== row.stuckAt) {
      throw new BpfError('EPERM', `${name} = ${row.stuckAt} cannot be undone`);
    }
    this.#values.set(name, value);
    this.#statsEnabled = this.get('kernel.bpf_stats_enabled') !== 0;
  }
}
