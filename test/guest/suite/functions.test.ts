/** Programs that replace or trace functions of programs, held against what the embedded kernel does: one suite for both. */
import { readFileSync } from 'node:fs';
import { describe } from 'vitest';
import { createHostKernel } from '../../../src/host/index.ts';
import { functionContract } from '../../kernel/function-contract.ts';

const [major, minor] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
const kernels = [await createHostKernel()];

describe('functions of programs', () => {
  functionContract(() => ({ kernel: kernels[0]!, release: [major!, minor!] }));
});
