/** What a process has mapped: /proc/PID/maps (proc_pid_maps(5)). */
import { fromUtf8 } from '../../util/bytes.ts';

export interface ProcessMapping {
  readonly start: bigint;
  /** First address behind it. */
  readonly end: bigint;
  readonly executable: boolean;
  /** In the file. */
  readonly offset: bigint;
  /** Path, `[stack]`, or ''. */
  readonly path: string;
}

export function parseProcessMaps(bytes: Uint8Array): ProcessMapping[] {
  const mappings: ProcessMapping[] = [];
  for (const line of fromUtf8(bytes).split('\n')) {
    const match = /^([0-9a-f]{1,16})-([0-9a-f]{1,16}) (\S{4}) ([0-9a-f]{1,16}) \S+ \d+ *(.*)$/.exec(line);
    if (match === null) continue;
    const [, start, end, permissions, offset, path] = match;
    mappings.push({
      start: BigInt(`0x${start}`),
      end: BigInt(`0x${end}`),
      executable: permissions[2] === 'x',
      offset: BigInt(`0x${offset}`),
      path: path.replace(/ \(deleted\)$/, ''),
    });
  }
  return mappings;
}
