/** What the verdict run of a guest is given and what it gives back: files of one JSON object a line. */

/** A program to be loaded; also a row of the tables that `npm run conformance -- verifier` reads. */
export interface VerdictCase {
  readonly id: number;
  readonly name: string;
  readonly progType: string;
  readonly expectedAttachType: number;
  readonly loadFlags: number;
  /** 8-byte instructions in hexadecimal. */
  readonly insns: readonly string[];
  /** Kind of map (of the file of kinds) → instructions whose immediate is its descriptor. */
  readonly maps: Readonly<Record<string, readonly number[]>>;
  /** Function of the kernel that the program is loaded for (attach_btf_id). */
  readonly attachFunc?: string;
  /** What it is in the kernel's BTF; default `func`. */
  readonly attachKind?: 'func' | 'typedef' | 'struct';
}

/** Capabilities that the process has when it loads; each is a row of results. */
export const WHO = {
  root: { capBpf: true, capPerfmon: true, capNetAdmin: true, capSysAdmin: true },
  nobody: { capBpf: false, capPerfmon: false, capNetAdmin: false, capSysAdmin: false },
  bpf: { capBpf: true, capPerfmon: false, capNetAdmin: false, capSysAdmin: false },
  'bpf,perfmon': { capBpf: true, capPerfmon: true, capNetAdmin: false, capSysAdmin: false },
  'bpf,net_admin': { capBpf: true, capPerfmon: false, capNetAdmin: true, capSysAdmin: false },
  net_admin: { capBpf: false, capPerfmon: false, capNetAdmin: true, capSysAdmin: false },
} as const;

export type Who = keyof typeof WHO;

/** What the guest's kernel said of one program. */
export interface Verdict {
  readonly event: 'verdict';
  readonly id: number;
  readonly who: Who;
  /** 0: accepted. */
  readonly errno: number;
  /** Last line of the log before the statistics; of maps that cannot be created: why. */
  readonly message: string;
  /** From the log's statistics, -1 where there are none. */
  readonly insns: number;
  /** A map of the case cannot be had on this kernel: the program was not tried. */
  readonly withoutMap?: string;
}

/** The types of the guest's kernel, where a case attaches to one: BTF, compressed (gzip), in base64, in pieces. */
export interface KernelTypes {
  readonly event: 'types';
  readonly btf: string;
}

/** Files of the run in the guest. */
export const CASES_FILE = 'cases.jsonl';
export const KINDS_FILE = 'map-kinds.json';
/** Word of the kernel's command line: `tsbpf.who=root:nobody`. */
export const WHO_OPTION = 'tsbpf.who=';
