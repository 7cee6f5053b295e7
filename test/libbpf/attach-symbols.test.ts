/** Executables, USDT notes and their arguments, kallsyms, /proc/PID/maps, patterns: what probes look things up in. */
import { describe, expect, it } from 'vitest';
import { globMatch, isGlob } from '../../src/libbpf/glob.ts';
import { Executable } from '../../src/libbpf/symbols/executable.ts';
import { KernelSymbols } from '../../src/libbpf/symbols/kallsyms.ts';
import { parseProcessMaps } from '../../src/libbpf/symbols/process-maps.ts';
import { Symbolizer } from '../../src/libbpf/symbols/symbolizer.ts';
import { encodeUsdtSpec, parseUsdtArguments } from '../../src/libbpf/symbols/usdt-arguments.ts';
import { usdtNotes } from '../../src/libbpf/symbols/usdt-notes.ts';
import { toHex, utf8 } from '../../src/util/bytes.ts';
import { BpfError } from '../../src/util/errors.ts';
import { FakeKernel } from './fake-kernel.ts';
import { BASE, CODE, CODE_OFFSET, DATA, DATA_OFFSET, type TinyElf, tinyElf } from './tiny-elf.ts';

const open = (options: TinyElf) => new Executable('tiny', tinyElf(options));
const refused = (code: string) => expect.objectContaining({ code });

describe.each([
  { wide: true, littleEndian: true },
  { wide: false, littleEndian: true },
  { wide: true, littleEndian: false },
  { wide: false, littleEndian: false },
])('an executable (64 bits: $wide, little-endian: $littleEndian)', (shape) => {
  const symbols = [
    { name: 'first', address: CODE, size: 16 },
    { name: 'second', address: CODE + 0x20, size: 8 },
    { name: 'variable', address: DATA, type: 1 },
    { name: 'elsewhere', address: 0x999000 },
  ];

  it('functions by name are offsets in the file', () => {
    const file = open({ ...shape, symbols });
    expect(file.functions().map(({ name, offset }) => [name, offset])).toEqual([
      ['first', CODE_OFFSET],
      ['second', CODE_OFFSET + 0x20],
    ]);
    expect(file.functionOffset('second')).toBe(CODE_OFFSET + 0x20);
    expect(() => file.functionOffset('variable')).toThrow(refused('ENOENT'));
    expect(() => file.functionOffset('elsewhere')).toThrow(refused('ENOENT'));
  });

  it('names by offset', () => {
    const file = open({ ...shape, symbols });
    expect(file.functionAt(CODE_OFFSET + 15)).toMatchObject({ symbol: { name: 'first' }, within: 15 });
    expect(file.functionAt(CODE_OFFSET + 16)).toBeUndefined();
    expect(file.functionAt(CODE_OFFSET - 1)).toBeUndefined();
  });

  it('USDT notes: places, semaphores, moved by what the base was moved', () => {
    const note = { provider: 'p', name: 'n', arguments: '-4@%edi', address: CODE + 4 };
    const file = open({
      ...shape,
      notes: [
        { ...note, semaphore: DATA + 2 },
        { ...note, name: 'moved', base: BASE - 0x1000, address: CODE + 8 - 0x1000 },
      ],
    });
    expect(usdtNotes(file)).toEqual([
      {
        ...note,
        offset: CODE_OFFSET + 4,
        semaphoreOffset: DATA_OFFSET + 2,
      },
      { ...note, name: 'moved', address: CODE + 8, offset: CODE_OFFSET + 8, semaphoreOffset: undefined },
    ]);
  });
});

describe('functions of one name', () => {
  it('a strong definition goes before weak ones', () => {
    const symbols = [
      { name: 'f', address: CODE, weak: true },
      { name: 'f', address: CODE + 0x10 },
    ];
    expect(open({ symbols }).functionOffset('f')).toBe(CODE_OFFSET + 0x10);
  });

  it('several that differ: refused, with their offsets', () => {
    const symbols = [
      { name: 'f', address: CODE },
      { name: 'f', address: CODE + 0x10 },
    ];
    expect(() => open({ symbols }).functionOffset('f')).toThrow(
      expect.objectContaining({ code: 'ENOTUNIQ', hint: expect.stringContaining('0x110') }),
    );
  });

  it('the same in both tables is one', () => {
    const symbols = [{ name: 'f', address: CODE }];
    expect(open({ symbols, dynamic: symbols }).functions()).toHaveLength(1);
  });

  it('versions in names', () => {
    const symbols = [
      { name: 'f@V1', address: CODE },
      { name: 'f@@V2', address: CODE + 0x10 },
    ];
    const file = open({ symbols });
    expect(file.functionOffset('f')).toBe(CODE_OFFSET + 0x10);
    expect(file.functionOffset('f@V1')).toBe(CODE_OFFSET);
    expect(() => file.functionOffset('f@@V1')).toThrow(refused('ENOENT'));
    expect(file.functionOffset('f@V2')).toBe(CODE_OFFSET + 0x10);
    expect(file.functionOffset('f@@V2')).toBe(CODE_OFFSET + 0x10);
    expect(() => file.functionOffset('f@V3')).toThrow(refused('ENOENT'));
  });

  it('by pattern, each place once', () => {
    const symbols = [
      { name: 'work_a', address: CODE },
      { name: 'work_alias', address: CODE },
      { name: 'work_b', address: CODE + 8 },
      { name: 'play', address: CODE + 16 },
    ];
    expect(
      open({ symbols })
        .matching('work_*')
        .map(({ name }) => name),
    ).toEqual(['work_a', 'work_b']);
  });
});

describe('files that are no executables', () => {
  it('are refused with an errno', () => {
    expect(() => new Executable('x', utf8('#!/bin/sh\n'))).toThrow(refused('ENOEXEC'));
    expect(() => new Executable('x', new Uint8Array())).toThrow(refused('ENOEXEC'));
    expect(() => new Executable('x', tinyElf().subarray(0, 60))).toThrow(refused('EINVAL'));
    expect(() => new Executable('x', tinyElf().subarray(0, 600))).toThrow(refused('EINVAL'));
  });

  it('mutated ones give an error or fewer symbols, nothing else', () => {
    const symbols = [{ name: 'first', address: CODE }];
    const notes = [{ provider: 'p', name: 'n', arguments: '-4@%edi', address: CODE + 4 }];
    const original = tinyElf({ symbols, dynamic: symbols, notes });
    let seed = 1;
    const random = (limit: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % limit;
    };
    for (let round = 0; round < 4000; round++) {
      const bytes = original.slice();
      for (let i = 0; i <= random(4); i++) bytes[random(bytes.length)] = random(4) === 0 ? 0xff : random(256);
      try {
        const file = new Executable('x', random(8) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes);
        file.functions();
        file.functionAt(CODE_OFFSET);
        usdtNotes(file);
      } catch (error) {
        if (!(error instanceof BpfError)) throw error;
      }
    }
  });
});

describe('USDT arguments', () => {
  const X86 = 62;
  const ARM = 183;
  it.each([
    [X86, '-4@%edi', { kind: 'register', size: 4, signed: true, register: 112, value: 0n }],
    [X86, '8@%r15', { kind: 'register', size: 8, signed: false, register: 0 }],
    [X86, '1@%sil', { kind: 'register', size: 1, register: 104 }],
    [X86, '-8@$-9', { kind: 'constant', size: 8, signed: true, value: -9n }],
    [X86, '8@$0x10', { kind: 'constant', value: 16n }],
    [X86, '2@-96(%rbp)', { kind: 'memory', size: 2, register: 32, value: -96n }],
    [X86, '8@(%rsp)', { kind: 'memory', register: 152, value: 0n }],
    [X86, '4@8(%rdx,%rcx,4)', { kind: 'indexed', register: 96, index: 88, scaleShift: 2, value: 8n }],
    [X86, '4@(%rdx, %rcx)', { kind: 'indexed', register: 96, index: 88, scaleShift: 0 }],
    [ARM, '-4@[sp, 60]', { kind: 'memory', register: 248, value: 60n }],
    [ARM, '8@x19', { kind: 'register', register: 152 }],
    [ARM, '-4@w0', { kind: 'register', register: 0 }],
    [ARM, '8@[x3]', { kind: 'memory', register: 24, value: 0n }],
    [ARM, '-4@5', { kind: 'constant', value: 5n }],
  ])('machine %i: %s', (machine, text, expected) => {
    expect(parseUsdtArguments(text, machine)).toEqual([expect.objectContaining(expected)]);
  });

  it.each(['4@%xyz', '3@%eax', '%eax', '4@', '8@sym(%rip', '4@(%rax,%rbx,3)', '8@global(%rip)'])(
    '%s is refused',
    (text) => {
      expect(() => parseUsdtArguments(text, X86)).toThrow(refused('EINVAL'));
    },
  );

  it('none, too many, another machine', () => {
    expect(parseUsdtArguments('', X86)).toEqual([]);
    expect(() => parseUsdtArguments('8@%rax '.repeat(13), X86)).toThrow(refused('E2BIG'));
    expect(() => parseUsdtArguments('8@r3', 21)).toThrow(refused('EOPNOTSUPP'));
  });

  it('struct __bpf_usdt_spec', () => {
    const bytes = encodeUsdtSpec(parseUsdtArguments('-4@-8(%rbp) 8@(%rdx,%rcx,8)', X86), 0x77n);
    expect(bytes.length).toBe(208);
    expect(toHex(bytes.subarray(0, 16))).toBe('f8ffffffffffffff0200000020000120');
    expect(toHex(bytes.subarray(16, 32))).toBe('00000000000000000358300060000000');
    expect(toHex(bytes.subarray(192))).toBe('77000000000000000200000000000000');
  });
});

describe('kallsyms', () => {
  const table = KernelSymbols.parse(
    utf8(
      'ffffffff81000000 T _stext\nffffffff81000100 t twice\nffffffffc0000000 t twice\t[mod]\n' +
        'ffffffff81000200 d data\nnonsense\n',
    ),
  );

  it('by name: all of them', () => {
    expect(table.find('twice').map(({ module }) => module)).toEqual(['', 'mod']);
    expect(table.find('nothing')).toEqual([]);
  });

  it('by address: the one before it', () => {
    expect(table.at(0xffffffff81000110n)).toMatchObject({ symbol: { name: 'twice' }, offset: 0x10n });
    expect(table.at(0xffffffff80ffffffn)).toBeUndefined();
  });

  it('hidden addresses find nothing', () => {
    expect(KernelSymbols.parse(utf8('0000000000000000 T _stext\n')).at(5n)).toBeUndefined();
  });
});

describe('addresses to names', () => {
  const contents: Record<string, Uint8Array> = {
    '/proc/kallsyms': utf8('ffffffff81000000 T start_kernel\nffffffffc0000000 t probe\t[mod]\n'),
    '/proc/7/maps': utf8(
      '400000-401000 r-xp 00000000 fe:00 1 /bin/tiny\n7f0000000000-7f0000001000 rwxp 00000000 00:00 0\n' +
        '7ff000000000-7ff000001000 r-xp 00000000 00:00 0 [vdso]\n',
    ),
    '/proc/7/root/bin/tiny': tinyElf({ symbols: [{ name: 'work', address: CODE, size: 16 }] }),
    '/tmp/perf-7.map': utf8('7f0000000010 20 old\n7f0000000010 20 LazyCompile:~run file.js:1\n'),
  };
  const symbols = new Symbolizer(new FakeKernel({ files: { contents } }).kernel);

  it('of the kernel', () => {
    expect(symbols.kernel(0xffffffff81000004n)).toMatchObject({
      name: 'start_kernel',
      offset: 4n,
      object: '',
    });
    expect(symbols.kernel(0xffffffffc0000000n)).toMatchObject({ name: 'probe', object: 'mod' });
    expect(symbols.kernel(1n).name).toBeUndefined();
  });

  it('of a process: symbol tables, generated code, what has no names', () => {
    const at = BigInt(0x400000 + CODE_OFFSET);
    expect(symbols.user(7, at + 3n)).toMatchObject({ name: 'work', offset: 3n, object: '/bin/tiny' });
    expect(symbols.user(7, at + 32n)).toMatchObject({ name: undefined, offset: 0x120n, object: '/bin/tiny' });
    expect(symbols.user(7, 0x7f0000000011n)).toMatchObject({
      name: 'LazyCompile:~run file.js:1',
      offset: 1n,
    });
    expect(symbols.user(7, 0x7ff000000001n)).toMatchObject({ name: undefined, object: '[vdso]' });
    expect(symbols.user(7, 5n)).toMatchObject({ name: undefined, object: '' });
    expect(symbols.user(8, at)).toMatchObject({ name: undefined, object: '' });
  });

  it('stacks end at the first zero', () => {
    const value = new Uint8Array(new BigUint64Array([0xffffffff81000004n, 0n, 5n]).buffer);
    expect(symbols.stack(value).map(({ name }) => name)).toEqual(['start_kernel']);
  });

  it('a kernel without a machine gives addresses', () => {
    const none = new Symbolizer(new FakeKernel({ noFiles: true }).kernel);
    expect(none.user(7, 5n)).toEqual({ address: 5n, name: undefined, offset: 0n, object: '' });
    expect(none.kernel(5n).name).toBeUndefined();
  });
});

it('/proc/PID/maps', () => {
  const maps = parseProcessMaps(
    utf8(
      '55d0c0000000-55d0c0001000 r-xp 00001000 fe:00 123                        /usr/bin/a b (deleted)\n' +
        '7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0                          [stack]\nbad line\n',
    ),
  );
  expect(maps).toEqual([
    { start: 0x55d0c0000000n, end: 0x55d0c0001000n, executable: true, offset: 0x1000n, path: '/usr/bin/a b' },
    { start: 0x7ffc00000000n, end: 0x7ffc00001000n, executable: false, offset: 0n, path: '[stack]' },
  ]);
});

it.each([
  ['vfs_read', 'vfs_*', true],
  ['vfs_read', '*read', true],
  ['vfs_read', 'vfs_????', true],
  ['vfs_read', 'vfs', false],
  ['vfs_read', '*', true],
  ['', '*', true],
  ['abc', 'a*b*c*', true],
  ['a.b', 'a?b', true],
  ['aab', 'a+b', false],
  ['a'.repeat(5000), `${'*a'.repeat(500)}b`, false],
])('%s matches %s: %s', (text, pattern, expected) => {
  expect(globMatch(text, pattern)).toBe(expected);
  expect(isGlob(pattern)).toBe(/[*?]/.test(pattern));
});
