/**
 * Contexts of programs on kernel events: registers, trace records, argument arrays. Most are memory that the program reads
 * as it is (`raw`). The rules are those of the kernel's is_valid_access functions of Linux 6.18 (kernel/trace/bpf_trace.c).
 */
import { UAPI_LAYOUTS } from '../../uapi/index.ts';
import type { CtxLayout } from '../types.ts';
import { field, NARROW, sizeOf } from './fields.ts';

const ANY_SIZE = [1, 2, 4, 8] as const;
/** MAX_BPF_FUNC_ARGS words. */
const ARGUMENTS_SIZE = 12 * 8;
/** PERF_MAX_TRACE_SIZE */
const MAX_RECORD = 8192;

export const KPROBE_CTX: CtxLayout = {
  struct: 'pt_regs',
  size: sizeOf('pt_regs'),
  access: 'raw',
  fields: [],
  rawSizes: ANY_SIZE,
};

/** The first 8 bytes of a record hold a kernel pointer and stay hidden. */
export const TRACEPOINT_CTX: CtxLayout = {
  struct: 'trace_event_raw',
  size: MAX_RECORD,
  access: 'raw',
  fields: [],
  rawSizes: ANY_SIZE,
  rawMin: 8,
};

export const RAW_TRACEPOINT_CTX: CtxLayout = {
  struct: 'bpf_raw_tracepoint_args',
  size: ARGUMENTS_SIZE,
  access: 'raw',
  fields: [],
  rawSizes: ANY_SIZE,
};

/** The first argument points to a buffer that the program may write. */
export const RAW_TRACEPOINT_WRITABLE_CTX: CtxLayout = {
  ...RAW_TRACEPOINT_CTX,
  fields: [{ name: 'args[0]', offset: 0, size: 8, read: true, write: false, kind: 'tp_buffer' }],
};

/** Arguments of the attached function, typed by BTF; only whole words at multiples of 8. */
export const BTF_ARGUMENTS_CTX: CtxLayout = {
  struct: 'args',
  size: ARGUMENTS_SIZE,
  access: 'raw',
  fields: [],
  rawSizes: ANY_SIZE,
  btfTyped: true,
};

export const PERF_EVENT_CTX: CtxLayout = {
  struct: 'bpf_perf_event_data',
  size: sizeOf('bpf_perf_event_data'),
  access: 'fields',
  fields: [
    ...UAPI_LAYOUTS.pt_regs.fields
      .filter((register) => register.size === 8 && !register.name.startsWith('fred_'))
      .map(({ name, offset }) => ({ name: `regs.${name}`, offset, size: 8, read: true, write: false })),
    field('bpf_perf_event_data', 'sample_period', NARROW),
    field('bpf_perf_event_data', 'addr', NARROW),
  ],
};

/** Memory that BPF_PROG_RUN was given; how far the program may reach is the caller's size. */
export const SYSCALL_CTX: CtxLayout = {
  struct: 'void',
  size: 0xffff,
  access: 'raw',
  fields: [],
  rawSizes: ANY_SIZE,
  rawWrite: true,
};

export const NETFILTER_CTX: CtxLayout = {
  struct: 'bpf_nf_ctx',
  size: sizeOf('bpf_nf_ctx'),
  access: 'fields',
  fields: [
    field('bpf_nf_ctx', 'state', { kind: 'btf_id', btfType: 'nf_hook_state' }),
    field('bpf_nf_ctx', 'skb', { kind: 'btf_id', btfType: 'sk_buff' }),
  ],
};

/** One 32-bit sample of an infrared receiver. */
export const LIRC_MODE2_CTX: CtxLayout = {
  struct: 'unsigned int',
  size: 4,
  access: 'fields',
  fields: [{ name: 'sample', offset: 0, size: 4, read: true, write: false }],
};
