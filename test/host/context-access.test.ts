/** The context layouts against the running kernel: every offset, every size, loads and stores, for every type. */
import { describe, expect, it } from 'vitest';
import {
  attachTypeByName,
  ctxAccess,
  PROG_TYPES,
  type ProgTypeRow,
  returnRange,
} from '../../src/spec/index.ts';
import { exitWith, insn, type ProbeRequest, probe, whyNoProbe } from './probe.ts';

const why = whyNoProbe();
if (why !== null) console.log(`context access skipped: ${why}`);

const SIZES = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 } as const;
const OWN_ATTACH_TYPES: Readonly<Record<string, readonly string[]>> = { xdp: ['XDP', 'XDP_DEVMAP'] };

function attachTypesOf(type: ProgTypeRow): (string | undefined)[] {
  return [...(type.attachTypes ?? OWN_ATTACH_TYPES[type.name] ?? [undefined])];
}

function loadRequest(type: ProgTypeRow, attachType: string | undefined, insns: string): ProbeRequest {
  return {
    op: 'prog_load',
    prog_type: type.id,
    insns,
    expected_attach_type: attachType === undefined ? 0 : (attachTypeByName(attachType)?.id ?? 0),
    flags: type.mustSleep ? 16 : 0,
  };
}

/** Types whose programs load here without a BTF target. */
const TYPES = PROG_TYPES.filter((type) => !type.needsAttachBtf);

describe.skipIf(why !== null)('contexts against the running kernel', () => {
  it('agrees on every access', { timeout: 300_000 }, () => {
    const unasked = new Set<string>();
    const wrong: string[] = [];
    let agreed = 0;
    for (const type of TYPES) {
      const end = type.ctx.size + 8;
      const offsets = Array.from({ length: end }, (_, i) => i).filter(
        (offset) => type.ctx.size <= 256 || offset < 40 || offset > end - 40,
      );
      const cells = attachTypesOf(type).flatMap((attachType) =>
        offsets.flatMap((offset) =>
          ([1, 2, 4, 8] as const).flatMap((size) =>
            offset % size === 0 && offset < 0x8000
              ? [false, true].map((write) => ({ attachType, offset, size, write }))
              : [],
          ),
        ),
      );
      const answers = probe(
        cells.map(({ attachType, offset, size, write }) => {
          const access = write
            ? insn(0xb7, 0) + insn(0x63 | SIZES[size], 1, 0, offset)
            : insn(0x61 | SIZES[size], 0, 1, offset);
          return loadRequest(type, attachType, access + exitWith(1));
        }),
      );
      cells.forEach(({ attachType, offset, size, write }, i) => {
        const { log, errno } = answers[i] ?? { log: '', errno: 0 };
        if (errno !== 0 && !/^0: /m.test(log)) {
          unasked.add(type.name);
          return;
        }
        const kernel =
          !/invalid bpf_context access|invalid access to context|dereference of modified ctx/.test(log);
        const ours = ctxAccess(type.ctx, { offset, size, write, attachType }) !== null;
        if (kernel === ours) agreed++;
        else
          wrong.push(
            `${type.name} ${attachType ?? '-'} ${write ? 'store' : 'load'} ${size} at ${offset}: kernel ${kernel}`,
          );
      });
    }
    console.log(
      `context access: ${agreed} agree, ${wrong.length} differ; not loadable here: ${[...unasked].join(', ')}`,
    );
    expect(wrong).toEqual([]);
    expect(agreed).toBeGreaterThan(15_000);
  });

  it('agrees on the range of R0 at exit and on expected attach types', { timeout: 120_000 }, () => {
    const values = [-1, 0, 1, 2, 3, 4];
    const wrong: string[] = [];
    let agreed = 0;
    for (const type of TYPES) {
      const cells = attachTypesOf(type).flatMap((attachType) =>
        values.map((value) => ({ attachType, value })),
      );
      const answers = probe(
        cells.map(({ attachType, value }) => loadRequest(type, attachType, exitWith(value))),
      );
      cells.forEach(({ attachType, value }, i) => {
        const { errno, log } = answers[i] ?? { errno: 0, log: '' };
        if (errno !== 0 && log === '') return;
        const range = returnRange(type, attachType);
        const ours = range === null || (value >= range.min && value <= range.max);
        if (ours === (errno === 0)) agreed++;
        else wrong.push(`${type.name} ${attachType ?? '-'} returns ${value}: errno ${errno} ${log}`);
      });
    }
    console.log(`return ranges: ${agreed} agree, ${wrong.length} differ`);
    expect(wrong).toEqual([]);
  });

  it('agrees on which expected attach types PROG_LOAD takes', { timeout: 120_000 }, () => {
    const ids = Array.from({ length: 58 }, (_, i) => i);
    const wrong: string[] = [];
    let agreed = 0;
    for (const type of TYPES.filter((row) => row.attachTypes !== undefined || row.noAttachType)) {
      const answers = probe(
        ids.map((id) => ({ ...loadRequest(type, undefined, exitWith(1)), expected_attach_type: id })),
      );
      const accepted = new Set(type.attachTypes?.map((name) => attachTypeByName(name)?.id) ?? [0]);
      if (type.defaultAttachType !== undefined) accepted.add(0);
      if (answers.every(({ errno }) => errno !== 0)) continue;
      answers.forEach(({ errno }, id) => {
        if (accepted.has(id) === (errno === 0)) agreed++;
        else wrong.push(`${type.name} with attach type ${id}: errno ${errno}`);
      });
    }
    console.log(`attach types: ${agreed} agree, ${wrong.length} differ`);
    expect(wrong).toEqual([]);
  });
});
