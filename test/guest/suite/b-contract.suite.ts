/** The contract suite of the host kernel, and what is rightly otherwise on Linux 6.1. */
import '../../host/host-contract.test.ts';
import { knownDifferences } from '../agent/vitest.ts';

const FREEZE = 'before 6.5 MAP_FREEZE asks for a capability, not for the right to write';
const TAG = 'before 6.18 tags are SHA-1';

knownDifferences({
  'host kernel > descriptors > read-only and write-only for user space': FREEZE,
  'host kernel > MAP_FREEZE > ends writing by commands': FREEZE,
  'host kernel > program info > tags the instructions with SHA-256, map descriptors blanked': TAG,
  'host kernel > program info > tags loads of map values without their descriptor': TAG,
  'host kernel > PROG_TEST_RUN of socket buffers > gives what the program left in the context':
    'before 6.4 constants cannot be stored into contexts',
});
