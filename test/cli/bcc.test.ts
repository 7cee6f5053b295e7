/** Programs in BCC's C on the command line: `cc --dialect bcc`, and `run` and `verify`, which see what they are given. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BpfObject } from '../../src/libbpf/index.ts';
import { COMMANDS, cli, TRAFFIC, temporary } from './cli.ts';

const COUNTER = `BPF_PERCPU_ARRAY(packets, u64, 1);
int count(struct xdp_md *ctx) {
  int zero = 0;
  u64 *n = packets.lookup(&zero);
  if (n) (*n)++;
  return XDP_PASS;
}
`;

const EXECS = `struct data_t { u32 pid; char comm[16]; };
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(syscalls, sys_enter_execve) {
  struct data_t data = {};
  data.pid = bpf_get_current_pid_tgid() >> 32;
  bpf_get_current_comm(&data.comm, sizeof(data.comm));
  events.perf_submit(args, &data, sizeof(data));
  return 0;
}
`;

describe('the BCC dialect on the command line', () => {
  it('run takes a program for BCC as it is', async () => {
    const path = temporary('count.c', COUNTER);
    const { exit, stdout } = await cli(['run', path, '--pcap', TRAFFIC, '--json']);
    expect(exit).toBe(0);
    const { maps, packets } = JSON.parse(stdout);
    expect(maps[0].entries).toEqual([{ key: 0, value: [packets.packets] }]);
  });

  it('run --dialect bcc plays a recording', async () => {
    const path = temporary('execs.c', EXECS);
    const { exit, stdout } = await cli([
      'run',
      '--dialect',
      'bcc',
      path,
      '--replay',
      COMMANDS,
      '--type',
      'data_t',
    ]);
    expect(exit).toBe(0);
    expect(stdout).toContain('events: data_t pid=21080 comm="strace"');
  });

  it('verify checks it', async () => {
    expect((await cli(['verify', temporary('count.c', COUNTER)])).exit).toBe(0);
  });

  it('cc makes an object with its licence and its types', async () => {
    const source = temporary('execs.c', EXECS);
    const object = source.replace('.c', '.o');
    expect((await cli(['cc', '--dialect', 'bcc', '-c', source, '-o', object])).exit).toBe(0);
    const { spec } = BpfObject.open(readFileSync(object), { name: 'execs' });
    expect(spec.license).toBe('GPL');
    expect(spec.programs.map(({ section }) => section)).toEqual(['tracepoint/syscalls/sys_enter_execve']);
    expect(spec.btf?.find('data_t', 'struct')).toBeDefined();
  });

  it('says what is wrong, and where', async () => {
    const bad = await cli([
      'cc',
      '--dialect',
      'bcc',
      '-c',
      temporary('bad.c', 'BPF_HASH(t);\nint f(void *c) { t.loop(0); return 0; }\n'),
    ]);
    expect(bad.exit).not.toBe(0);
    expect(bad.stderr).toMatch(/bad\.c:2:20: error: table 't' has no method 'loop'/);
    expect((await cli(['cc', '--dialect', 'basic', 'x.c'])).stderr).toMatch(/there is no dialect 'basic'/);
  });
});
