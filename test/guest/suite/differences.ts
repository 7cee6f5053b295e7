/**
 * Cases of test/host/host-*.test.ts that Linux 6.1, or the guest, rightly fails, by full name. They are reported as skipped with
 * the reason; one that passes is reported as failed, so that no row outlives its cause.
 */
import { knownDifferences } from '../agent/vitest.ts';

const FREEZE = 'before 6.5 MAP_FREEZE asks for a capability, not for the right to write';
const TAG = 'before 6.18 tags are SHA-1';
const STATES = 'the log of 6.1 writes the states of registers in an older way';

knownDifferences({
  'host kernel > descriptors > read-only and write-only for user space': FREEZE,
  'host kernel > MAP_FREEZE > ends writing by commands': FREEZE,
  'host kernel > program info > tags the instructions with SHA-256, map descriptors blanked': TAG,
  'host kernel > program info > tags loads of map values without their descriptor': TAG,
  'host kernel > PROG_TEST_RUN of socket buffers > gives what the program left in the context':
    'before 6.4 constants cannot be stored into contexts',
  'a link says where it is': 'before 6.6 the kernel does not tell what a link on a perf event hangs on',
  'the same on both kernels > unchecked_packet is refused': STATES,
  'the same on both kernels > unchecked_lookup is refused': STATES,
  'the same on both kernels > programs have the same tag, size and maps': TAG,
  'links > tcx programs run in the order that was asked for': 'before 6.6 there is no tcx',
  'questions > a process that is killed leaves nothing':
    'the guest has no tsx to start a second program with',
});
