/** `tsbpf cc`, and C files given to `run` and `verify`. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { BpfObject } from '../../src/libbpf/index.ts';
import { cli } from './cli.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsbpf-cc-'));
afterAll(() => rmSync(directory, { recursive: true }));

const source = (name: string): string =>
  fileURLToPath(new URL(`../../examples/src/${name}.bpf.c`, import.meta.url));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const XDP = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int pass(struct xdp_md *ctx) { return RESULT; }
`;

describe('cc', () => {
  it('makes an object that the loader opens', async () => {
    const out = join(directory, 'hello.bpf.o');
    const { exit, stderr } = await cli([
      'cc',
      '-O2',
      '-g',
      '-target',
      'bpf',
      '-Wall',
      '-c',
      source('hello'),
      '-o',
      out,
    ]);
    expect(stderr).toBe('');
    expect(exit).toBe(0);
    const object = BpfObject.open(new Uint8Array(readFileSync(out)), { name: 'hello' });
    expect(object.programs.map(({ name, spec }) => [name, spec.section])).toEqual([
      ['hello', 'tracepoint/syscalls/sys_enter_execve'],
    ]);
  });

  it('prints what is wrong as clang does, and fails', async () => {
    const path = file('bad.bpf.c', '#include <linux/types.h>\n__u32 f(void) { return 1 + ; }\n');
    const { exit, stderr, stdout } = await cli(['cc', '-c', path, '-o', join(directory, 'bad.o')]);
    expect(exit).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toBe(`${path}:2:28: error: expected expression
    2 | __u32 f(void) { return 1 + ; }
      |                            ^
1 error generated.
`);
    expect(existsSync(join(directory, 'bad.o'))).toBe(false);
  });

  it('takes definitions, include directories and forced headers', async () => {
    const path = file('defs.bpf.c', XDP);
    writeFileSync(join(directory, 'forced.h'), '#define RESULT VALUE\n');
    const { exit, stdout } = await cli([
      'cc',
      '-E',
      '-P',
      '-DVALUE=XDP_DROP',
      `-I${directory}`,
      '-include',
      'forced.h',
      path,
    ]);
    expect(exit).toBe(0);
    expect(stdout).toContain('return XDP_DROP;');
  });

  it('lists macros', async () => {
    const { stdout } = await cli(['cc', '-E', '-dM', '-mcpu=v4', '-DONE', file('empty.c', '')]);
    expect(stdout).toContain('#define ONE 1\n');
    expect(stdout).toContain('#define __BPF_CPU_VERSION__ 4\n');
  });

  it('shows assembly', async () => {
    const { stdout } = await cli(['cc', '-S', '-DRESULT=XDP_DROP', file('asm.bpf.c', XDP)]);
    expect(stdout).toMatch(/\.section "xdp"\npass:\n[\s\S]*exit/);
  });

  it('writes its headers for other compilers', async () => {
    const to = join(directory, 'headers');
    expect((await cli(['cc', '--write-headers', to])).exit).toBe(0);
    expect(readFileSync(join(to, 'bpf/bpf_helper_defs.h'), 'utf8')).toContain('bpf_map_lookup_elem');
  });

  const wrong: [string[], RegExp][] = [
    [['cc'], /there is no C file/],
    [['cc', '-Qz', 'x.c'], /unknown flag '-Qz'/],
    [['cc', '-mcpu=v9', 'x.c'], /no instruction set 'v9'/],
    [['cc', '-target', 'x86_64', 'x.c'], /the target is bpf/],
    [['cc', '-o'], /-o needs a value/],
    [['cc', '-o', 'x.o', 'a.c', 'b.c'], /-o is for one C file/],
    [['cc', '-c', 'a.c', '-o', '-'], /an object does not go to standard output/],
  ];
  for (const [argv, message] of wrong)
    it(`refuses ${argv.join(' ')}`, async () => {
      const { exit, stderr } = await cli(argv);
      expect(exit).toBe(2);
      expect(stderr).toMatch(message);
    });

  it('says what a file is that is no C', async () => {
    const object = file('object.c', '\x7fELF and more');
    expect((await cli(['cc', '-c', object])).stderr).toMatch(/object\.c is an object, not C/);
    const wide = join(directory, 'wide.c');
    writeFileSync(wide, Buffer.from('\ufeffint x;\n', 'utf16le'));
    expect((await cli(['cc', '-c', wide])).stderr).toMatch(/wide\.c is UTF-16/);
    const { exit, stderr } = await cli(['cc', '-c', directory]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/cannot read it: it is a directory/);
  });

  const installed = existsSync('/usr/include/linux/mpls.h');
  it.skipIf(!installed)(
    `finds headers of the machine that are not built in${installed ? '' : ': skipped, none are installed'}`,
    async () => {
      const path = file(
        'mpls.c',
        '#include <linux/bpf.h>\n#include <linux/mpls.h>\nint shift = MPLS_LS_LABEL_SHIFT;\n',
      );
      const out = join(directory, 'mpls.o');
      expect(await cli(['cc', '-c', path, '-o', out])).toMatchObject({ exit: 0, stderr: '' });
      expect((await cli(['cc', '-E', '-P', path])).stdout).toContain('int shift = 12;');
      expect((await cli(['cc', '-nostdinc', '-c', path, '-o', out])).stderr).toMatch(/file not found/);
    },
  );

  it('keeps the bytes of strings that are no UTF-8', async () => {
    const path = join(directory, 'latin1.c');
    writeFileSync(
      path,
      Buffer.from('char name[] __attribute__((section("names"))) = "caf\xe9 \u00fc";', 'latin1'),
    );
    const out = join(directory, 'latin1.o');
    expect(await cli(['cc', '-c', path, '-o', out])).toMatchObject({ exit: 0, stderr: '' });
    expect(readFileSync(out).includes(Buffer.from('caf\xe9 \xfc\0', 'latin1'))).toBe(true);
  });

  it('takes files behind -- however they are called', async () => {
    const out = join(directory, 'dash.o');
    expect((await cli(['cc', '-c', '-o', out, '--', file('dash.c', 'int x;\n')])).exit).toBe(0);
  });

  it('finds what a misspelt name means in the types of a kernel', async () => {
    const path = file(
      'misspelt.bpf.c',
      '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\nSEC("xdp") int p(struct xdp_md *c) { bpf_prink("x"); return XDP_PAS; }\n',
    );
    const { exit, stderr } = await cli(['cc', '-c', path, '-o', join(directory, 'misspelt.o')]);
    expect(exit).toBe(1);
    expect(stderr).toContain("did you mean 'bpf_printk'?");
    expect(stderr).toContain("did you mean 'XDP_PASS'?");
  });

  it('says that there is no such file', async () => {
    const { exit, stderr } = await cli(['cc', '-c', join(directory, 'none.c')]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/no such file/);
  });
});

describe('C files in place of objects', () => {
  it('run compiles and runs', async () => {
    const { exit, stdout } = await cli([
      'run',
      file('run.bpf.c', XDP),
      '--cflags',
      '-DRESULT=XDP_TX',
      '--json',
    ]);
    expect(exit).toBe(0);
    expect(JSON.parse(stdout).programs[0].results).toEqual({ 'returned 3': 1 });
  });

  it('verify compiles and verifies', async () => {
    const { exit, stdout } = await cli(['verify', source('xdp_filter')]);
    expect(exit).toBe(0);
    expect(stdout).toContain('xdp_filter  xdp  accepted');
  });

  it('both give the compiler’s diagnostics', async () => {
    const path = file('broken.bpf.c', 'int f(void) { return ; \n');
    for (const command of ['run', 'verify']) {
      const { exit, stderr } = await cli([command, path]);
      expect(exit).toBe(1);
      expect(stderr).toMatch(/broken\.bpf\.c:\d+:\d+: error: /);
      expect(stderr).toMatch(/errors? generated\.$/m);
    }
  });
});
