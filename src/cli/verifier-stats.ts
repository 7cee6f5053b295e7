/**
 * What the verifier says about its own work, read from the end of its log: both kernels write these lines in the same format
 * (kernel: print_verification_stats), and bpf(2) has no other way to ask.
 */
export interface VerifierStats {
  readonly insnsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  readonly microseconds: number;
  /** Bytes of stack of each subprogram: `8+16`. */
  readonly stackDepth: string;
}

/** Bits of log_level that ask for the path that failed, and for the statistics. */
export const LOG_PATH = 1;
export const LOG_STATS = 4;

const TIME = /^verification time (\d+) usec$/m;
const STACK = /^stack depth (\S+)/m;
const PROCESSED = /^processed (\d+) insns .*total_states (\d+) peak_states (\d+)/m;

export function parseVerifierStats(log: string): VerifierStats | undefined {
  // The statistics are the last lines; a log may be long.
  const tail = log.slice(-2048);
  const processed = PROCESSED.exec(tail);
  if (processed === null) return undefined;
  return {
    insnsProcessed: Number(processed[1]),
    totalStates: Number(processed[2]),
    peakStates: Number(processed[3]),
    microseconds: Number(TIME.exec(tail)?.[1] ?? 0),
    stackDepth: STACK.exec(tail)?.[1] ?? '',
  };
}

/** The log as the kernel gives it at `level`: without the lines that only LOG_STATS asks for. */
export function logAtLevel(log: string, level: number): string {
  if (level === 0) return '';
  if ((level & LOG_STATS) !== 0) return log;
  return log.replace(/^verification time \d+ usec\n/m, '').replace(/^stack depth \S+.*\n/m, '');
}
