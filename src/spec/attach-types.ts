/** Attach types of the UAPI (enum bpf_attach_type) by number and by name without `BPF_`: `XDP`, `TRACE_FENTRY`. */
import { BPF_ATTACH_TYPE, BPF_LINK_TYPE } from '../uapi/index.ts';

export interface AttachTypeRow {
  readonly id: number;
  /** `TRACE_FENTRY` */
  readonly name: string;
  /** `BPF_TRACE_FENTRY` */
  readonly constant: string;
  /** Programs of sections with `attachBtf`: what their target is called in the kernel's BTF. */
  readonly target: BtfTarget;
  /** PROG_TEST_RUN refuses programs for it: they run inside of maps only. */
  readonly noTestRun: boolean;
}

/** `prefix` + the name after the section's slash, of that kind. */
export interface BtfTarget {
  readonly prefix: string;
  readonly kind: 'func' | 'typedef';
}

const FUNCTION: BtfTarget = { prefix: '', kind: 'func' };

const IN_MAPS = new Set(['XDP_DEVMAP', 'XDP_CPUMAP']);

/** Targets that are not the function of that name. */
const TARGETS: Readonly<Record<string, BtfTarget>> = {
  TRACE_RAW_TP: { prefix: 'btf_trace_', kind: 'typedef' },
  LSM_MAC: { prefix: 'bpf_lsm_', kind: 'func' },
  LSM_CGROUP: { prefix: 'bpf_lsm_', kind: 'func' },
  TRACE_ITER: { prefix: 'bpf_iter_', kind: 'func' },
};

export const ATTACH_TYPES: readonly AttachTypeRow[] = Object.entries(BPF_ATTACH_TYPE)
  .filter(([constant]) => !constant.startsWith('__'))
  .map(([constant, id]) => {
    const name = constant.replace(/^BPF_/, '');
    return { id, name, constant, target: TARGETS[name] ?? FUNCTION, noTestRun: IN_MAPS.has(name) };
  });

const BY_NAME: ReadonlyMap<string, AttachTypeRow> = new Map(ATTACH_TYPES.map((row) => [row.name, row]));

export function attachTypeById(id: number): AttachTypeRow | undefined {
  return ATTACH_TYPES[id];
}

/** By name, with or without `BPF_`, in either case. */
export function attachTypeByName(name: string): AttachTypeRow | undefined {
  return BY_NAME.get(name.toUpperCase().replace(/^BPF_/, ''));
}

const LINK_TYPE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(BPF_LINK_TYPE)
    .filter(([constant]) => !constant.startsWith('__'))
    .map(([constant, id]) => [id, constant.replace(/^BPF_LINK_TYPE_/, '').toLowerCase()]),
);

/** bpftool's name of a link type: `perf_event`, `xdp`. */
export function linkTypeName(id: number): string | undefined {
  return LINK_TYPE_NAMES.get(id);
}
