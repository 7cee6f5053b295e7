/** Recordings of strace in the forms that its options give them, and in forms that nobody's options give them. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseStrace } from '../../src/capture/index.ts';
import type { KernelEvent, SyscallArg } from '../../src/contracts/events.ts';
import { BpfError, fromUtf8 } from '../../src/util/index.ts';

type Enter = Extract<KernelEvent, { kind: 'syscall_enter' }>;
type Exit = Extract<KernelEvent, { kind: 'syscall_exit' }>;

const parse = (...lines: string[]) => parseStrace(lines.join('\n'));
const enters = (...lines: string[]): Enter[] =>
  parse(...lines).events.filter((event): event is Enter => event.kind === 'syscall_enter');
const exits = (...lines: string[]): Exit[] =>
  parse(...lines).events.filter((event): event is Exit => event.kind === 'syscall_exit');
const kinds = (...lines: string[]) => parse(...lines).events.map((event) => event.kind);
const args = (line: string): readonly SyscallArg[] => enters(line)[0].args;
const value = (arg: SyscallArg) => (arg.kind === 'value' ? arg.value : undefined);
const text = (arg: SyscallArg) => (arg.kind === 'memory' ? fromUtf8(arg.bytes) : undefined);
const bytes = (arg: SyscallArg) => (arg.kind === 'memory' ? [...arg.bytes] : undefined);

describe('prefixes', () => {
  const call = 'getpid() = 7';
  const times = (...prefixes: string[]) => {
    const { events } = parse(...prefixes.map((prefix) => `${prefix}${call}`));
    const enter = events.filter((event) => event.kind === 'syscall_enter');
    return enter.map((event) => [event.process.pid, Number(event.time - enter[0].time)]);
  };

  it('of all forms', () => {
    expect(times('')).toEqual([[1, 0]]);
    expect(times('123 ', '124 ')).toMatchObject(
      [
        [123, 0],
        [124, {}],
      ].map(([pid]) => [pid, expect.any(Number)]),
    );
    expect(times('[pid   123] ')).toEqual([[123, 0]]);
    expect(times('123 1700000000.000001 ', '123 1700000000.500001 ')).toEqual([
      [123, 0],
      [123, 5e8],
    ]);
    expect(times('1700000000.1 ', '1700000000.15 ')).toEqual([
      [1, 0],
      [1, 5e7],
    ]);
    expect(times('123 10:20:30.000100 ', '123 10:20:31.000100 ')).toEqual([
      [123, 0],
      [123, 1e9],
    ]);
    expect(times('10:20:30 ', '10:20:32 ')).toEqual([
      [1, 0],
      [1, 2e9],
    ]);
    // Midnight.
    expect(times('23:59:59.5 ', '00:00:00.25 ')).toEqual([
      [1, 0],
      [1, 75e7],
    ]);
    // -r
    expect(times('123      0.000000 ', '123      0.000100 ', '123      0.000300 ')).toEqual([
      [123, 0],
      [123, 1e5],
      [123, 4e5],
    ]);
    // A clock that was set back stands still.
    expect(times('1700000000.2 ', '1700000000.1 ')).toEqual([
      [1, 0],
      [1, 0],
    ]);
    expect(times('123 1700000000.1 [  39] ')).toEqual([[123, 0]]);
    expect(times('123 [00007fc5e3405ad7] ')).toEqual([[123, 0]]);
    expect(times('123<sh> 1700000000.1 ')).toEqual([[123, 0]]);
    expect(times('[pid 123<sh>] ')).toEqual([[123, 0]]);
  });

  it('left out for the only process, on the terminal', () => {
    const { events } = parse(
      'fork() = 101',
      '[pid   100] getpid() = 100',
      '[pid   101] getpid() = 101',
      '[pid   101] +++ exited with 0 +++',
      'getppid() = 1',
    );
    expect(events.map((event) => `${event.kind} ${event.process.pid}`)).toEqual([
      'syscall_enter 100',
      'fork 100',
      'syscall_exit 100',
      'syscall_enter 100',
      'syscall_exit 100',
      'syscall_enter 101',
      'syscall_exit 101',
      'exit 101',
      'syscall_enter 100',
      'syscall_exit 100',
    ]);
  });

  it('are said by the epoch', () => {
    const { epoch, events } = parse('1700000000.25 getpid() = 1');
    expect(epoch + events[0].time).toBe(1_700_000_000_250_000_000n);
  });
});

describe('results', () => {
  const ret = (result: string) => exits(`getpid() ${result}`)[0]?.ret;

  it('of all forms', () => {
    expect(ret('= 7')).toBe(7n);
    expect(ret('= 0')).toBe(0n);
    expect(ret('= -7')).toBe(-7n);
    expect(ret('= 0x7f0000001000')).toBe(0x7f0000001000n);
    expect(ret('= 3</dev/null>')).toBe(3n);
    expect(ret('= 3<TCP:[127.0.0.1:1->127.0.0.1:2]>')).toBe(3n);
    expect(ret('= 0x8002 (flags O_RDWR|O_LARGEFILE)')).toBe(0x8002n);
    expect(ret('= 1 ([{fd=3, revents=POLLIN}]) <0.000012>')).toBe(1n);
    expect(ret('= -1 ENOENT (No such file or directory)')).toBe(-2n);
    expect(ret('= -1 ECONNREFUSED (Connection refused) <0.1>')).toBe(-111n);
    expect(ret('= ? ERESTARTSYS (To be restarted if SA_RESTART is set)')).toBe(-512n);
    expect(ret('= ? ERESTART_RESTARTBLOCK (Interrupted by signal)')).toBe(-516n);
    expect(ret('= ?')).toBeUndefined();
    expect(ret('= ? <unavailable>')).toBeUndefined();
    expect(ret('= -1 (errno 600)')).toBe(-1n);
    expect(ret('= 99999999999999999999')).toBeTypeOf('bigint');
    expect(ret('')).toBeUndefined();
  });

  it('of calls that another thread interrupted', () => {
    const lines = [
      '1 read(3,  <unfinished ...>',
      '2 read(4, "x", 1) = 1',
      '1 <... read resumed>"ab", 10) = 2',
      '1 <... write resumed>) = 2',
    ];
    const { events } = parse(...lines);
    expect(events.map((event) => `${event.kind} ${event.process.pid}`)).toEqual([
      'syscall_enter 1',
      'syscall_enter 2',
      'syscall_exit 2',
      'syscall_exit 1',
    ]);
    // The arguments that were printed at the exit are those of the enter, too.
    expect((events[0] as Enter).args.map((arg) => text(arg) ?? value(arg))).toEqual([3n, 'ab\0', 10n]);
  });

  it('of calls that signals, kills and exec end', () => {
    expect(
      kinds(
        '1 rt_sigsuspend([], 8) = ? ERESTARTNOHAND (To be restarted if no handler)',
        '1 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---',
        '1 --- stopped by SIGSTOP ---',
        '1 restart_syscall(<... resuming interrupted nanosleep ...>) = 0',
        '1 +++ superseded by execve in pid 2 +++',
        '1 exit_group(0) = ?',
        '1 +++ killed by SIGKILL (core dumped) +++',
      ),
    ).toEqual(['syscall_enter', 'syscall_exit', 'syscall_enter', 'syscall_exit', 'syscall_enter', 'exit']);
    expect(kinds('1 read(3,  <unfinished ...>', '1 +++ exited with 3 +++')).toEqual([
      'syscall_enter',
      'exit',
    ]);
  });
});

describe('processes', () => {
  it('are forked, renamed, and have the ids that they ask for', () => {
    const { events } = parse(
      '10 getuid() = 1000',
      '10 execve("/bin/sh", ["sh", "-c"], 0x7ffd /* 3 vars */) = 0',
      '10 clone(child_stack=NULL, flags=CLONE_VM|CLONE_THREAD, child_tidptr=0x7f) = 11',
      '11 getpid() = 10',
      '10 vfork( <unfinished ...>',
      '12 execve("/bin/none", ["none"], NULL) = -1 ENOENT (No such file)',
      '12 setuid(33) = 0',
      '12 getpid() = 12',
      '10 <... vfork resumed>) = 12',
    );
    const processOf = (pid: number, kind: string) =>
      events.filter((event) => event.kind === kind && event.process.pid === pid).at(-1)?.process;
    expect(processOf(10, 'syscall_exit')).toMatchObject({ uid: 1000, comm: 'sh' });
    expect(processOf(11, 'syscall_enter')).toMatchObject({ pid: 11, tgid: 10, ppid: 0, comm: 'sh' });
    expect(processOf(12, 'syscall_exit')).toMatchObject({ pid: 12, tgid: 12, ppid: 10, uid: 33, comm: 'sh' });
    expect(events.filter((event) => event.kind === 'fork')).toHaveLength(2);
    expect(events.filter((event) => event.kind === 'exec')).toMatchObject([
      { comm: 'sh', filename: '/bin/sh' },
    ]);
  });

  it('that fork each other in a circle', () => {
    expect(kinds('1 fork() = 2', '2 fork() = 1', '1 fork() = 1', '3 fork() = 3')).not.toHaveLength(0);
    const chain = Array.from({ length: 5000 }, (_, i) => `${i + 2} fork() = ${i + 1}`).reverse();
    expect(parse(...chain).events.length).toBeGreaterThan(5000);
  });
});

describe('arguments', () => {
  it('that are strings', () => {
    const string = (literal: string) => bytes(args(`write(1, ${literal}, 4) = 4`)[1]);
    expect(string('"ab"')).toEqual([97, 98, 0]);
    expect(string('""')).toEqual([0]);
    // Cut by -s: what follows is not known.
    expect(string('"ab"...')).toEqual([97, 98]);
    expect(string('"\\0\\1\\177\\377\\n\\t\\"\\\\"')).toEqual([0, 1, 127, 255, 10, 9, 34, 92, 0]);
    expect(string('"\\x61\\x2f"')).toEqual([0x61, 0x2f, 0]);
    expect(string('"\\1234"')).toEqual([0o123, 0x34, 0]);
    expect(string('"a, b) = 3"')).toEqual([...'a, b) = 3'].map((c) => c.charCodeAt(0)).concat(0));
    expect(string('"é"')).toEqual([0xc3, 0xa9, 0]);
  });

  it('that are numbers', () => {
    const numbers = (line: string) => args(line).map(value);
    expect(numbers('openat(AT_FDCWD, NULL, O_RDONLY|O_CLOEXEC, 0644) = 3')).toEqual(
      [0xffff_ffff_ffff_ff9cn, 0n, 0o2000000n, 0o644n].map((n, i) => (i === 0 ? BigInt.asIntN(64, n) : n)),
    );
    expect(numbers('dup2(3</tmp/a b>, 0x10) = 16')).toEqual([3n, 16n]);
    expect(numbers('close(3</tmp/we\\"ird \\)>) = 0')).toEqual([3n]);
    expect(numbers('lseek(3, -1, SEEK_END /* two */) = 1')).toEqual([3n, -1n, 2n]);
    expect(numbers('brk(0x5565d59bb000) = 0x5565d59bb000')).toEqual([0x5565d59bb000n]);
    expect(numbers('shutdown(1<<4, htons(80)) = 0')).toEqual([16n, 0x5000n]);
    expect(numbers('getpid() = 1')).toEqual([]);
  });

  it('that are structures', () => {
    const address = bytes(
      args('connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.2")}, 16) = 0')[1],
    );
    expect(address).toEqual([2, 0, 0, 80, 127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    const v6 = bytes(
      args(
        'connect(3, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "fe80::1", &sin6_addr), sin6_scope_id=2}, 28) = 0',
      )[1],
    );
    expect(v6?.slice(0, 4)).toEqual([10, 0, 1, 187]);
    expect(v6?.slice(8, 10)).toEqual([0xfe, 0x80]);
    expect(v6?.slice(23, 25)).toEqual([1, 2]);
    const unix = bytes(args('connect(3, {sa_family=AF_UNIX, sun_path=@"x"}, 4) = 0')[1]);
    expect(unix?.slice(0, 5)).toEqual([1, 0, 0, 120, 0]);
    expect(bytes(args('nanosleep({tv_sec=1, tv_nsec=5}, NULL) = 0')[0])).toEqual([
      1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
    ]);
    expect(bytes(args('wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 5')[1])).toBeUndefined();
    expect(bytes(args('accept(3, NULL, [128 => 16]) = 4')[2])).toEqual([128, 0, 0, 0]);
    const argv = args('execve("/bin/a", ["a", "b c", "d\\"e"...], 0x7f /* 2 vars */) = 0')[1];
    expect(argv.kind === 'strings' && argv.strings.map(fromUtf8)).toEqual(['a', 'b c', 'd"e']);
    // Contents that strace did not print cannot be read.
    expect(value(args('fstat(3, {st_mode=S_IFREG|0644, st_size=3, ...}) = 0')[1])).toBeGreaterThan(1n << 40n);
    expect(args('clone(child_stack=NULL, flags=CLONE_VM, child_tidptr=0x7f) = 5').map(value)).toEqual([
      0x100n,
      0n,
      0n,
      0x7fn,
    ]);
  });
});

describe('what is no recording', () => {
  it('is counted line by line', () => {
    const recording = parse(
      'getpid() = 1',
      'hello',
      'constructor(1) = 0',
      'read(3, "x',
      'nosuchcall() = 1',
      '',
      '\u0000\u0001',
    );
    expect(recording.skippedCount).toBe(5);
    expect(recording.skipped.map(({ line }) => line)).toEqual([2, 3, 4, 5, 7]);
    const many = parse('getpid() = 1', ...new Array(100).fill('x'));
    expect([many.skippedCount, many.skipped.length]).toEqual([100, 20]);
  });

  it('is refused where no line is one', () => {
    const refused = (input: string | Uint8Array) => {
      try {
        parseStrace(input, { name: 'file' });
        return 'ok';
      } catch (error) {
        return error instanceof BpfError ? error.code : String(error);
      }
    };
    expect(refused('hello\nworld')).toBe('EINVAL');
    expect(refused(Uint8Array.from({ length: 1000 }, (_, i) => i))).toBe('EINVAL');
    expect(refused('')).toBe('ok');
    expect(refused('\n\r\n')).toBe('ok');
  });

  it('takes no more time than its size', () => {
    const long = 1_000_000;
    const inputs = [
      `read(${'('.repeat(long)}`,
      `read(${' '.repeat(long)}x`,
      `read(3, "${'\\'.repeat(long)}`,
      `read(${'<'.repeat(long)}) = 3${'<'.repeat(long)}`,
      `read(${'a|'.repeat(long / 2)}1) = 3`,
      `${' '.repeat(long)}<unfinished ...>`,
      `read(${'/*'.repeat(long / 2)}) = 3`,
      `${'strace: Process 1 attached\n'.repeat(30_000)}`,
      `${'xstrace: Process 1 attached\n'.repeat(30_000)}`,
      `${'9'.repeat(long)} read() = 3`,
      `read({${'a={'.repeat(long / 3)}) = 3`,
    ];
    for (const input of inputs) {
      parse('getpid() = 1', input);
    }
  });

  it('never crashes: 3000 mutations of a real one', () => {
    const original = readFileSync(new URL('../../examples/inputs/commands.strace', import.meta.url));
    const head = original.subarray(0, 6000);
    let seed = 12345;
    const random = (limit: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % limit;
    };
    for (let round = 0; round < 3000; round++) {
      const mutated = Uint8Array.from(head.subarray(random(3000), 3000 + random(3000)));
      for (let i = 0; i < 1 + random(20); i++)
        mutated[random(mutated.length)] =
          random(4) === 0 ? '()[]{}"\\<>,=|'.charCodeAt(random(13)) : random(256);
      try {
        parseStrace(mutated);
      } catch (error) {
        expect(error).toBeInstanceOf(BpfError);
      }
    }
  });
});

it('CRLF changes nothing', () => {
  const original = readFileSync(new URL('../../examples/inputs/commands.strace', import.meta.url), 'utf8');
  expect(parseStrace(original.replaceAll('\n', '\r\n'))).toEqual(parseStrace(original));
  expect(parseStrace(original).skippedCount).toBe(0);
});

describe('time in calls (-T)', () => {
  it('puts the end of a call behind what others did meanwhile', () => {
    const { events } = parse(
      '10 1700000000.000100 openat(AT_FDCWD, "/x", O_RDONLY) = 3</etc/x> <0.000250>',
      '11 1700000000.000200 getpid() = 11 <0.000010>',
      '10 1700000000.000400 execve("/bin/y", ["y"], 0x1 /* 2 vars */) = 0 <0.001>',
    );
    expect(
      events.map((event) => [event.kind, event.process.pid, Number(event.time - events[0]!.time)]),
    ).toEqual([
      ['syscall_enter', 10, 0],
      ['syscall_enter', 11, 100_000],
      ['syscall_exit', 11, 110_000],
      ['syscall_exit', 10, 250_000],
      ['syscall_enter', 10, 300_000],
      ['exec', 10, 1_300_000],
      ['syscall_exit', 10, 1_300_000],
    ]);
  });
});

describe('the end of processes', () => {
  it('has the status that wait(2) gives', () => {
    const { events } = parse(
      '5 +++ exited with 3 +++',
      '6 +++ killed by SIGTERM +++',
      '7 +++ killed by SIGSEGV (core dumped) +++',
      '8 +++ superseded by execve in pid 9 +++',
    );
    expect(
      events.map((event) => (event.kind === 'exit' ? [event.process.pid, event.exitCode] : event.kind)),
    ).toEqual([
      [5, 3 << 8],
      [6, 15],
      [7, 11 | 0x80],
    ]);
  });
});
