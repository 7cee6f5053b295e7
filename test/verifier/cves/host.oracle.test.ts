/** The same word as Linux's, on every exploit, where this machine's kernel may be asked. */
import { describe, expect, it } from 'vitest';
import type { Kernel } from '../../../src/contracts/kernel.ts';
import { createHostKernel, whyNoHostKernel } from '../../../src/host/index.ts';
import { EmbeddedKernel } from '../../../src/kernel/index.ts';
import { VerifierError } from '../../../src/util/errors.ts';
import { EXPLOITS } from './index.ts';
import { type Exploit, loadExploit, makeMaps } from './support.ts';

const reason = await whyNoHostKernel();
if (reason !== null) console.log(`exploits are not compared with Linux: ${reason}`);

/** `accept`, or errno and last line of the log. */
function verdict(kernel: Kernel, exploit: Exploit): string {
  const fds = makeMaps(kernel, exploit);
  try {
    kernel.close(loadExploit(kernel, exploit, fds));
    return 'accept';
  } catch (error) {
    if (!(error instanceof VerifierError)) throw error;
    return `${error.code}: ${error.message}`;
  } finally {
    for (const fd of fds) kernel.close(fd);
  }
}

describe.skipIf(reason !== null)('exploits on Linux', () => {
  it.each(EXPLOITS)('$cve: the same verdict, errno and reason', async (exploit) => {
    const host = await createHostKernel();
    const embedded = new EmbeddedKernel({ possibleCpus: 2 });
    try {
      expect(verdict(embedded, exploit)).toBe(verdict(host, exploit));
    } finally {
      host.shutdown();
      embedded.shutdown();
    }
  });
});
