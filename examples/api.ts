/** The library in twenty lines: `npx tsx examples/api.ts`. Elsewhere the import is from 'tsbpf'. */
import { readFileSync } from 'node:fs';
import { BpfObject, EmbeddedKernel, VerifierError } from '../src/index.ts';

const kernel = new EmbeddedKernel();
const object = BpfObject.open(readFileSync(new URL('objects/xdp_filter.bpf.o', import.meta.url)));
try {
  object.load(kernel);
} catch (error) {
  // What the verifier has to say: the reason, the C line, the registers that matter, the whole log.
  if (error instanceof VerifierError) console.error(error.message, error.source, error.registers, error.log);
  throw error;
}

const ifindex = kernel.simulator.addInterface('eth0');
object.findProgram('xdp_filter').attach({ interface: 'eth0' });
// 10.66.0.0/16: prefix length, then the address in network byte order.
object.findMap('blocked').set({ prefix_length: 16, address: 0x420a }, 1);

/** An Ethernet frame with an IPv4 UDP header from `source`. */
function frame(source: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(64);
  bytes.set([0x08, 0x00, 0x45], 12);
  bytes[23] = 17;
  bytes.set(source, 26);
  return bytes;
}

for (const source of [
  [10, 0, 0, 1],
  [10, 66, 0, 1],
]) {
  const { xdp } = kernel.simulator.receive({ ifindex, data: frame(source) });
  console.log(source.join('.'), xdp === 2 ? 'passes' : 'is dropped');
}
console.log('UDP:', object.findMap('protocols').get(17));
object.close();
kernel.shutdown();
