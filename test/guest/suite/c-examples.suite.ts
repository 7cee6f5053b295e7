/** The examples on the host kernel, and what is rightly otherwise on Linux 6.1. */
import '../../host/host-examples.test.ts';
import { knownDifferences } from '../agent/vitest.ts';

const STATES = 'the log of 6.1 writes the states of registers in an older way';

knownDifferences({
  'a link says where it is': 'before 6.6 the kernel does not tell what a link on a perf event hangs on',
  'the same on both kernels > unchecked_packet is refused': STATES,
  'the same on both kernels > unchecked_lookup is refused': STATES,
  'the same on both kernels > programs have the same tag, size and maps': 'before 6.18 tags are SHA-1',
});
