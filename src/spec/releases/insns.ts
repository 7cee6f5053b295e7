/**
 * Instructions by release: encodings that an older kernel does not know, and what its verifier says of them. Sources: RFC 9669
 * (conformance groups), the release notes of Linux, checked against 5.10, 6.1 and 6.12 by test/guest/verdicts.
 */

/** The fields of an instruction that tell its form. */
interface Form {
  readonly code: number;
  readonly src: number;
  readonly off: number;
  readonly imm: number;
}

export interface InsnSince {
  readonly what: string;
  readonly since: string;
  readonly match: (insn: Form) => boolean;
  /** What an older kernel says, always EINVAL. */
  readonly message: (insn: Form) => string;
  /** It says so when it resolves map addresses, before any path is followed; otherwise where a path gets there. */
  readonly early?: true;
}

const unknownOpcode = (insn: Form): string => `unknown opcode ${insn.code.toString(16).padStart(2, '0')}`;
const says = (text: string) => (): string => text;

const ALU32 = 0x04;
const ALU64 = 0x07;
const isAlu = (insn: Form, op: number): boolean =>
  (insn.code & 0xf0) === op && ((insn.code & 7) === ALU32 || (insn.code & 7) === ALU64);
const isAtomic = (insn: Form): boolean => insn.code === 0xc3 || insn.code === 0xdb;
const BPF_ADD = 0;
const isNarrowAtomic = (insn: Form): boolean => insn.code === 0xcb || insn.code === 0xd3;
const isOrderedAccess = (insn: Form): boolean => insn.imm === 0x100 || insn.imm === 0x110;
const isImm64 = (src: number) => (insn: Form) => insn.code === 0x18 && insn.src === src;
const UNKNOWN_IMM64 = says('unrecognized bpf_ld_imm64 insn');

export const INSN_RELEASES: readonly InsnSince[] = [
  {
    what: 'addresses of kernel variables (BPF_PSEUDO_BTF_ID)',
    since: '5.6',
    match: isImm64(3),
    message: UNKNOWN_IMM64,
    early: true,
  },
  {
    what: 'function pointers (BPF_PSEUDO_FUNC)',
    since: '5.13',
    match: isImm64(4),
    message: UNKNOWN_IMM64,
    early: true,
  },
  {
    what: 'maps by index (BPF_PSEUDO_MAP_IDX)',
    since: '5.14',
    match: (insn) => isImm64(5)(insn) || isImm64(6)(insn),
    message: UNKNOWN_IMM64,
    early: true,
  },
  {
    what: 'atomic operations other than add without fetch',
    since: '5.12',
    match: (insn) => (isAtomic(insn) || isNarrowAtomic(insn)) && insn.imm !== BPF_ADD,
    message: says('BPF_STX uses reserved fields'),
    early: true,
  },
  {
    what: 'calls of kernel functions',
    since: '5.13',
    match: (insn) => insn.code === 0x85 && insn.src === 2,
    message: says('BPF_CALL uses reserved fields'),
  },
  {
    what: 'sign-extending loads',
    since: '6.6',
    match: (insn) => [0x81, 0x89, 0x91].includes(insn.code),
    message: says('BPF_LDX uses reserved fields'),
    early: true,
  },
  {
    what: 'sign-extending moves',
    since: '6.6',
    match: (insn) =>
      (insn.code === 0xbf || insn.code === 0xbc) && (insn.off === 8 || insn.off === 16 || insn.off === 32),
    message: says('BPF_MOV uses reserved fields'),
  },
  {
    what: 'signed division and modulo',
    since: '6.6',
    match: (insn) => (isAlu(insn, 0x30) || isAlu(insn, 0x90)) && insn.off === 1,
    message: says('BPF_ALU uses reserved fields'),
  },
  {
    what: 'unconditional byte swaps (bswap)',
    since: '6.6',
    match: (insn) => insn.code === 0xd7,
    message: unknownOpcode,
    early: true,
  },
  {
    // 6.6, and carried back.
    what: 'jumps with a 32-bit distance (gotol)',
    since: '6.1',
    match: (insn) => insn.code === 0x06,
    message: unknownOpcode,
    early: true,
  },
  {
    what: 'may_goto',
    since: '6.9',
    match: (insn) => insn.code === 0xe5,
    message: unknownOpcode,
    early: true,
  },
  {
    what: 'casts between address spaces',
    since: '6.9',
    match: (insn) => insn.code === 0xbf && insn.off === 1,
    message: says('BPF_MOV uses reserved fields'),
  },
  {
    what: 'load-acquire and store-release',
    since: '6.15',
    match: (insn) => isAtomic(insn) && isOrderedAccess(insn),
    message: (insn) => `BPF_ATOMIC uses invalid atomic opcode ${insn.imm.toString(16).padStart(2, '0')}`,
  },
  {
    what: 'load-acquire and store-release',
    since: '6.15',
    match: isNarrowAtomic,
    message: unknownOpcode,
    early: true,
  },
];

/** The row of an instruction that a kernel older than some release does not know; undefined for those that all know. */
export function insnSince(insn: Form): InsnSince | undefined {
  return INSN_RELEASES.find((row) => row.match(insn));
}
