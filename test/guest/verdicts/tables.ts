/**
 * Tables of small programs that together ask a kernel for everything that differs from release to release: each helper from each
 * program type, each byte of each context, each opcode; random programs for the rules of unprivileged users; and exploits.
 */
import { encodeProgram } from '../../../src/asm/index.ts';
import { attachTypeByName, HELPERS, PROG_TYPES } from '../../../src/spec/index.ts';
import { toHex } from '../../../src/util/index.ts';
import type { MapKind } from '../../../tools/conformance/verifier-case.ts';
import { type GeneratedProgram, generateProgram } from '../../generator/generate.ts';
import { EXPLOITS } from '../../verifier/cves/index.ts';
import { exploitInsns } from '../../verifier/cves/support.ts';
import type { VerdictCase } from './protocol.ts';

export interface Table {
  readonly cases: readonly VerdictCase[];
  readonly kinds: Readonly<Record<string, MapKind>>;
}

const BPF_F_ANY_ALIGNMENT = 2;
const EXIT = '9500000000000000';
const R0_IS_0 = 'b700000000000000';

function word(value: number, bytes: number): string {
  let text = '';
  for (let i = 0; i < bytes; i++) text += ((value >> (8 * i)) & 255).toString(16).padStart(2, '0');
  return text;
}

const inHex = (bytes: Uint8Array): string[] =>
  Array.from({ length: bytes.length / 8 }, (_, at) => toHex(bytes.subarray(8 * at, 8 * at + 8)));

const insn = (code: number, dst: number, src: number, off: number, imm: number): string =>
  word(code, 1) + word((src << 4) | dst, 1) + word(off, 2) + word(imm, 4);

/** Attach types to load a type with: one for each that its row names. */
function attachTypesOf(row: (typeof PROG_TYPES)[number]): number[] {
  return (row.attachTypes ?? []).length === 0
    ? [0]
    : row.attachTypes!.map((name) => attachTypeByName(name)!.id);
}

/** What programs attach to where the type needs a function of the kernel. */
const ATTACH_FUNCTIONS: Readonly<Record<string, string>> = {
  TRACE_FENTRY: 'bpf_fentry_test1',
  TRACE_FEXIT: 'bpf_fentry_test1',
  MODIFY_RETURN: 'bpf_modify_return_test',
  TRACE_ITER: 'bpf_iter_task',
  LSM_MAC: 'bpf_lsm_file_open',
  LSM_CGROUP: 'bpf_lsm_socket_post_create',
};

/** Every program type with every attach type that matters, as the head of a case. */
function types(): Omit<VerdictCase, 'id' | 'name' | 'insns'>[] {
  return PROG_TYPES.flatMap((row) =>
    attachTypesOf(row).flatMap((expectedAttachType) => {
      const head = { progType: row.name, expectedAttachType, loadFlags: BPF_F_ANY_ALIGNMENT, maps: {} };
      if (row.needsAttachBtf !== true) return head;
      const name = row.attachTypes?.find((one) => attachTypeByName(one)!.id === expectedAttachType);
      const attachFunc = name === undefined ? undefined : ATTACH_FUNCTIONS[name];
      return attachFunc === undefined ? [] : { ...head, attachFunc };
    }),
  );
}

export function helpers(): VerdictCase[] {
  let id = 0;
  return types().flatMap((head) =>
    HELPERS.map((helper) => ({
      ...head,
      id: id++,
      name: `${helper.name} from ${head.progType}`,
      insns: [insn(0x85, 0, 0, 0, helper.id), R0_IS_0, EXIT],
    })),
  );
}

const SIZES = [
  [1, 0x71, 0x73],
  [2, 0x69, 0x6b],
  [4, 0x61, 0x63],
  [8, 0x79, 0x7b],
] as const;

/** Loads from and stores into contexts that are made of fields, of every size at every aligned offset. */
export function contexts(): VerdictCase[] {
  let id = 0;
  return types().flatMap((head) => {
    const { ctx } = PROG_TYPES.find((row) => row.name === head.progType)!;
    if (ctx.access !== 'fields') return [];
    const size = Math.min(ctx.size ?? 256, 256) + 8;
    return SIZES.flatMap(([bytes, load, store]) =>
      Array.from({ length: Math.ceil(size / bytes) }, (_, i) => i * bytes).flatMap((off) => [
        {
          ...head,
          id: id++,
          name: `load of ${bytes} bytes at ${off} of ${head.progType}`,
          insns: [insn(load, 2, 1, off, 0), R0_IS_0, EXIT],
        },
        {
          ...head,
          id: id++,
          name: `store of ${bytes} bytes at ${off} of ${head.progType}`,
          insns: [R0_IS_0, insn(store, 1, 0, off, 0), EXIT],
        },
      ]),
    );
  });
}

/** Every opcode, with the values of its other fields that mean something. */
export function instructions(): VerdictCase[] {
  let id = 0;
  const rows: VerdictCase[] = [];
  for (let code = 0; code < 256; code++) {
    for (const src of [0, 1, 2]) {
      for (const off of [0, 1, 8]) {
        for (const imm of [0, 1, 32, 0xe1, 0x100]) {
          // r1 context, r2 stack, r3 scalar
          for (const dst of [2, 3]) {
            if (dst === 2 && code % 8 > 3) continue;
            rows.push({
              id: id++,
              name: `opcode 0x${code.toString(16)} dst ${dst} src ${src} off ${off} imm ${imm}`,
              progType: 'socket_filter',
              expectedAttachType: 0,
              loadFlags: BPF_F_ANY_ALIGNMENT,
              insns: [
                insn(0xbf, 2, 10, 0, 0),
                insn(0x7a, 10, 0, -8, 0),
                insn(0xb7, 3, 0, 0, 7),
                R0_IS_0,
                insn(code, dst, src === 2 ? 3 : src, off, imm),
                R0_IS_0,
                R0_IS_0,
                EXIT,
              ],
              maps: {},
            });
          }
        }
      }
    }
  }
  return rows;
}

const MAP_TYPE_NAMES: Readonly<Record<string, string>> = {
  hash: 'HASH',
  array: 'ARRAY',
  prog_array: 'PROG_ARRAY',
  percpu_hash: 'PERCPU_HASH',
  percpu_array: 'PERCPU_ARRAY',
  queue: 'QUEUE',
  stack: 'STACK',
};

export function fuzz(count: number, seed: number): Table {
  const kinds: Record<string, MapKind> = {};
  const cases = Array.from({ length: count }, (_, i): VerdictCase => {
    const program: GeneratedProgram = generateProgram(seed + i, {
      damage: 0.4,
      size: 12,
      ...(i % 4 === 0 ? {} : { progKind: 'socket_filter' }),
    });
    const maps: Record<string, number[]> = {};
    for (const { slot, map } of program.fixes) {
      const spec = program.maps[map]!;
      const name = `${spec.kind}-${spec.keySize}-${spec.valueSize}-${spec.maxEntries}`;
      kinds[name] ??= {
        type: MAP_TYPE_NAMES[spec.kind]!,
        key: spec.keySize,
        value: spec.valueSize,
        max_entries: spec.maxEntries,
      };
      // Two maps of one kind are one map here.
      maps[name] ??= [];
      maps[name].push(slot);
    }
    const bytes = encodeProgram(program.insns);
    return {
      id: i,
      name: `seed ${seed + i}`,
      progType: program.progKind,
      expectedAttachType: 0,
      loadFlags: 0,
      insns: inHex(bytes),
      maps,
    };
  });
  return { cases, kinds };
}

/** Exploits of old bugs, without those whose maps have to be frozen. */
export function exploits(): Table {
  const kinds: Record<string, MapKind> = {};
  const cases = EXPLOITS.filter((one) => !one.maps?.some((map) => map.frozen)).map(
    (exploit, id): VerdictCase => {
      const maps: Record<string, number[]> = {};
      const insns = exploitInsns(exploit, []);
      const names = (exploit.maps ?? []).map((map) => {
        const name = `${map.type}-${map.keySize}-${map.valueSize}-${map.maxEntries}`;
        kinds[name] ??= {
          type: map.type.toUpperCase(),
          key: map.keySize,
          value: map.valueSize,
          max_entries: map.maxEntries,
        };
        return name;
      });
      insns.forEach((one, slot) => {
        if (one?.code !== 0x18 || one.src === 0) return;
        const name = names[one.imm - 1]!;
        maps[name] ??= [];
        maps[name].push(slot);
      });
      return {
        id,
        name: exploit.cve,
        progType: exploit.type ?? 'socket_filter',
        expectedAttachType: 0,
        loadFlags: 0,
        insns: inHex(encodeProgram(insns)),
        maps,
      };
    },
  );
  return { cases, kinds };
}

/** Functions of the kernel that say something of each rule of attaching, beside all hooks of the LSM. */
const TARGETS = [
  'bpf_fentry_test1',
  'bpf_fentry_test7',
  'bpf_modify_return_test',
  'security_file_open',
  'vfs_read',
  '__x64_sys_getpid',
  '__x64_sys_nanosleep',
  'do_exit',
  'make_task_dead',
  'migrate_disable',
  'migrate_enable',
  '__rcu_read_lock',
  'rcu_read_unlock_strict',
  'preempt_count_add',
  'should_failslab',
  'should_fail_alloc_page',
  '__filemap_add_folio',
  'vprintk',
  '_printk',
  'bpf_iter_task',
  'bpf_iter_tcp',
  'bpf_lsm_file_open',
  'none_such',
];

/** Attach types with what the name of a function gets in front, and whether the program sleeps. */
const ATTACHMENTS = [
  ['tracing', 'TRACE_FENTRY', false],
  ['tracing', 'TRACE_FENTRY', true],
  ['tracing', 'TRACE_FEXIT', false],
  ['tracing', 'MODIFY_RETURN', false],
  ['tracing', 'MODIFY_RETURN', true],
  ['tracing', 'TRACE_RAW_TP', false],
  ['tracing', 'TRACE_RAW_TP', true],
  ['tracing', 'TRACE_ITER', false],
  ['tracing', 'TRACE_ITER', true],
  ['lsm', 'LSM_MAC', false],
  ['lsm', 'LSM_MAC', true],
  ['lsm', 'LSM_CGROUP', false],
  ['ext', '', false],
] as const;

const BPF_F_SLEEPABLE = 16;
const setR0 = (value: number): string => insn(0xb7, 0, 0, 0, value);

/** Programs that do nothing, for what a program may attach to; `hooks`: names of functions `bpf_lsm_*`. */
export function attachments(hooks: readonly string[]): VerdictCase[] {
  let id = 0;
  const rows: VerdictCase[] = [];
  const add = (
    [progType, attachType, sleeps]: (typeof ATTACHMENTS)[number],
    attachFunc: string,
    value: number,
    attachKind: 'func' | 'typedef' | 'struct' = 'func',
  ): void => {
    const kind = `${progType} ${attachType} ${sleeps ? 'sleepable ' : ''}`;
    rows.push({
      id: id++,
      name: `${kind}${attachFunc} returns ${value}`,
      progType,
      expectedAttachType: attachType === '' ? 0 : attachTypeByName(attachType)!.id,
      loadFlags: sleeps ? BPF_F_SLEEPABLE : 0,
      insns: [setR0(value), EXIT],
      maps: {},
      attachFunc,
      attachKind,
    });
  };
  for (const attachment of ATTACHMENTS) {
    for (const target of TARGETS) add(attachment, target, attachment[1] === 'LSM_CGROUP' ? 1 : 0);
    add(attachment, 'btf_trace_sys_enter', 0, 'typedef');
    add(attachment, 'task_struct', 0, 'struct');
    if (attachment[0] !== 'lsm') continue;
    for (const hook of hooks) for (const value of [0, 1, -1, 2]) add(attachment, hook, value);
  }
  return rows;
}
