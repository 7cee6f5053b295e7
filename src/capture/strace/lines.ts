/** The lines of a recording (man strace): who, when, and what happened. One line, one record; calls that another thread cut in two are joined. */
import { SYSCALL_CONSTANTS } from '../../uapi/index.ts';
import { ERRNO } from '../../util/errno.ts';
import { closingBracket, own } from './text.ts';

export type StraceLine =
  | {
      readonly kind: 'call';
      readonly name: string;
      readonly args: string;
      readonly ret: bigint | null;
      /** Nanoseconds that the call took (-T); 0 where the recording does not tell. */
      readonly duration: bigint;
    }
  | { readonly kind: 'unfinished'; readonly name: string; readonly args: string }
  | { readonly kind: 'resumed'; readonly name: string; readonly args: string; readonly ret: bigint | null }
  /** `status`: as wait(2) has it. */
  | { readonly kind: 'exited'; readonly status: number }
  | { readonly kind: 'signal' }
  | { readonly kind: 'note' };

export interface StraceRecord {
  /** 1-based number of the line. */
  readonly line: number;
  readonly pid: number | null;
  /** Nanoseconds as printed; null without timestamps. */
  readonly time: bigint | null;
  /** What they count from: the epoch (-ttt), midnight (-t, -tt), the record before (-r). */
  readonly clock: 'epoch' | 'day' | 'relative';
  readonly what: StraceLine;
}

/** `[pid 12]` or `12`, with `<comm>` behind it (--decode-pids=comm); the time; `[  59]` (-n); `[00007fc5e3405ad7]` (-i). */
const PREFIX =
  /^(?:\[pid +(\d{1,9})(?:<[^>]{0,64}>)?\] +|(\d{1,9})(?:<[^>]{0,64}>)? +)?(?:\(?\+? *(\d{1,12})\.(\d{1,9})\)? +|(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? +)?(?:\[ *(?:\d{1,4}|[0-9a-f]{8,16}|\?{8,16})\] +){0,2}/;
const CORE_DUMPED = 0x80;
const UNFINISHED = '<unfinished ...>';
/** Timestamps below this many seconds count from the record before. */
const FIRST_EPOCH = 1_000_000n;
const RESUMED = /^<\.\.\. (\w+) resumed>/;
/** Restarts that user space never sees (include/linux/errno.h). */
const INTERNAL_ERRNO: Readonly<Record<string, number>> = {
  ERESTARTSYS: 512,
  ERESTARTNOINTR: 513,
  ERESTARTNOHAND: 514,
  ERESTART_RESTARTBLOCK: 516,
};

/** The record of one line, or why it is none. */
export function parseLine(text: string, line: number): StraceRecord | string {
  const prefix = PREFIX.exec(text)!;
  const pid = prefix[1] ?? prefix[2];
  const rest = text.slice(prefix[0].length);
  const what = parseWhat(rest);
  if (typeof what === 'string') return what;
  const clock =
    prefix[5] !== undefined
      ? 'day'
      : prefix[3] !== undefined && BigInt(prefix[3]) < FIRST_EPOCH
        ? 'relative'
        : 'epoch';
  return { line, pid: pid === undefined ? null : Number(pid), time: timeOf(prefix), clock, what };
}

function timeOf(prefix: RegExpExecArray): bigint | null {
  const fraction = (digits: string | undefined) => BigInt((digits ?? '').padEnd(9, '0'));
  if (prefix[3] !== undefined) return BigInt(prefix[3]) * 1_000_000_000n + fraction(prefix[4]);
  if (prefix[5] === undefined) return null;
  const seconds = (Number(prefix[5]) * 60 + Number(prefix[6])) * 60 + Number(prefix[7]);
  return BigInt(seconds) * 1_000_000_000n + fraction(prefix[8]);
}

function parseWhat(text: string): StraceLine | string {
  if (text.startsWith('+++ ')) return parseEnd(text);
  if (text.startsWith('--- ')) return { kind: 'signal' };
  if (text.startsWith('strace: ')) return { kind: 'note' };
  const resumed = RESUMED.exec(text);
  if (resumed !== null) {
    const tail = text.slice(resumed[0].length);
    const end = endOfArguments(tail);
    if (end < 0) return `the resumed call of ${resumed[1]} has no result`;
    return {
      kind: 'resumed',
      name: resumed[1],
      args: tail.slice(0, end),
      ret: parseResult(tail.slice(end + 1)),
    };
  }
  const call = /^(\w{1,64})\(/.exec(text);
  if (call === null) return 'neither a system call nor a note of strace';
  const name = call[1];
  const open = call[0].length - 1;
  const trimmed = text.trimEnd();
  if (trimmed.endsWith(UNFINISHED))
    return { kind: 'unfinished', name, args: trimmed.slice(open + 1, -UNFINISHED.length).trimEnd() };
  const close = closingBracket(text, open);
  if (close < 0) return `the arguments of ${name} do not end`;
  const tail = text.slice(close + 1);
  const args = text.slice(open + 1, close);
  return { kind: 'call', name, args, ret: parseResult(tail), duration: parseDuration(tail) };
}

/** `+++ exited with 3 +++`, `+++ killed by SIGSEGV (core dumped) +++` */
function parseEnd(text: string): StraceLine {
  const end = /^\+\+\+ (?:exited with (\d{1,3})|killed by (\w+)( \(core dumped\))?)/.exec(text);
  if (end === null) return { kind: 'note' };
  const [, code, signal, dumped] = end;
  if (code !== undefined) return { kind: 'exited', status: (Number(code) & 0xff) << 8 };
  const number = own(SYSCALL_CONSTANTS, signal ?? '');
  return { kind: 'exited', status: Number(number ?? 0) | (dumped === undefined ? 0 : CORE_DUMPED) };
}

/** Index of the `)` that ends a call whose opening bracket stands on an earlier line. */
function endOfArguments(tail: string): number {
  const end = closingBracket(`(${tail}`, 0);
  return end < 0 ? -1 : end - 1;
}

/** ` = 3 <0.000123>` */
function parseDuration(text: string): bigint {
  const time = /<(\d{1,9})\.(\d{1,9})>\s*$/.exec(text);
  if (time === null) return 0n;
  return BigInt(time[1]!) * 1_000_000_000n + BigInt(time[2]!.padEnd(9, '0'));
}

/** ` = 3`, ` = -1 ENOENT (…)`, ` = 0x7f…`, ` = ?`. As the kernel returns it: errors are negative. Null: never returned. */
function parseResult(text: string): bigint | null {
  const result = /^\s*= (\?|0x[0-9a-f]{1,16}|-?\d{1,20})(?:<[^ ]*>)?(?: ([A-Z][A-Z0-9_]*))?/.exec(text);
  if (result === null) return null;
  const [, value, error] = result;
  if (error !== undefined && (value === '-1' || value === '?')) {
    const errno = own(INTERNAL_ERRNO, error) ?? own(ERRNO, error);
    if (errno !== undefined) return -BigInt(errno);
  }
  return value === '?' ? null : BigInt.asIntN(64, BigInt(value));
}
