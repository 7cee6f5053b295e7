/**
 * Tracing programs that see some processes only. An event of Linux runs its programs for whoever causes it, whatever the perf event
 * says, so the programs themselves must look: each gets a few instructions in front that leave with 0 for everybody else.
 */
import { encodeProgram, ProgramBuilder, R0, R1, R2, R3, R4, R6, R10, reg } from '../../asm/index.ts';
import type { Kernel, ProgLoadAttr } from '../../contracts/kernel.ts';
import { progTypeById } from '../../spec/index.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';

/** Whom the programs are to see. */
export type ProcessFilter =
  /** A process by its number; `namespace`: the number counts in this pid namespace, not in the first one. */
  | {
      readonly kind: 'process';
      readonly pid: number;
      readonly namespace?: { readonly dev: bigint; readonly ino: bigint };
    }
  /** A cgroup (v2) by its id. */
  | { readonly kind: 'cgroup'; readonly id: bigint };

/** Program types that run when some process does something, and may ask which one. */
const RESTRICTED: ReadonlySet<string> = new Set([
  'kprobe',
  'tracepoint',
  'raw_tracepoint',
  'raw_tracepoint_writable',
  'perf_event',
  'tracing',
  'lsm',
]);

export function canRestrict(progType: string | undefined): boolean {
  return progType !== undefined && RESTRICTED.has(progType);
}

const OTHERS = 'others';
const OURS = 'ours';
const PID_INFO_SIZE = 8;

/** Leaves R1 as it was; R6 has no value when a program starts. */
function prologue(filter: ProcessFilter): Uint8Array {
  const code = new ProgramBuilder().mov64(R6, reg(R1));
  if (filter.kind === 'cgroup') {
    code.callHelper('bpf_get_current_cgroup_id').ldImm64(R2, filter.id).jmp('jeq', R0, reg(R2), OURS);
  } else if (filter.namespace !== undefined) {
    code
      .ldImm64(R1, filter.namespace.dev)
      .ldImm64(R2, filter.namespace.ino)
      .mov64(R3, reg(R10))
      .alu64('add', R3, -PID_INFO_SIZE)
      .mov64(R4, PID_INFO_SIZE)
      .callHelper('bpf_get_ns_current_pid_tgid')
      .jmp('jne', R0, 0, OTHERS)
      // struct bpf_pidns_info: pid, tgid
      .ldx('w', R0, R10, -4)
      .jmp('jeq', R0, filter.pid, OURS);
  } else {
    code.callHelper('bpf_get_current_pid_tgid').alu64('rsh', R0, 32).jmp('jeq', R0, filter.pid, OURS);
  }
  code.label(OTHERS).mov64(R0, 0).exit().label(OURS).mov64(R1, reg(R6));
  return encodeProgram(code.build());
}

/** The kernel, for programs that are to see these processes only. */
export function restricted(kernel: Kernel, filter: ProcessFilter): Kernel {
  const before = prologue(filter);
  const progLoad: Kernel['progLoad'] = (attr) => {
    if (!canRestrict(progTypeById(attr.progType)?.name) || isIterator(attr)) return kernel.progLoad(attr);
    try {
      return kernel.progLoad(withPrologue(attr, before));
    } catch (error) {
      // Once more as it is, so that the reason names the instructions of the object. It is not to be used if it loads.
      kernel.close(kernel.progLoad(attr));
      throw error;
    }
  };
  const progLoadAsync: Kernel['progLoadAsync'] = async (attr) => progLoad(attr);
  return new Proxy(kernel, {
    get(target, property) {
      if (property === 'progLoad') return progLoad;
      if (property === 'progLoadAsync') return progLoadAsync;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Iterators run for their reader. */
function isIterator({ expectedAttachType }: ProgLoadAttr): boolean {
  return expectedAttachType === BPF_ATTACH_TYPE.BPF_TRACE_ITER;
}

function withPrologue(attr: ProgLoadAttr, before: Uint8Array): ProgLoadAttr {
  const insns = new Uint8Array(before.length + attr.insns.length);
  insns.set(before);
  insns.set(attr.insns, before.length);
  const by = before.length / 8;
  return {
    ...attr,
    insns,
    ...(attr.funcInfo === undefined
      ? {}
      : { funcInfo: shifted(attr.funcInfo, attr.funcInfoRecSize ?? 8, by) }),
    ...(attr.lineInfo === undefined
      ? {}
      : { lineInfo: shifted(attr.lineInfo, attr.lineInfoRecSize ?? 16, by) }),
  };
}

/** Records that begin with the number of an instruction; the one of the first instruction stays there. */
function shifted(records: Uint8Array, size: number, by: number): Uint8Array {
  const moved = records.slice();
  const view = new DataView(moved.buffer);
  for (let at = 0; at + size <= moved.length; at += size) {
    const insn = view.getUint32(at, true);
    if (insn > 0) view.setUint32(at, insn + by, true);
  }
  return moved;
}
