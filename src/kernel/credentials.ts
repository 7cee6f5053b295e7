/** Who calls: user id and capabilities, and the rules of include/linux/capability.h that CAP_SYS_ADMIN stands for the finer ones. */
import type { Credentials } from '../contracts/verify.ts';
import type { Capability } from '../spec/types.ts';

export const ROOT: Credentials = {
  uid: 0,
  capBpf: true,
  capPerfmon: true,
  capNetAdmin: true,
  capSysAdmin: true,
};
export const UNPRIVILEGED: Credentials = {
  uid: 1000,
  capBpf: false,
  capPerfmon: false,
  capNetAdmin: false,
  capSysAdmin: false,
};

const HOLDS: Record<Capability, (who: Credentials) => boolean> = {
  none: () => true,
  bpf: (who) => who.capBpf || who.capSysAdmin,
  perfmon: (who) => who.capPerfmon || who.capSysAdmin,
  net_admin: (who) => who.capNetAdmin || who.capSysAdmin,
  sys_admin: (who) => who.capSysAdmin,
};

/** Whether the capability counts for the whole machine. */
export function holds(who: Credentials, capability: Capability): boolean {
  return ((who.userNamespace ?? 0) === 0 || capability === 'none') && HOLDS[capability](who);
}
