/**
 * Cases of test/host that an older Linux, or the guest, rightly fails, by full name. They are reported as skipped with the reason;
 * one that passes is reported as failed, so that no row outlives its cause.
 */
import { readFileSync } from 'node:fs';
import { isOlder } from '../../../src/host/release.ts';
import { knownDifferences } from '../agent/vitest.ts';

const FREEZE = 'MAP_FREEZE asks for a capability, not for the right to write';
const TAG = 'tags are SHA-1';
const NO_TSX = 'the guest has no tsx to start a second program with';
const STATES = 'the log writes the states of registers in an older way';

/** [case, what is different, the release from on which it is not]. */
const BEFORE: readonly (readonly [name: string, reason: string, release: string])[] = [
  ['host kernel > descriptors > read-only and write-only for user space', FREEZE, '6.5'],
  ['host kernel > MAP_FREEZE > ends writing by commands', FREEZE, '6.5'],
  ['host kernel > program info > tags the instructions with SHA-256, map descriptors blanked', TAG, '6.18'],
  ['host kernel > program info > tags loads of map values without their descriptor', TAG, '6.18'],
  [
    'host kernel > PROG_TEST_RUN of socket buffers > gives what the program left in the context',
    'constants cannot be stored into contexts',
    '6.4',
  ],
  ['a link says where it is', 'the kernel does not tell what a link on a perf event hangs on', '6.6'],
  ['the same on both kernels > unchecked_packet is refused', STATES, '6.9'],
  ['the same on both kernels > unchecked_lookup is refused', STATES, '6.9'],
  ['the same on both kernels > programs have the same tag, size and maps', TAG, '6.18'],
  ['links > tcx programs run in the order that was asked for', 'there is no tcx', '6.6'],
  ['multi-uprobe by pattern', 'there are no multi-uprobes', '6.6'],
  ['multi-uretprobe by symbols', 'there are no multi-uprobes', '6.6'],
];

const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8');

knownDifferences({
  ...Object.fromEntries(
    BEFORE.filter(([, , since]) => isOlder(release, since)).map(([name, reason, since]) => [
      name,
      `before ${since} ${reason}`,
    ]),
  ),
  'questions > a process that is killed leaves nothing': NO_TSX,
  'questions > a pinned link outlives its process: it goes on until the pin is removed': NO_TSX,
});
