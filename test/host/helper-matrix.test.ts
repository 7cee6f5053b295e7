/** The table of allowed helpers against the running kernel: every helper in every program type and attach type. */
import { describe, expect, it } from 'vitest';
import {
  attachTypeByName,
  HELPERS,
  type HelperRow,
  helperAllowed,
  helperFor,
  PROG_TYPES,
  type ProgTypeRow,
} from '../../src/spec/index.ts';
import { exitWith, insn, type ProbeAnswer, type ProbeRequest, probe, whyNoProbe } from './probe.ts';

const why = whyNoProbe();
if (why !== null) console.log(`helper matrix skipped: ${why}`);

const BPF_F_SLEEPABLE = 16;

/** What the kernel of the machine lacks or locks, although the table rightly has it. */
const MACHINE: Readonly<Record<string, string>> = {
  bpf_probe_write_user: 'lockdown',
  bpf_override_return: 'CONFIG_BPF_KPROBE_OVERRIDE',
};
/** Only for iterators over TCP, UDP and Unix sockets; the probe iterates over tasks. */
const ITERATOR_TARGET = ['bpf_setsockopt', 'bpf_getsockopt'];

function attachTypesOf(type: ProgTypeRow): (string | undefined)[] {
  if (type.attachTypes !== undefined) return [...type.attachTypes];
  const own: Record<string, string> = {
    sock_ops: 'CGROUP_SOCK_OPS',
    cgroup_device: 'CGROUP_DEVICE',
    cgroup_sysctl: 'CGROUP_SYSCTL',
  };
  return [own[type.name]];
}

/** Whether the kernel knows the helper for the program; null: it did not get as far as the call. */
function verdict({ errno, log }: ProbeAnswer): boolean | null {
  if (/cannot use helper|unknown func|supported only for|helper call is not allowed in probe/.test(log))
    return false;
  if (/func \S+ not supported for program type/.test(log)) return false;
  return errno === 0 || /^0: /m.test(log) ? true : null;
}

interface Cell {
  readonly type: ProgTypeRow;
  readonly attachType: string | undefined;
  readonly helper: HelperRow;
}

function allCells(): Cell[] {
  return PROG_TYPES.flatMap((type) =>
    attachTypesOf(type).flatMap((attachType) => HELPERS.map((helper) => ({ type, attachType, helper }))),
  );
}

/** BTF ids of something to attach to: a tracepoint, an iterator, a function. */
function btfTargets(): number[] {
  return probe([
    { op: 'btf_id', name: 'btf_trace_sched_switch', kind: 'typedef' },
    { op: 'btf_id', name: 'bpf_iter_task', kind: 'func' },
    { op: 'btf_id', name: 'vfs_read', kind: 'func' },
  ]).map(({ id }) => id);
}

function request({ type, attachType, helper }: Cell, [tracepoint, iterator, func]: number[]): ProbeRequest {
  const target = attachType === 'TRACE_RAW_TP' ? tracepoint : attachType === 'TRACE_ITER' ? iterator : func;
  return {
    op: 'prog_load',
    prog_type: type.id,
    insns: insn(0x85, 0, 0, 0, helper.id) + exitWith(0),
    expected_attach_type: attachType === undefined ? 0 : (attachTypeByName(attachType)?.id ?? 0),
    attach_btf_id: type.needsAttachBtf ? target : 0,
    flags: type.mustSleep ? BPF_F_SLEEPABLE : 0,
  };
}

describe.skipIf(why !== null)('helpers against the running kernel', () => {
  it('agrees on which programs may call which helper', { timeout: 120_000 }, () => {
    const targets = btfTargets();
    const cells = allCells();
    const answers = probe(cells.map((cell) => request(cell, targets)));
    const unasked = new Set<string>();
    const wrong: string[] = [];
    let agreed = 0;
    let excused = 0;
    cells.forEach(({ type, attachType, helper }, i) => {
      const kernel = verdict(answers[i] as ProbeAnswer);
      const cell = `${type.name} ${attachType ?? '-'} ${helper.name}`;
      if (kernel === null) unasked.add(`${type.name} ${attachType ?? '-'}`);
      else if (kernel === helperAllowed(helper, type.name, attachType)) agreed++;
      else if (
        helper.name in MACHINE ||
        (attachType === 'TRACE_ITER' && ITERATOR_TARGET.includes(helper.name))
      )
        excused++;
      else wrong.push(`${cell}: the kernel says ${kernel}`);
    });
    console.log(
      `helper matrix: ${agreed} cells agree, ${wrong.length} differ, ${excused} depend on the machine; ` +
        `not loadable here: ${[...unasked].join(', ')}`,
    );
    expect(wrong).toEqual([]);
    expect(agreed).toBeGreaterThan(9000);
  });

  it('agrees on which helpers are for GPL-compatible programs alone', { timeout: 120_000 }, () => {
    const targets = btfTargets();
    const cells = allCells().filter(
      ({ type, attachType, helper }) =>
        helperAllowed(helper, type.name, attachType) && !(helper.name in MACHINE),
    );
    const answers = probe(cells.map((cell) => ({ ...request(cell, targets), license: 'MIT' })));
    const wrong: string[] = [];
    let agreed = 0;
    cells.forEach(({ type, attachType, helper }, i) => {
      const answer = answers[i] as ProbeAnswer;
      if (verdict(answer) !== true) return;
      const kernel = /cannot call GPL-restricted function/.test(answer.log);
      if (kernel === (helperFor(helper, type.name).gplOnly === true)) agreed++;
      else wrong.push(`${type.name} ${attachType ?? '-'} ${helper.name}: the kernel says ${kernel}`);
    });
    console.log(`GPL: ${agreed} cells agree, ${wrong.length} differ`);
    expect(wrong).toEqual([]);
  });
});
