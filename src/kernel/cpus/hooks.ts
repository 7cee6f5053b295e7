/** What the rest of the kernel tells its CPUs, and asks of them. */
import type { KernelCpus } from '../../contracts/cpus.ts';
import type { ProgObject } from '../objects.ts';

export interface CpuSet extends KernelCpus {
  /** A program was loaded: any CPU may come to it. */
  publish(program: ProgObject): void;
  /** Another CPU runs programs. */
  readonly busy: boolean;
  /** Whether the thread of that CPU runs programs. */
  runs(cpu: number): boolean;
  /** Calls `free` when no CPU can hold what a program was given before: at once where none runs. */
  afterGrace(free: () => void): void;
  close(): void;
}
