/** Programs that call kernel functions: what the embedded kernel does with them, Linux does. */
import { afterAll, describe, it } from 'vitest';
import { ownKernelBtf } from '../../src/kernel/index.ts';
import { type KfuncKernel, kfuncContract } from '../kernel/kfunc-contract.ts';
import { openHost, skipReason } from './host-support.ts';

const linux = await openHost();

/** Why this kernel cannot run the suite. */
function lacks(): string | null {
  if (typeof linux === 'string') return linux;
  const bytes = linux.kernelBtf();
  if (bytes === null) return 'the kernel has no BTF';
  const text = new TextDecoder('latin1').decode(bytes);
  const missing = ['bpf_throw', 'bpf_strlen', 'bpf_local_irq_save', 'bpf_rbtree_add_impl'].find(
    (name) => ownKernelBtf().find(name, 'func') === undefined || !text.includes(`\0${name}\0`),
  );
  return missing === undefined ? null : `the kernel has no function ${missing}`;
}

const why = lacks();
if (typeof linux === 'string' || why !== null) {
  skipReason('kernel functions on Linux', why ?? '');
  describe.skip('kernel functions on Linux', () => it('cannot be asked here', () => {}));
} else {
  afterAll(() => linux.shutdown());
  const types = linux.kernelBtf();
  const shared: KfuncKernel = {
    progLoad: (attr) => linux.progLoad(attr),
    progTestRun: (attr) => linux.progTestRun(attr),
    btfLoad: (attr) => linux.btfLoad(attr),
    mapCreate: (attr) => linux.mapCreate(attr),
    kernelBtf: () => types,
    // Descriptors go with the kernel, at the end.
    shutdown: () => {},
  };
  describe('kernel functions on Linux', () => kfuncContract(() => shared));
}
