/** What the parts of the host kernel share: the way to bpf(2), the descriptors handed out, facts about the machine. */
import { readFileSync } from 'node:fs';
import type { Bpf } from './bpf.ts';
import type { FdTable } from './fds.ts';
import type { Native } from './native.ts';
import type { Tracefs } from './tracefs.ts';

export interface Host {
  readonly native: Native;
  readonly bpf: Bpf;
  readonly fds: FdTable;
  readonly tracefs: Tracefs;
  possibleCpus(): number;
}

/** Number of possible CPUs: per-CPU values have one part for each (libbpf_num_possible_cpus). */
export function readPossibleCpus(path = '/sys/devices/system/cpu/possible'): number {
  return countCpus(readFileSync(path, 'utf8'));
}

/** `0-3,8-11` → 8 */
export function countCpus(list: string): number {
  let count = 0;
  for (const range of list.trim().split(',')) {
    const [first, last] = range.split('-').map(Number);
    count += (last ?? first) - first + 1;
  }
  return count;
}
