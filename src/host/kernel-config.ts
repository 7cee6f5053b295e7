/** The configuration that the running kernel was built with, where distributions and the kernel itself put it. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Configurations have about 300 KB. */
const MAX_CONFIG = 16 << 20;

/** `release` as uname(2) tells it. Null where there is no such file, or none that can be read. */
export function readKernelConfig(release: string): string | null {
  const places = [`/boot/config-${release}`, '/proc/config.gz', `/lib/modules/${release}/config`];
  for (const path of places) {
    try {
      const bytes = readFileSync(path);
      const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
      return (gzipped ? gunzipSync(bytes, { maxOutputLength: MAX_CONFIG }) : bytes).toString('utf8');
    } catch {
      // The next place.
    }
  }
  return null;
}
