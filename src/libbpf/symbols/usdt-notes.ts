/**
 * USDT probes of an executable: the notes that sys/sdt.h leaves in `.note.stapsdt` (SystemTap wiki, "UserSpaceProbeImplementation").
 * Addresses in a note are those at link time; where the file was prelinked they are moved by what `.stapsdt.base` has moved.
 */
import { readCString } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import type { Executable } from './executable.ts';

export interface UsdtNote {
  readonly provider: string;
  readonly name: string;
  /** `-4@%edi 8@-8(%rbp)` */
  readonly arguments: string;
  /** Virtual address of the probe's nop. */
  readonly address: number;
  /** The nop in the file. */
  readonly offset: number;
  /** The semaphore in the file: a 16-bit counter that says whether anybody listens. Undefined: the probe has none. */
  readonly semaphoreOffset: number | undefined;
}

const SECTION = '.note.stapsdt';
const NAME = 'stapsdt';
const TYPE = 3;

export function usdtNotes(executable: Executable): UsdtNote[] {
  const word = executable.wide ? 8 : 4;
  const base = executable.section('.stapsdt.base')?.address;
  const notes: UsdtNote[] = [];
  for (const { name, type, data } of executable.notes(SECTION)) {
    if (name !== NAME || type !== TYPE) continue;
    if (data.length < 3 * word)
      throw new BpfError('EINVAL', `${executable.path}: a note of ${SECTION} has ${data.length} bytes`);
    const noted = executable.address(data, word);
    const moved = base === undefined || noted === 0 ? 0 : base - noted;
    const address = executable.address(data, 0) + moved;
    const semaphore = executable.address(data, 2 * word);
    const strings = data.subarray(3 * word);
    const provider = readCString(strings);
    const probe = readCString(strings, provider.length + 1);
    const offset = executable.offsetOf(address, { executable: true });
    if (offset === undefined)
      throw new BpfError(
        'EINVAL',
        `${executable.path}: the probe ${provider}:${probe} is at 0x${address.toString(16)}, where there is no code`,
      );
    notes.push({
      provider,
      name: probe,
      arguments: readCString(strings, provider.length + probe.length + 2),
      address,
      offset,
      semaphoreOffset:
        semaphore === 0 ? undefined : executable.offsetOf(semaphore + moved, { executable: false }),
    });
  }
  return notes;
}
