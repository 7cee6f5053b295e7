/** The limits of Linux 6.18 that bound a program and its verification. */
export const COMPLEXITY_LIMIT_INSNS = 1_000_000;
export const COMPLEXITY_LIMIT_STATES = 64;
export const JUMP_SEQUENCE_LIMIT = 8192;
export const MAX_INSNS = 4096;
export const MAX_INSNS_CAPABLE = 1_000_000;
export const MAX_SUBPROGS = 256;
export const MAX_USED_MAPS = 64;
/** Offsets of pointers stay below this, so that sums cannot overflow. */
export const MAX_VAR_OFF = 1 << 29;
/** Sizes handed to helpers stay below this. */
export const MAX_VAR_SIZE = 1 << 29;
export const MAX_PACKET_OFF = 0xffff;
export const MAX_ERRNO = 4095;
/** Processors of the machine that the ranges of results assume (bpf_get_smp_processor_id). */
export const MAX_CPUS = 8192;

/** Bits of `prog_flags` of PROG_LOAD. */
export const F_STRICT_ALIGNMENT = 1 << 0;
export const F_ANY_ALIGNMENT = 1 << 1;
export const F_TEST_STATE_FREQ = 1 << 3;
export const F_SLEEPABLE = 1 << 4;
export const F_TEST_REG_INVARIANTS = 1 << 7;
