/** The table of allowed helpers against the running kernel: every helper in every program type and attach type. */
import { describe, expect, it } from 'vitest';
import {
  attachTypeByName,
  HELPERS,
  helperAllowed,
  PROG_TYPES,
  type ProgTypeRow,
} from '../../src/spec/index.ts';
import { exitWith, insn, type ProbeAnswer, probe, whyNoProbe } from './probe.ts';

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

describe.skipIf(why !== null)('helpers against the running kernel', () => {
  it('agrees on which programs may call which helper', { timeout: 120_000 }, () => {
    const targets = probe([
      { op: 'btf_id', name: 'btf_trace_sched_switch', kind: 'typedef' },
      { op: 'btf_id', name: 'bpf_iter_task', kind: 'func' },
      { op: 'btf_id', name: 'vfs_read', kind: 'func' },
    ]).map(({ id }) => id);
    const cells = PROG_TYPES.flatMap((type) =>
      attachTypesOf(type).flatMap((attachType) => HELPERS.map((helper) => ({ type, attachType, helper }))),
    );
    const answers = probe(
      cells.map(({ type, attachType, helper }) => ({
        op: 'prog_load' as const,
        prog_type: type.id,
        insns: insn(0x85, 0, 0, 0, helper.id) + exitWith(0),
        expected_attach_type: attachType === undefined ? 0 : (attachTypeByName(attachType)?.id ?? 0),
        attach_btf_id: type.needsAttachBtf
          ? attachType === 'TRACE_RAW_TP'
            ? targets[0]
            : attachType === 'TRACE_ITER'
              ? targets[1]
              : targets[2]
          : 0,
        flags: type.mustSleep ? BPF_F_SLEEPABLE : 0,
      })),
    );
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
});
