/**
 * `npm run bench:compile [-- RUNS]`: the compiler beside clang-19 on the same sources, warm, in one run: a first program, and a CO-RE
 * tracer with the whole vmlinux.h of this machine's kernel; then the command from the shell prompt to its end. `npm run build` first:
 * it measures what is in dist. Milliseconds, best and median.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const runs = Number(process.argv[2] ?? 20);
const { builtinHeader, builtinHeaderNames, compile, vmlinuxHeader } = (await import(
  `${root}dist/compiler/index.js`
)) as typeof import('../src/compiler/index.ts');
const { parseBtf } = (await import(`${root}dist/btf/index.js`)) as typeof import('../src/btf/index.ts');

const HELLO = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tracepoint/syscalls/sys_enter_execve") int hello(void *ctx)
{
	bpf_printk("hello from %d", (int)(bpf_get_current_pid_tgid() >> 32));
	return 0;
}
char LICENSE[] SEC("license") = "GPL";
`;
const TRACER = `#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
struct event { u32 pid, ppid; char comm[16]; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 262144); } events SEC(".maps");
SEC("tp_btf/sched_process_exec") int BPF_PROG(on_exec, struct task_struct *task)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->pid = BPF_CORE_READ(task, tgid);
	event->ppid = BPF_CORE_READ(task, real_parent, tgid);
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_ringbuf_submit(event, 0);
	return 0;
}
char LICENSE[] SEC("license") = "GPL";
`;

const directory = mkdtempSync(join(tmpdir(), 'tsbpf-bench-'));
try {
  for (const name of builtinHeaderNames()) {
    mkdirSync(dirname(join(directory, 'include', name)), { recursive: true });
    writeFileSync(join(directory, 'include', name), builtinHeader(name)!);
  }
  measure('hello', HELLO, undefined);
  let vmlinux: string | undefined;
  try {
    vmlinux = vmlinuxHeader(parseBtf(new Uint8Array(readFileSync('/sys/kernel/btf/vmlinux'))));
  } catch (error) {
    console.log(`tracer skipped: no types of this machine's kernel (${(error as Error).message})`);
  }
  if (vmlinux !== undefined)
    measure(`tracer, vmlinux.h of ${vmlinux.split('\n').length} lines`, TRACER, vmlinux);
  const hello = join(directory, 'hello.bpf.c');
  writeFileSync(hello, HELLO);
  const bin = join(root, 'dist/bin.js');
  print(
    'tsbpf run hello.bpf.c, from start to end',
    'ours',
    times(() => spawnSync('node', [bin, 'run', hello])),
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function measure(what: string, text: string, vmlinux: string | undefined): void {
  const header = (name: string) => (name === 'vmlinux.h' ? vmlinux : builtinHeader(name));
  const ours = () => {
    const { object } = compile({
      files: { read: () => undefined },
      main: 'bench.bpf.c',
      text,
      options: { builtinHeader: header, defines: [{ define: '__TARGET_ARCH_x86' }] },
    });
    if (object === null) throw new Error(`${what} does not compile`);
  };
  for (let i = 0; i < runs; i++) ours();
  print(what, 'ours', times(ours));
  const source = join(directory, 'bench.bpf.c');
  writeFileSync(source, text);
  if (vmlinux !== undefined) writeFileSync(join(directory, 'vmlinux.h'), vmlinux);
  const flags = ['-O2', '-g', '-w', '-target', 'bpf', '-mcpu=v3', '-D__TARGET_ARCH_x86'];
  flags.push('-I', directory, '-isystem', join(directory, 'include'), '-c', source, '-o', `${source}.o`);
  try {
    execFileSync('clang-19', ['--version'], { stdio: 'ignore' });
  } catch {
    console.log(`${what}: no clang-19 to compare with`);
    return;
  }
  print(
    what,
    'clang-19',
    times(() => execFileSync('clang-19', flags, { stdio: 'pipe' })),
  );
}

function times(action: () => void): number[] {
  const result: number[] = [];
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    action();
    result.push(performance.now() - start);
  }
  return result.sort((a, b) => a - b);
}

function print(what: string, who: string, sorted: readonly number[]): void {
  const median = sorted[sorted.length >> 1]!;
  console.log(
    `${what.padEnd(44)} ${who.padEnd(9)} best ${sorted[0]!.toFixed(1)}, median ${median.toFixed(1)} ms`,
  );
}
