/** Events and attachments of the host kernel, and what is rightly otherwise on Linux 6.1. */
import '../../host/host-events.test.ts';
import { knownDifferences } from '../agent/vitest.ts';

knownDifferences({
  'links > tcx programs run in the order that was asked for': 'before 6.6 there is no tcx',
  'questions > a process that is killed leaves nothing':
    'the guest has no tsx to start a second program with',
});
