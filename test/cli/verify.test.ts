import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cli, example, temporary } from './cli.ts';

const EXAMPLES = [
  'count_by_user',
  'exec_perf',
  'exec_ringbuf',
  'hello',
  'socket_sizes',
  'syscall_tail',
  'xdp_filter',
];

describe('verify', () => {
  it.each(EXAMPLES)('accepts %s', async (name) => {
    const { exit, stdout } = await cli(['verify', example(name)]);
    expect(stdout).not.toMatch(/rejected:/);
    expect(exit).toBe(0);
  });

  it('says that a loop is endless, not which state it was in', async () => {
    const source = 'r6 = 0\nagain: call bpf_get_prandom_u32\nif r0 != 7 goto again\nr0 = 0\nexit\n';
    const object = temporary('loop.o');
    await cli(['asm', temporary('loop.s', source), '-o', object, '--section', 'xdp']);
    const { stdout } = await cli(['verify', object, '--no-search']);
    expect(stdout.split('\n')[1]).toBe('  infinite loop detected at insn 1');
    expect(stdout.match(/infinite loop/g)).toHaveLength(1);
    expect(stdout).toMatch(/log {6}old state: /);
    const table = await cli(['verify', object, '--release', '6.1,6.18']);
    expect(table.stdout).toMatch(/prog on 6\.1, 6\.18: infinite loop detected at insn 1/);
  });

  it('explains a rejection with its C line', async () => {
    const { exit, stdout } = await cli([
      'verify',
      example('unchecked'),
      '--program',
      'unchecked_lookup',
      '--no-search',
    ]);
    expect(exit).toBe(1);
    expect(stdout).toBe(`✗ unchecked_lookup  xdp  rejected: EACCES
  R0 invalid mem access 'map_value_or_null'
  examples/src/unchecked.bpf.c:31:2
    29 | \t__u64 *count = bpf_map_lookup_elem(&seen, &key);
    30 |
    31 | \t__sync_fetch_and_add(count, 1);
       | \t^
    32 | \treturn XDP_PASS;
    33 | }
  instruction 8: lock *(u64 *)(r0 +0) += r1
  what     possibly NULL pointer: the program changes 8 bytes at R0 atomically
  why      R0 is a pointer to a map value, or NULL (the result of bpf_map_lookup_elem, line 29): no test on this path excludes NULL
  needed   R0 is known not to be NULL
  R0       map_value_or_null(id=1,map=seen,ks=4,vs=8)  the result of bpf_map_lookup_elem, line 29
  R1       1  the constant 1, line 29
  path     line 28   starts: __u32 key = ctx->ingress_ifindex;
           line 29   calls bpf_map_lookup_elem: __u64 *count = bpf_map_lookup_elem(&seen, &key);
           line 31   changes 8 bytes at R0 atomically: __sync_fetch_and_add(count, 1);
  fix      test the pointer before it is used, and leave where it is NULL
             if (!value)
                 return XDP_PASS;
  after 8 instructions processed
`);
  });

  it('--attach-to: programs for functions of another program', async () => {
    const head = '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nchar L[] SEC("license") = "GPL";\n';
    const target = temporary(
      'target.bpf.c',
      `${head}__attribute__((noinline)) int value(int x) { return x + 1; }
SEC("xdp") int one(struct xdp_md *ctx) { return value(ctx->rx_queue_index); }
SEC("xdp") int two(struct xdp_md *ctx) { return 2; }`,
    );
    const extension = temporary(
      'extension.bpf.c',
      `${head}SEC("freplace/value") int fits(int x) { return 2; }
SEC("freplace/value") int wrong(long x) { return 2; }
SEC("fexit/value") int around(long *ctx) { return 0; }`,
    );
    const found = await cli(['verify', extension, '--attach-to', `${target}:one`, '--json']);
    const records = JSON.parse(found.stdout) as { name: string; verdict: string; message?: string }[];
    expect(records.map(({ name, verdict }) => `${name} ${verdict}`)).toEqual([
      'fits accept',
      'wrong reject',
      'around accept',
    ]);
    expect(records[1]!.message).toContain('arg0 in wrong() has size 8 while value() has 4');
    const other = await cli(['verify', extension, '--attach-to', `${target}:two`, '--program', 'fits']);
    expect(other.exit).toBe(1);
    expect(other.stdout).toContain("Subprog value doesn't exist");
  });

  it('--json: one record a program', async () => {
    const { exit, stdout } = await cli(['verify', example('unchecked'), '--json']);
    expect(exit).toBe(1);
    const records = JSON.parse(stdout) as Record<string, unknown>[];
    expect(records.map(({ name, verdict }) => `${name} ${verdict}`)).toEqual([
      'unchecked_packet reject',
      'unchecked_lookup reject',
      'checked accept',
    ]);
    for (const record of records) {
      expect(Object.keys(record)).toEqual([
        'name',
        'section',
        'type',
        'verdict',
        'errno',
        'message',
        'insnsProcessed',
        'insn',
        'source',
        'registers',
      ]);
    }
    expect(records[0]).toMatchObject({
      section: 'xdp',
      type: 'xdp',
      errno: 13,
      message: 'R1 offset is outside of the packet',
      insn: 1,
      source: {
        file: 'examples/src/unchecked.bpf.c',
        line: 21,
        column: 14,
        text: expect.stringContaining('eth->h_proto'),
      },
    });
    expect(records[0].registers).toContainEqual({ register: 'R1', state: 'pkt(r=0)' });
    expect(records[2]).toMatchObject({ errno: 0, message: '', insn: null, source: null, registers: [] });
  });

  it('--log: the log in the format of the kernel', async () => {
    const { stdout } = await cli(['verify', example('hello'), '--log', '2']);
    expect(stdout).toMatch(/^0: R1=ctx\(\) R10=fp0$/m);
    expect(stdout).toMatch(/^processed \d+ insns \(limit 1000000\)/m);
    expect(stdout).not.toMatch(/^verification time/m);
    const statistics = await cli(['verify', example('hello'), '--log', '4', '--json']);
    const [record] = JSON.parse(statistics.stdout) as { log: string; insnsProcessed: number }[];
    expect(record.log).toMatch(/^verification time \d+ usec\nstack depth \d+\nprocessed /);
    expect(record.insnsProcessed).toBe(Number(/processed (\d+)/.exec(record.log)![1]));
  });

  it.each([
    ['a missing file', '/no/such.o', /\/no\/such\.o: cannot read it: there is no such file \[ENOENT\]/],
    ['a directory', '/', /it is a directory \[EISDIR\]/],
    ['no ELF file', temporary('text.o', 'hello'), /text\.o: not an ELF file.*\[ENOEXEC\]\nhint: /],
    ['an empty file', temporary('empty.o', ''), /not an ELF file/],
    [
      'a truncated object',
      temporary('half.o', readFileSync(example('hello')).subarray(0, 900)),
      /half\.o: malformed ELF file: .*outside the file/,
    ],
  ])('%s', async (_what, path, message) => {
    const { exit, stdout, stderr } = await cli(['verify', path]);
    expect(stderr).toMatch(message);
    expect(exit).toBe(1);
    expect(stdout).toBe('');
  });

  it('lets no control characters of a file through to the terminal', async () => {
    const bytes = Buffer.from(readFileSync(example('hello')));
    // The program's name in the string table.
    for (let at = bytes.indexOf('hello\0'); at >= 0; at = bytes.indexOf('hello\0', at + 1))
      bytes.write('\u001b]0;x', at, 'latin1');
    const { stdout, stderr } = await cli(['verify', temporary('escape.o', bytes)]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape is what must not be there.
    expect(stdout + stderr).not.toMatch(/\u001b\]/);
  });
});

describe('colours', () => {
  const ESCAPE = '\u001b[';

  it.each([
    ['a terminal', { tty: true }, [], true],
    ['a pipe', {}, [], false],
    ['NO_COLOR', { tty: true, variables: { NO_COLOR: '1' } }, [], false],
    ['--no-color', { tty: true }, ['--no-color'], false],
    ['FORCE_COLOR', { variables: { FORCE_COLOR: '1' } }, [], true],
    ['a dumb terminal', { tty: true, variables: { TERM: 'dumb' } }, [], false],
  ])('%s', async (_what, circumstances, options, coloured) => {
    const { stdout } = await cli(['verify', example('unchecked'), ...options], circumstances);
    expect(stdout.includes(ESCAPE)).toBe(coloured);
  });
});
