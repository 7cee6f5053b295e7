/**
 * What every kernel behind the `Kernel` contract does, written once: the embedded kernel and Linux are held to the same cases.
 * Each part gets a function that opens a subject for one case.
 */
import { isaContract } from './contract-isa.ts';
import { linkContract } from './contract-links.ts';
import { loadContract } from './contract-load.ts';
import { mapContract } from './contract-maps.ts';
import { objectContract } from './contract-objects.ts';
import { runContract } from './contract-runs.ts';
import type { OpenSubject } from './subject.ts';

export function kernelContract(open: OpenSubject): void {
  mapContract(open);
  loadContract(open);
  objectContract(open);
  linkContract(open);
  runContract(open);
  isaContract(open);
}
