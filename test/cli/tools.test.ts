import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { VERSION } from '../../src/version.ts';
import { BIN, cli, example, TRAFFIC, temporary } from './cli.ts';

async function json<T>(...argv: string[]): Promise<T> {
  const { exit, stdout, stderr } = await cli(argv);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  return JSON.parse(stdout) as T;
}

describe('asm and disasm', () => {
  const SOURCE = 'r0 = 2\nif r1 == 0 goto out\nr0 = 1\nout: exit\n';

  it('goes there and back', async () => {
    const source = temporary('a.s', SOURCE);
    const binary = temporary('a.bin');
    expect((await cli(['asm', source, '-o', binary])).stdout).toMatch(/4 instructions/);
    expect([...readFileSync(binary).subarray(0, 8)]).toEqual([0xb7, 0, 0, 0, 2, 0, 0, 0]);
    expect((await cli(['disasm', binary])).stdout).toBe(
      '     0: r0 = 2\n     1: if r1 == 0x0 goto pc+1\n     2: r0 = 1\n     3: exit\n',
    );
  });

  it('makes objects that verify takes', async () => {
    const object = temporary('a.o');
    await cli(['asm', temporary('a.s', SOURCE), '-o', object, '--section', 'xdp', '--name', 'first']);
    const [record] = await json<Record<string, unknown>[]>('verify', object, '--json');
    expect(record).toMatchObject({ name: 'first', section: 'xdp', verdict: 'accept' });
  });

  it('runs a program whose section says nothing as the type that is given', async () => {
    const object = temporary('b.o');
    await cli(['asm', temporary('b.s', SOURCE), '-o', object, '--section', 'something']);
    const unsaid = await cli(['verify', object]);
    expect(unsaid.exit).toBe(1);
    expect(unsaid.stdout).toMatch(/section 'something' does not say a program type/);
    const { exit, stdout } = await cli(['run', object, '--prog-type', 'xdp', '--pcap', TRAFFIC]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/XDP_DROP × 95/);
    expect(await cli(['verify', object, '--prog-type', 'nonsense'])).toMatchObject({
      exit: 2,
      stderr: expect.stringMatching(/The types are socket_filter, /),
    });
  });

  it('takes the types and the configuration of a kernel', async () => {
    const kconfig = temporary('config', '# a comment\nCONFIG_HZ=250\n');
    const target = ['--btf', example('hello'), '--kconfig', kconfig];
    expect(await cli(['verify', example('hello'), ...target])).toMatchObject({ exit: 0 });
    expect(await cli(['verify', example('hello'), '--btf', kconfig])).toMatchObject({
      exit: 1,
      stderr: expect.stringMatching(/config: malformed BTF: .*\[EINVAL\]/),
    });
    const broken = temporary('config.gz', new Uint8Array([0x1f, 0x8b, 8, 0]));
    expect(await cli(['verify', example('hello'), '--kconfig', broken])).toMatchObject({
      exit: 1,
      stderr: expect.stringMatching(/config\.gz: it cannot be unzipped/),
    });
  });

  it('says where the text is wrong', async () => {
    const { exit, stderr } = await cli(['asm', temporary('bad.s', 'r0 = 2\nfoo bar\n')]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/bad\.s: line 2, column 1/);
  });

  it('refuses maps that nothing defines', async () => {
    const { exit, stderr } = await cli([
      'asm',
      temporary('map.s', 'r1 = map[x]\nexit\n'),
      '-o',
      temporary('map.o'),
    ]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/instruction 0 refers to the map 'x', which nothing defines/);
  });

  it('shows C lines and names', async () => {
    const { stdout } = await cli(['disasm', example('xdp_filter')]);
    expect(stdout).toMatch(/^xdp_filter \(section xdp, \d+ instructions\)$/m);
    expect(stdout).toMatch(/^; if \(eth->h_proto == bpf_htons\(ETH_P_IP\)\) \{ @ xdp_filter\.bpf\.c:58$/m);
    expect(stdout).toMatch(/^ +\d+: r1 = map\[protocols\]$/m);
    const llvm = await cli(['disasm', example('xdp_filter'), '--syntax', 'llvm', '--no-source']);
    expect(llvm.stdout).toMatch(/^ +0: w0 = 0x1$/m);
    expect(llvm.stdout).not.toMatch(/^;/m);
  });

  it('--json has every instruction with its bytes', async () => {
    const [program] = await json<{ insns: { index: number; text: string; bytes: string }[] }[]>(
      'disasm',
      example('hello'),
      '--json',
    );
    expect(program.insns[0]).toMatchObject({ index: 0, text: 'r7 = r1', bytes: 'bf17000000000000' });
  });
});

describe('gen object', () => {
  it('several objects as one, which verify and run take', async () => {
    const output = temporary('all.bpf.o');
    const linked = await cli(['gen', 'object', output, example('xdp_filter'), example('socket_sizes')]);
    expect(linked).toMatchObject({ exit: 0, stdout: `${output}: 2 programs, 3 maps\n` });
    expect((await cli(['verify', output])).stdout).toMatch(/2 programs, 0 rejected/);
    const counts = ['map', 'dump', '--map', 'protocols', '--pcap', TRAFFIC, '-j'];
    const alone = await json<unknown[]>(...counts, example('xdp_filter'));
    expect(await json<unknown[]>(...counts, output)).toEqual(alone);
  });

  it('says which file is at fault', async () => {
    const twice = [example('hello'), example('hello')];
    const output = temporary('none.bpf.o');
    const { exit, stderr } = await cli(['gen', 'object', output, ...twice]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/symbol 'hello' is defined in .*hello\.bpf\.o and in .*hello\.bpf\.o \[EEXIST\]/);
    expect(existsSync(output)).toBe(false);
    expect((await cli(['gen', 'object', output, TRAFFIC])).stderr).toMatch(/traffic\.pcap/);
    expect((await cli(['gen', 'object', output])).exit).toBe(2);
  });
});

describe('prog', () => {
  it('run: programs that take a context alone, as often as asked for', async () => {
    const object = temporary('syscall.o');
    const source = temporary('syscall.s', 'r0 = *(u32 *)(r1 +0)\nr0 += 1\n*(u32 *)(r1 +0) = r0\nexit\n');
    await cli(['asm', source, '-o', object, '--section', 'syscall']);
    const ctx = ['--ctx', '0600000000000000'];
    expect(await json('prog', 'run', object, '-j', ...ctx)).toMatchObject({ retval: 7 });
    expect(await json('prog', 'run', object, '-j', ...ctx, '--repeat', '3')).toMatchObject({ retval: 7 });
    const { stdout } = await cli(['run', object, '--data', '0600000000000000', '--repeat', '3', '--json']);
    const { programs } = JSON.parse(stdout) as { programs: { runs: number }[] };
    expect(programs[0]!.runs).toBe(3);
  });

  it('show: the shape of bpftool', async () => {
    const [program] = await json<Record<string, unknown>[]>('prog', 'show', example('xdp_filter'), '-j');
    expect(program).toMatchObject({
      id: 1,
      type: 'xdp',
      name: 'xdp_filter',
      tag: '451a6d45895a9cc1',
      gpl_compatible: true,
      jited: true,
      map_ids: [expect.any(Number), expect.any(Number)],
    });
    const { stdout } = await cli(['prog', 'list', example('xdp_filter')]);
    expect(stdout).toMatch(/^1: xdp {2}name xdp_filter {2}tag 451a6d45895a9cc1 {2}gpl\n/);
  });

  it('dump xlated and jited', async () => {
    const xlated = await cli(['prog', 'dump', 'xlated', example('xdp_filter')]);
    expect(xlated.stdout).toMatch(/^ {3}0: \(b4\) w0 = 1$/m);
    expect(xlated.stdout).toMatch(/^int xdp_filter\(struct xdp_md \* ctx\):\n; .*\n {3}0: /);
    const raw = await cli(['prog', 'dump', 'xlated', example('xdp_filter'), 'opcodes', 'linum']);
    expect(raw.stdout).toMatch(/^; .* \[file:\S+xdp_filter.bpf.c line_num:\d+ line_col:\d+\]$/m);
    expect(raw.stdout).toMatch(/^ {3}0: \(b4\) w0 = 1\n {7}b4 00 00 00 01 00 00 00$/m);
    expect(xlated.stdout).toMatch(/\(18\) r1 = map\[id:\d+\]/);
    const interpreted = await cli(['prog', 'dump', 'jited', example('xdp_filter'), '--engine', 'interp']);
    expect(interpreted).toMatchObject({ exit: 2, stderr: expect.stringMatching(/is interpreted/) });
  });

  it('dump jited: WebAssembly below C lines and instructions', async () => {
    const dump = ['prog', 'dump', 'jited', example('xdp_filter')];
    const { stdout } = await cli(dump);
    expect(stdout).toMatch(
      /^int xdp_filter\(struct xdp_md \* ctx\):\nfunc \(param i64 i32\) \(result i64\)\n/,
    );
    expect(stdout).toMatch(/^; void \*data = .*\n {2};; 1: r8 = \*\(u64 \*\)\(r1 \+0\)\n/m);
    expect(stdout).toMatch(/^ {2,}[0-9a-f]+:\t *i64\.load/m);
    const [f] = await json<{ proto: string; insns: Record<string, unknown>[] }[]>(...dump, 'linum', '-j');
    expect(f!.proto).toBe('int xdp_filter(struct xdp_md * ctx)');
    expect(f!.insns.find(({ src }) => String(src).startsWith('void *data ='))).toMatchObject({
      bpf: ['1: r8 = *(u64 *)(r1 +0)'],
      line_num: expect.any(Number),
      operation: expect.any(String),
    });
    const module = temporary('code.wasm');
    await cli([...dump, 'file', module]);
    expect(WebAssembly.validate(readFileSync(module))).toBe(true);
    // Each instruction is that of the module.
    const { stdout: bytes } = await cli([...dump, 'opcodes']);
    const body = bytes.split('\n').flatMap((line) => /^ +\t([0-9a-f ]+)$/.exec(line)?.[1] ?? []);
    expect(readFileSync(module).toString('hex')).toContain(body.join('').replaceAll(' ', ''));
  });

  it('dump jited --native: machine code below C lines', async () => {
    const { stdout } = await cli(['prog', 'dump', 'jited', example('xdp_filter'), '--native']);
    expect(stdout).toMatch(/^int xdp_filter\(struct xdp_md \* ctx\):\n {3}0:\t/);
    expect(stdout).toMatch(/^; void \*data = /m);
    expect(await cli(['prog', 'dump', 'xlated', example('xdp_filter'), '--native'])).toMatchObject({
      exit: 2,
    });
  });

  it('dump xlated visual: blocks and edges', async () => {
    const { stdout } = await cli(['prog', 'dump', 'xlated', example('xdp_filter'), 'visual']);
    expect(stdout).toMatch(/^digraph "DOT graph for eBPF program" \{\n/);
    expect(stdout).toMatch(/"fn_0_bb_entry":s -> "fn_0_bb_0":n \[/);
    // Every edge joins blocks that are there, and every block is reached.
    const blocks = [...stdout.matchAll(/(fn_\d+_bb_\w+) \[shape/g)].map(([, name]) => name);
    const edges = [...stdout.matchAll(/"(fn_\d+_bb_\w+)":s -> "(fn_\d+_bb_\w+)":n/g)];
    for (const [, from, to] of edges) expect(blocks).toEqual(expect.arrayContaining([from, to]));
    const reached = new Set(edges.map(([, , to]) => to));
    expect(blocks.filter((name) => !reached.has(name))).toEqual(['fn_0_bb_entry']);
  });

  it('sysctls of the embedded kernel', async () => {
    const show = ['prog', 'show', example('xdp_filter'), '-j'];
    const [plain] = await json<{ bytes_xlated: number; bytes_jited: number }[]>(...show);
    const [hardened] = await json<(typeof plain)[]>(...show, '--sysctl', 'net.core.bpf_jit_harden=2');
    expect(hardened!.bytes_xlated).toBeGreaterThan(plain!.bytes_xlated);
    expect(hardened!.bytes_jited).toBeGreaterThan(plain!.bytes_jited);
    const [interpreted] = await json<object[]>(...show, '--sysctl', 'net.core.bpf_jit_enable=0');
    expect(interpreted).toMatchObject({ jited: false });
    expect(await cli([...show, '--sysctl', 'net.core.none=1'])).toMatchObject({
      exit: 1,
      stderr: expect.stringMatching(/there is no sysctl net.core.none .*\nhint: known: .*bpf_jit_harden/),
    });
    expect((await cli([...show, '--sysctl', 'x'])).exit).toBe(2);
  });

  it.each(['jit', 'interp'])('run, %s', async (engine) => {
    const packet = `${'00'.repeat(12)}0800`;
    const result = await json<{ retval: number; data_out: string }>(
      ...['prog', 'run', example('xdp_filter'), '--data', packet, '--engine', engine, '-j'],
    );
    expect(result).toMatchObject({ retval: 1, data_out: packet });
  });

  it('asks which program is meant', async () => {
    const { exit, stderr } = await cli(['prog', 'dump', 'xlated', example('syscall_tail')]);
    expect(exit).toBe(2);
    expect(stderr).toMatch(
      /the object has 4 programs\nhint: choose with --program: on_execve, on_openat, on_write, dispatch/,
    );
  });

  it('says what has no test run', async () => {
    const { exit, stderr } = await cli(['prog', 'run', example('hello')]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/tracepoint programs have no test run \[ENOTSUPP\]/);
  });
});

describe('map', () => {
  it('show: the shape of bpftool', async () => {
    const maps = await json<Record<string, unknown>[]>('map', 'show', example('xdp_filter'), '-j');
    expect(maps.find(({ name }) => name === 'blocked')).toMatchObject({
      type: 'lpm_trie',
      flags: 1,
      bytes_key: 8,
      bytes_value: 4,
      max_entries: 1024,
      frozen: 0,
    });
  });

  it('dump: raw bytes and formatted values', async () => {
    const rows = await json<unknown[]>(
      'map',
      'dump',
      example('xdp_filter'),
      '--map',
      'blocked',
      '--set',
      'blocked:10.66.0.0/16=1',
      '-j',
    );
    expect(rows).toEqual([
      {
        key: ['0x10', '0x00', '0x00', '0x00', '0x0a', '0x42', '0x00', '0x00'],
        value: ['0x01', '0x00', '0x00', '0x00'],
        formatted: { key: { prefix_length: 16, address: 0x420a }, value: 1 },
      },
    ]);
  });

  it('dump after a run', async () => {
    const rows = await json<{ formatted: { key: number; value: { packets: number } } }[]>(
      ...['map', 'dump', example('xdp_filter'), '--map', 'protocols', '--pcap', TRAFFIC, '-j'],
    );
    expect(rows).toHaveLength(256);
    expect(rows[17].formatted.value.packets).toBeGreaterThan(0);
  });

  it('asks which map is meant, and says what cannot be walked', async () => {
    expect(await cli(['map', 'dump', example('xdp_filter')])).toMatchObject({
      exit: 2,
      stderr: expect.stringMatching(/choose one with --map: blocked, protocols/),
    });
    expect(await cli(['map', 'dump', example('exec_ringbuf'), '--map', 'events'])).toMatchObject({
      exit: 1,
      stderr: expect.stringMatching(/a map of type ringbuf cannot be walked/),
    });
  });
});

describe('the command line itself', () => {
  it.each([
    [['bogus'], /unknown command 'bogus'/],
    [['run', '--foo'], /unknown option '--foo'/],
    [['verify'], /missing required argument 'file'/],
    [[], /Usage: tsbpf/],
  ])('%j is a usage error', async (argv, message) => {
    const { exit, stderr } = await cli(argv);
    expect(exit).toBe(2);
    expect(stderr).toMatch(message);
  });

  it('has help with examples for every command', async () => {
    const { exit, stdout } = await cli(['--help']);
    expect(exit).toBe(0);
    for (const name of ['run', 'verify', 'asm', 'disasm', 'gen', 'prog', 'map']) {
      expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
      expect((await cli([name, '--help'])).stdout).toMatch(/Examples:\n {2}\$ tsbpf /);
    }
  });

  it('has a version, which is the one of the package', async () => {
    expect((await cli(['--version'])).stdout).toBe('1.2.3\n');
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(VERSION).toBe(version);
  });

  it.skipIf(!existsSync(BIN))('works as built (needs npm run build)', () => {
    const run = (...argv: string[]) => spawnSync(process.execPath, [BIN, ...argv], { encoding: 'utf8' });
    expect(run('--version')).toMatchObject({ status: 0, stdout: `${VERSION}\n` });
    const verdicts = run('verify', example('unchecked'), '--json');
    expect(verdicts.status).toBe(1);
    expect(JSON.parse(verdicts.stdout)).toHaveLength(3);
    expect(run('run', example('xdp_filter'), '--pcap', TRAFFIC)).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('diff', () => {
  it('says what is missing where there is no host kernel', async () => {
    const { exit, stderr } = await cli(['diff', example('hello')], {
      host: async () => {
        throw new BpfError('ENOSYS', 'the host kernel needs Linux');
      },
    });
    expect(exit).toBe(1);
    expect(stderr).toMatch(/error: the host kernel needs Linux/);
  });
});

describe('--kernel auto', () => {
  it('takes the embedded kernel where there is no other, and says why', async () => {
    const { exit, stdout, stderr } = await cli(['verify', example('hello'), '--kernel', 'auto'], {
      host: async () => ({ kernel: new EmbeddedKernel(), chosen: 'embedded', why: 'no koffi' }),
    });
    expect(exit).toBe(0);
    expect(stdout).toMatch(/accepted/);
    expect(stderr).toMatch(/note: the embedded kernel was taken: no koffi/);
  });
});
