/** The search for an input: what a packet, a context or a map has to hold is found though the way to it is not straight. */
import { describe, expect, it } from 'vitest';
import { assemble, encodeProgram } from '../../src/asm/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { type SearchResult, VerifierError } from '../../src/util/index.ts';

const MAPS = {
  hash: { keySize: 4, valueSize: 8, maxEntries: 8 },
  ringbuf: { keySize: 0, valueSize: 0, maxEntries: 4096 },
} as const;

function search(progType: string, text: string, map: keyof typeof MAPS): SearchResult {
  const kernel = new EmbeddedKernel();
  const mapFd = kernel.mapCreate({ mapType: mapTypeByName(map)!.id, ...MAPS[map], mapName: map });
  try {
    kernel.progLoad({
      progType: progTypeByName(progType)!.id,
      insns: encodeProgram(assemble(text, { mapFd: () => mapFd })),
      license: 'GPL',
    });
  } catch (error) {
    expect(error).toBeInstanceOf(VerifierError);
    return (error as VerifierError).findInput!({ milliseconds: 60_000, tries: 2000 });
  }
  throw new Error('accepted');
}

/** R6 is the start of a packet with at least 14 bytes. */
const PACKET = `r9 = r1
  r6 = *(u32 *)(r1 +0)
  r2 = *(u32 *)(r1 +4)
  r3 = r6
  r3 += 14
  if r3 > r2 goto out`;
const RESERVE = `r1 = map[m]
  r2 = 8
  r3 = 0
  call bpf_ringbuf_reserve
  if r0 == 0 goto out
  r7 = r0`;
const SUBMIT = `r1 = r7
  r2 = 0
  call bpf_ringbuf_submit
  out: r0 = 2
  end: exit`;
/** R0 is a value of 8 bytes. */
const LOOKUP = `*(u32 *)(r10 -4) = 1
  r2 = r10
  r2 += -4
  r1 = map[m]
  call bpf_map_lookup_elem
  if r0 == 0 goto out`;

describe('an input is found', () => {
  it('whose bytes lead to a leak at an exit that all paths share', () => {
    const { found } = search(
      'xdp',
      `${PACKET}
  ${RESERVE}
  r0 = 1
  r2 = *(u8 *)(r6 +5)
  if r2 != 33 goto fine
  r2 = *(u8 *)(r6 +6)
  if r2 == 99 goto end
  fine: ${SUBMIT}`,
      'ringbuf',
    );
    expect(found?.packet?.slice(10, 14)).toBe('2163');
  });

  it('with an entry of a hash map and an index from the packet', () => {
    const { found } = search(
      'xdp',
      `${PACKET}
  ${LOOKUP}
  r2 = *(u8 *)(r6 +2)
  r2 &= 15
  r0 += r2
  r0 = *(u8 *)(r0 +0)
  out: exit`.replace('if r3 > r2 goto out', 'r0 = 0\n  if r3 > r2 goto out'),
      'hash',
    );
    expect(found?.maps).toMatchObject([{ map: 'hash', key: '01000000' }]);
    expect(Number.parseInt(found!.packet!.slice(4, 6), 16) & 15).toBeGreaterThan(7);
  });

  it('with a receive queue', () => {
    const { found } = search(
      'xdp',
      `r6 = r1
  ${RESERVE}
  r0 = 1
  r2 = *(u32 *)(r6 +16)
  if r2 == 3 goto end
  ${SUBMIT}`,
      'ringbuf',
    );
    // struct xdp_md, as PROG_TEST_RUN takes it: data_end, ingress_ifindex, rx_queue_index.
    expect(found?.context).toBe(`000000000e00000000000000${'01000000'}03`);
  });

  it('with fields of a packet that only its context has', () => {
    const { found } = search(
      'sched_cls',
      `r6 = r1
  ${LOOKUP}
  r2 = *(u64 *)(r0 +0)
  if r2 < 1000 goto out
  r2 = *(u32 *)(r6 +8)
  if r2 != 7 goto out
  r2 = *(u32 *)(r6 +32)
  r2 &= 15
  r0 += r2
  r0 = *(u8 *)(r0 +0)
  out: r0 = 0
  exit`,
      'hash',
    );
    const word = (at: number) => Number.parseInt(found!.context!.slice(2 * at, 2 * at + 2), 16);
    expect(word(8)).toBe(7);
    expect(word(32) & 15).toBeGreaterThan(7);
  });
});
