/**
 * The tag of a program: the first 8 bytes of the SHA-256 of its instructions (Linux 6.18; SHA-1 before), with the map
 * descriptors blanked, as they differ from load to load.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { BPF_MACROS } from '../uapi/index.ts';
import { toHex } from '../util/bytes.ts';

const LD_IMM64 = 0x18;

/** 16 hex digits. `insns`: as loaded, 8 bytes an instruction. */
export function programTag(insns: Uint8Array): string {
  const blanked = insns.slice();
  const view = new DataView(blanked.buffer);
  for (let at = 0; at + 16 <= blanked.length; at += 8) {
    if (blanked[at] !== LD_IMM64) continue;
    const source = blanked[at + 1] >> 4;
    if (source === BPF_MACROS.BPF_PSEUDO_MAP_FD || source === BPF_MACROS.BPF_PSEUDO_MAP_VALUE) {
      view.setInt32(at + 4, 0, true);
      view.setInt32(at + 12, 0, true);
    }
    at += 8;
  }
  return toHex(sha256(blanked)).slice(0, 16);
}
