/**
 * The tools and examples of the BPF Compiler Collection through our compiler: `npx tsx tools/bcc-corpus.ts DIR [--load] [TOOL…]`, DIR being a checkout of BCC.
 * Each Python tool runs with a stand-in for its module (tools/bcc-corpus), which writes down the C that the tool has put together; that is
 * compiled, and with `--load` (root) loaded into this machine's kernel, function by function as the tool attaches it. What the kernel does
 * not have (a function, a hook that it does not allow) is told apart from what it refuses. Ends with the reason of each that is left.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BccCompileError, BPF } from '../src/bcc/index.ts';
import type { Kernel } from '../src/index.ts';
import { openKernel } from '../src/index.ts';
import { BpfError, VerifierError } from '../src/util/index.ts';

const STAND_IN = fileURLToPath(new URL('bcc-corpus', import.meta.url));
/** Arguments of tools that do not start without; several lists: several programs. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  argdist: ['-H', 'r::vfs_write():int:$retval'],
  biolatpcts: ['8:0'],
  cachetop: ['1'],
  dbslower: ['mysql', '-p', '1'],
  dbstat: ['mysql', '-p', '1'],
  deadlock: ['1', '--binary', '/bin/bash'],
  dirtop: ['-d', '/', '1', '1'],
  funccount: ['vfs_r*'],
  funcinterval: ['vfs_read'],
  funclatency: ['vfs_read'],
  funcslower: ['vfs_read'],
  inject: ['kmalloc', '-v', 'mount_subtree() => btrfs_mount()'],
  kvmexit: ['1'],
  mptcpify: ['-t', 'test'],
  mysqld_qslower: ['1'],
  netqtop: ['-n', 'lo'],
  offcputime: ['1'],
  softirqslower: ['10'],
  stackcount: ['vfs_read'],
  stacksnoop: ['vfs_read'],
  trace: ['vfs_read (arg3 > 20000) "read %d bytes", arg3'],
  ttysnoop: ['0'],
  ...Object.fromEntries(
    ['ucalls', 'uflow', 'ugc', 'uobjnew', 'ustat', 'uthreads'].map((name) => [name, ['-l', 'java', '1']]),
  ),
};
/** Types by how the name of a function begins. */
const BY_PREFIX: Readonly<Record<string, string>> = {
  kprobe__: 'kprobe',
  kretprobe__: 'kprobe',
  tracepoint__: 'tracepoint',
  raw_tracepoint__: 'raw_tracepoint',
  kfunc__: 'tracing',
  kretfunc__: 'tracing',
  kmod_ret__: 'tracing',
  lsm__: 'lsm',
};

interface Program {
  readonly text: string;
  readonly cflags: readonly string[];
  readonly attached: Readonly<Record<string, string>>;
  readonly usdt: boolean;
}

/** Reasons that lie with the machine, by what the compiler, the verifier or the kernel says. */
const REASONS: readonly (readonly [said: RegExp, reason: string])[] = [
  [
    /cannot use helper bpf_override_return/,
    'the kernel is not built to override returns (CONFIG_BPF_KPROBE_OVERRIDE)',
  ],
  [/of tracing: operation not permitted/, 'the machine does not allow fentry, fexit and fmod_ret'],
  [/of lsm: operation not permitted/, 'the machine does not allow LSM programs'],
  [/type 'struct tracepoint__\w+'/, 'tracepoints that the kernel does not have'],
  [/which is not in the kernel's BTF/, 'functions that the kernel does not have'],
  [/incomplete definition of type 'struct (?:nfs_|rdma_)/, 'types of a module that is not loaded'],
  [/no member named 'rq_disk' in 'struct request'/, 'members that the kernel does not have since 5.16'],
  [/no member named 'd_iname' in 'struct dentry'/, 'members that the kernel does not have since 6.15'],
];
const reasons = new Map<string, string[]>();

/** Notes why a tool is left; true where that lies with the machine. */
function explain(name: string, said: string): boolean {
  const known = REASONS.find(([pattern]) => pattern.test(said))?.[1];
  const reason = known ?? 'ours';
  const names = reasons.get(reason) ?? [];
  if (!names.includes(name)) reasons.set(reason, [...names, name]);
  return known !== undefined;
}

const [directory = '', ...rest] = process.argv.slice(2).filter((word) => word !== '--load');
const load = process.argv.includes('--load');
const work = mkdtempSync(join(tmpdir(), 'bcc-corpus-'));
const counts = { tools: 0, programs: 0, compiled: 0, loaded: 0, lacking: 0 };

/** A folder of the checkout and all below it. */
function foldersBelow(folder: string): string[] {
  const below = readdirSync(join(directory, folder), { withFileTypes: true }).filter((one) =>
    one.isDirectory(),
  );
  return [folder, ...below.flatMap(({ name }) => foldersBelow(join(folder, name)))];
}

function programsOf(path: string, name: string): Program[] {
  const out = join(work, 'record.json');
  rmSync(out, { force: true });
  spawnSync('python3', [path, ...(ARGUMENTS[name] ?? [])], {
    stdio: 'ignore',
    timeout: 20_000,
    cwd: join(path, '..'),
    env: {
      ...process.env,
      PYTHONPATH: STAND_IN,
      PYTHONDONTWRITEBYTECODE: '1',
      BCC_CORPUS: out,
      BCC_CORPUS_TYPES: join(work, 'types.h'),
      BCC_CORPUS_PYTHON: join(directory, 'src/python/bcc'),
    },
  });
  try {
    const { programs, usdt } = JSON.parse(readFileSync(out, 'utf8'));
    const probes = Object.fromEntries((usdt as string[]).map((fn) => [fn, 'kprobe']));
    return (programs as Program[]).map((one) => ({ ...one, attached: { ...probes, ...one.attached } }));
  } catch {
    return [];
  }
}

/** Undefined: nobody attaches it, and BCC would not load it. */
function typeOf(name: string, { attached }: Program): string | undefined {
  const prefix = Object.keys(BY_PREFIX).find((one) => name.startsWith(one));
  return attached[name] ?? (prefix === undefined ? undefined : BY_PREFIX[prefix]);
}

/** What of a program does not load, with what the kernel said. */
function refusals(b: BPF, program: Program): { readonly text: string }[] {
  return b.functions.flatMap((name) => {
    const type = typeOf(name, program);
    if (type === undefined) return [];
    try {
      b.loadFunc(name, type);
      return [];
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      const refused = error instanceof VerifierError;
      const why = refused ? error.log.trim().split('\n').slice(-3).join(' | ') : error.message;
      return [{ text: `${name}: ${why}` }];
    }
  });
}

function check(kernel: Kernel, name: string, program: Program): void {
  counts.programs++;
  const cflags = [...program.cflags, ...(program.usdt ? ['-D__BCC_USDT__=1'] : [])];
  let b: BPF;
  try {
    b = new BPF({ kernel, text: program.text, cflags, autoAttach: false });
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    const text = error instanceof BccCompileError ? error.diagnostics : error.message;
    explain(name, text);
    console.log(
      `== ${name} does not compile\n${text
        .split('\n')
        .filter((line) => line.includes('error:'))
        .join('\n')}`,
    );
    return;
  }
  counts.compiled++;
  const refused = load ? refusals(b, program) : [];
  b.cleanup();
  if (refused.length === 0) counts.loaded++;
  else if (refused.filter(({ text }) => !explain(name, text)).length === 0) counts.lacking++;
  for (const { text } of refused) console.log(`== ${name} ${text}`);
}

const { kernel } = await openKernel({ kernel: load ? 'host' : 'auto' });
try {
  const types = join(work, 'types.h');
  writeFileSync(types, '');
  const dump = spawnSync('bpftool', ['btf', 'dump', 'file', '/sys/kernel/btf/vmlinux', 'format', 'c'], {
    maxBuffer: 1 << 28,
  });
  if (dump.status === 0) writeFileSync(types, dump.stdout);
  execFileSync('python3', ['--version'], { stdio: 'ignore' });
  for (const folder of ['tools', 'tools/old', 'tools/lib', ...foldersBelow('examples')])
    for (const file of readdirSync(join(directory, folder)).sort()) {
      const name = basename(file, '.py');
      if (!file.endsWith('.py') || (rest.length > 0 && !rest.includes(name))) continue;
      const programs = programsOf(join(directory, folder, file), name);
      if (programs.length > 0) counts.tools++;
      for (const program of programs) check(kernel, `${folder}/${name}`, program);
    }
} finally {
  kernel.shutdown();
  rmSync(work, { recursive: true, force: true });
}
console.log(
  `${counts.tools} tools, ${counts.programs} programs: ${counts.compiled} compile` +
    (load ? `, ${counts.loaded} load whole, ${counts.lacking} but for what this kernel lacks` : ''),
);
for (const [reason, names] of reasons) console.log(`${reason}: ${names.join(', ')}`);
