/** The size and flag rules of MAP_CREATE against the running kernel, around every border. */
import { describe, expect, it } from 'vitest';
import {
  MAP_TYPES,
  type MapTypeRow,
  mapCreateError,
  mapTypeByName,
  type SizeRule,
} from '../../src/spec/index.ts';
import { BPF_MAP_FLAGS } from '../../src/uapi/index.ts';
import { ERRNO } from '../../src/util/index.ts';
import { type ProbeRequest, probe, whyNoProbe } from './probe.ts';

const why = whyNoProbe();
if (why !== null) console.log(`MAP_CREATE probes skipped: ${why}`);

/** BTF with [1] int, [2] unsigned char, [3] unsigned char[size]. */
function btfOfSize(size: number): string {
  const words = [
    [1, 1 << 24, 4, (1 << 24) | 32],
    [5, 1 << 24, 1, 8],
    [0, 3 << 24, 0, 2, 1, size],
  ].flat();
  const strings = Buffer.from('\0int\0u8\0');
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f, 0);
  header.writeUInt8(1, 2);
  [24, 0, 4 * words.length, 4 * words.length, strings.length].forEach((word, i) => {
    header.writeUInt32LE(word, 4 + 4 * i);
  });
  const body = Buffer.alloc(4 * words.length);
  words.forEach((word, i) => {
    body.writeUInt32LE(word >>> 0, 4 * i);
  });
  return Buffer.concat([header, body, strings]).toString('hex');
}

const flag = (name: string): number => BPF_MAP_FLAGS[name as keyof typeof BPF_MAP_FLAGS];
const valid = (rule: SizeRule): number =>
  rule.oneOf?.[0] ?? (rule.pageAlignedPowerOfTwo ? 4096 : (rule.min ?? 4));

interface Params {
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
}

function request(row: MapTypeRow, params: Params): ProbeRequest {
  return {
    op: 'map_create',
    map_type: row.id,
    key_size: params.keySize,
    value_size: params.valueSize,
    max_entries: params.maxEntries,
    map_flags: params.flags,
    ...(row.needsBtf ? { btf: btfOfSize(params.valueSize), btf_key_type_id: 1, btf_value_type_id: 3 } : {}),
    ...(row.holds === 'map' ? { inner: { map_type: 2, key_size: 4, value_size: 4, max_entries: 1 } } : {}),
  };
}

function borders(rule: SizeRule): number[] {
  const sizes = [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 4096, 8192, 12288];
  for (const border of [rule.min, rule.max])
    if (border !== undefined) sizes.push(border - 1, border, border + 1);
  return [...new Set(sizes)].filter((size) => size >= 0 && size < 2 ** 32);
}

describe.skipIf(why !== null)('MAP_CREATE against the running kernel', () => {
  it('agrees on sizes and flags of every map type', { timeout: 120_000 }, () => {
    const wrong: string[] = [];
    let agreed = 0;
    for (const row of MAP_TYPES.filter(({ name }) => name !== 'struct_ops')) {
      const base: Params = {
        keySize: row.name.includes('lpm') ? 8 : valid(row.keySize),
        valueSize: valid(row.valueSize),
        maxEntries: valid(row.maxEntries),
        flags: (row.requiredFlags ?? []).reduce((flags, name) => flags | flag(name), 0),
      };
      const cases: Params[] = [base];
      for (const keySize of borders(row.keySize)) cases.push({ ...base, keySize });
      for (const valueSize of borders(row.valueSize)) cases.push({ ...base, valueSize });
      // Large maps are left out: the answer then depends on the machine's memory.
      for (const maxEntries of borders(row.maxEntries))
        if (maxEntries <= 12288 || (row.maxEntries.max ?? 0) < maxEntries)
          cases.push({ ...base, maxEntries });
      for (let bit = 0; bit < 24; bit++) cases.push({ ...base, flags: base.flags ^ (1 << bit) });
      cases.push({ ...base, flags: base.flags | flag('BPF_F_RDONLY') | flag('BPF_F_WRONLY') });
      cases.push({ ...base, flags: base.flags | flag('BPF_F_RDONLY_PROG') | flag('BPF_F_WRONLY_PROG') });
      const checkable = cases.filter(({ flags, valueSize, maxEntries }) => {
        if (row.name === 'cpumap' && maxEntries > 64) return false; // NR_CPUS is the machine's own
        const token = (flags & flag('BPF_F_TOKEN_FD')) !== 0;
        return !token && (!row.needsBtf || valueSize > 0);
      });
      const answers = probe(checkable.map((params) => request(row, params)));
      checkable.forEach((params, i) => {
        const refusal = mapCreateError(row, { ...params, hasBtf: row.needsBtf === true });
        const ours = refusal === null ? 0 : ERRNO[refusal.errno];
        const kernel = answers[i]?.errno;
        if (ours === kernel) agreed++;
        else wrong.push(`${row.name} ${JSON.stringify(params)}: kernel ${kernel}, table ${ours}`);
      });
    }
    console.log(`MAP_CREATE: ${agreed} agree, ${wrong.length} differ`);
    expect(wrong).toEqual([]);
    expect(mapTypeByName('hash')?.id).toBe(1);
  });
});
