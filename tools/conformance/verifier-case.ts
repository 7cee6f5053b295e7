/** One program of a table of verdicts, with the maps that it asks for: built and verified. */
import { existsSync, readFileSync } from 'node:fs';
import { decodeProgram } from '../../src/asm/index.ts';
import { CALL, CLASS, JMP_OP, LD_IMM64, PSEUDO } from '../../src/asm/opcodes.ts';
import { type Btf, BtfBuilder, btfInt, parseBtf } from '../../src/btf/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { MapInfo, SpecialField } from '../../src/contracts/maps.ts';
import type { Credentials, VerifyRequest, VerifyResult } from '../../src/contracts/verify.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { BPF_ATTACH_TYPE } from '../../src/uapi/index.ts';
import { ERRNO, fromHex } from '../../src/util/index.ts';
import { verify } from '../../src/verifier/index.ts';

export interface VerifierCase {
  readonly id: number;
  readonly name: string;
  readonly progType: string;
  readonly expectedAttachType: number;
  readonly loadFlags: number;
  readonly insns: readonly string[];
  readonly maps: Readonly<Record<string, readonly number[]>>;
  readonly kernel: {
    readonly verdict: 'accept' | 'reject';
    readonly errno: number;
    readonly message: string;
    readonly insnsProcessed?: number;
  };
}

export interface MapKind {
  readonly type: string;
  readonly key: number;
  readonly value: number;
  readonly max_entries: number;
  readonly flags?: string;
  readonly inner?: MapKind;
  readonly btf_value?: number;
  readonly btf?: string;
}

const FLAG_BITS: Readonly<Record<string, number>> = {
  NO_PREALLOC: 1,
  RDONLY_PROG: 1 << 7,
  WRONLY_PROG: 1 << 8,
};

/** Fields of a struct written as `struct val { int cnt; struct bpf_spin_lock l; }` that the verifier treats specially. */
function specialFields(text: string): SpecialField[] {
  const body = /\{(.*)\}/.exec(text)?.[1] ?? '';
  const fields: SpecialField[] = [];
  let offset = 0;
  const place = (size: number, align: number): number => {
    offset = Math.ceil(offset / align) * align + size;
    return offset - size;
  };
  for (const member of body.split(';').map((part) => part.trim())) {
    const kptr = /^(\w+) __kptr(_untrusted)? \*/.exec(member);
    if (kptr !== null) {
      fields.push({
        kind: kptr[2] === undefined ? 'kptr_ref' : 'kptr_untrusted',
        offset: place(8, 8),
        size: 8,
        target: kptr[1]!,
      });
    } else if (member.startsWith('struct bpf_spin_lock')) {
      fields.push({ kind: 'spin_lock', offset: place(4, 4), size: 4 });
    } else if (member.startsWith('struct bpf_timer')) {
      fields.push({ kind: 'timer', offset: place(16, 8), size: 16 });
    } else if (member.startsWith('int ')) {
      place(4, 4);
    }
  }
  return fields;
}

let nextMapId = 1;

function makeMap(name: string, kind: MapKind, texts: ReadonlyMap<number, string>): MapInfo {
  const type = mapTypeByName(kind.type);
  if (type === undefined) throw new Error(`map kind ${name}: unknown type ${kind.type}`);
  const text = kind.btf ?? (kind.btf_value === undefined ? undefined : texts.get(kind.btf_value));
  return {
    id: nextMapId++,
    name: '',
    type,
    keySize: kind.key,
    valueSize: kind.value,
    maxEntries: kind.max_entries,
    flags: kind.flags === undefined ? 0 : (FLAG_BITS[kind.flags] ?? 0),
    ...(kind.inner === undefined ? {} : { inner: makeMap(`${name}.inner`, kind.inner, texts) }),
    ...(text === undefined ? {} : { hasBtf: true, specialFields: specialFields(text) }),
  };
}

/** File descriptors of the maps of one case. */
const FIRST_FD = 1000;

function buildCase(
  test: Omit<VerifierCase, 'kernel'>,
  kinds: Readonly<Record<string, MapKind>>,
): { insns: Insn[]; maps: MapInfo[] } {
  const texts = new Map<number, string>();
  for (const kind of Object.values(kinds)) {
    if (kind.btf !== undefined && kind.btf_value !== undefined) texts.set(kind.btf_value, kind.btf);
  }
  const insns = decodeProgram(fromHex(test.insns.join(''))!);
  const maps = Object.entries(test.maps).map(([name, places], i) => {
    for (const place of places) insns[place]!.imm = FIRST_FD + i;
    return makeMap(name, kinds[name]!, texts);
  });
  return { insns, maps };
}

/**
 * Function records for programs with function pointers, which need BTF: the table does not carry any, so every function is
 * a static `int f(void)`.
 */
export function functionRecords(
  insns: readonly Insn[],
): { btf: Btf; funcInfo: { insn: number; typeId: number }[] } | null {
  if (!insns.some((insn) => insn.code === LD_IMM64 && insn.src === PSEUDO.FUNC)) return null;
  const starts = new Set([0]);
  insns.forEach((insn, i) => {
    const call = insn.code === (CLASS.JMP | JMP_OP.CALL) && insn.src === CALL.LOCAL;
    if (call || (insn.code === LD_IMM64 && insn.src === PSEUDO.FUNC)) starts.add(i + insn.imm + 1);
  });
  const builder = new BtfBuilder();
  const int = builder.add(btfInt('int', 4, { signed: true }));
  const proto = builder.add({ kind: 'func_proto', returnType: int, params: [] });
  const funcInfo = [...starts]
    .sort((a, b) => a - b)
    .map((insn, i) => ({
      insn,
      typeId: builder.add({ kind: 'func', name: `func${i}`, type: proto, linkage: 'static' }),
    }));
  return { btf: builder.build(), funcInfo };
}

export function kernelBtf(path: string | undefined): Btf | undefined {
  const file = path ?? '/sys/kernel/btf/vmlinux';
  return existsSync(file) ? parseBtf(new Uint8Array(readFileSync(file))) : undefined;
}

export const ROOT: Credentials = {
  uid: 0,
  capBpf: true,
  capPerfmon: true,
  capNetAdmin: true,
  capSysAdmin: true,
};

/** `change`: what the request has besides, or has otherwise. */
export function runCase(
  test: Omit<VerifierCase, 'kernel'>,
  kinds: Readonly<Record<string, MapKind>>,
  logLevel: number,
  btf: Btf | undefined,
  change: Partial<VerifyRequest> = {},
): VerifyResult {
  const progType = progTypeByName(test.progType);
  if (progType === undefined) throw new Error(`case ${test.id}: unknown program type ${test.progType}`);
  const { insns, maps } = buildCase(test, kinds);
  // The table leaves out what BTF-typed programs attach to; its iterators are those over tasks.
  const iterates = test.expectedAttachType === BPF_ATTACH_TYPE.BPF_TRACE_ITER;
  const attachBtfId = iterates ? btf?.find('bpf_iter_task', 'func') : undefined;
  return verify({
    progType,
    expectedAttachType: test.expectedAttachType,
    insns,
    gplCompatible: true,
    mapByFd: (fd) => maps[fd - FIRST_FD] ?? -ERRNO.EINVAL,
    credentials: ROOT,
    flags: test.loadFlags,
    logLevel,
    ...(btf === undefined ? {} : { kernelBtf: btf }),
    ...(functionRecords(insns) ?? {}),
    ...(attachBtfId === undefined ? {} : { attachBtfId }),
    ...change,
  });
}
