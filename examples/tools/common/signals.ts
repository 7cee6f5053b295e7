/** Signals by number, on x86-64 (signal(7)). */
export const SIGNALS: readonly string[] = (
  '0 HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG ' +
  'XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'
).split(' ');

const FIRST_REAL_TIME = 34;

/** `SIGTERM`; real-time signals and the null signal as numbers say them. */
export function signalName(signal: number): string {
  if (signal >= FIRST_REAL_TIME) return `SIGRTMIN+${signal - FIRST_REAL_TIME}`;
  const name = SIGNALS[signal];
  return signal === 0 || name === undefined ? String(signal) : `SIG${name}`;
}
