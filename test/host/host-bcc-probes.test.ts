/** BCC's probes of user programs on the kernel of the machine, and in the guest: a process of the test's own is probed, and nobody else. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BPF, PerfSWConfig, PerfType, USDT } from '../../src/bcc/index.ts';
import type { HostKernel } from '../../src/host/index.ts';
import { buildVictim, Victim } from './attach-support.ts';
import { openHost, skipReason } from './host-support.ts';

/** Compiling and reading symbols takes its time on an emulated processor. */
const SLOW = 300_000;
const SUITE = 'BCC probes of processes on the host';
const host = process.arch === 'x64' ? await openHost() : 'the victim is of x86-64';
const built = typeof host === 'string' ? null : buildVictim();
if (typeof host === 'string' || built === null) {
  const why = typeof host === 'string' ? host : 'gcc is missing';
  describe.skip(`host kernel: ${skipReason(SUITE, why)}`, () => it('cannot be probed here', () => {}));
} else {
  describe(SUITE, () => probes(host, built));
}

/** One program: it is compiled once, as kernels' types take their time. */
const PROGRAM = `
struct seen_t { int number; u64 big; short half; int fixed; };
BPF_HASH(seen, u32, struct seen_t);
BPF_HASH(calls, u32);
BPF_STACK_TRACE(stacks, 64);
BPF_HASH(stack_ids, u32, int);
static int is_ours(void) { return bpf_get_current_pid_tgid() >> 32 == VICTIM; }
int on_passed(struct pt_regs *ctx) {
  u32 key = 0;
  struct seen_t s = {};
  bpf_usdt_readarg(1, ctx, &s.number);
  bpf_usdt_readarg(2, ctx, &s.big);
  bpf_usdt_readarg(3, ctx, &s.half);
  bpf_usdt_readarg(4, ctx, &s.fixed);
  seen.update(&key, &s);
  key = 1;
  calls.increment(key);
  return 0;
}
int on_call(struct pt_regs *ctx, long a) {
  u32 key = 100 + a;
  calls.increment(key);
  key = 0;
  int id = stacks.get_stackid(ctx, BPF_F_USER_STACK);
  stack_ids.update(&key, &id);
  return 0;
}
int on_return(struct pt_regs *ctx) {
  u32 key = 1000 + PT_REGS_RC(ctx);
  calls.increment(key);
  return 0;
}
int on_sample(struct bpf_perf_event_data *ctx) {
  u32 key = 2;
  if (is_ours()) calls.atomic_increment(key);
  return 0;
}`;

function probes(kernel: HostKernel, { path, remove }: NonNullable<ReturnType<typeof buildVictim>>): void {
  let victim: Victim;
  let b: BPF | undefined;
  beforeEach(async () => {
    victim = new Victim(path);
    expect(await victim.line()).toBe('semaphore 0');
  });
  afterEach(() => {
    b?.cleanup();
    b = undefined;
    victim.stop();
  });
  afterAll(() => {
    kernel.shutdown();
    remove();
  });
  const open = (usdtContexts: USDT[] = []) => {
    b = new BPF({ kernel, text: PROGRAM, cflags: [`-DVICTIM=${victim.pid}`], usdtContexts });
    return b;
  };

  it('USDT: lists probes of a process, reads their arguments, counts the semaphore', async () => {
    const usdt = new USDT({ kernel, pid: victim.pid });
    const probe = usdt.enumerateProbes().find(({ name }) => name === 'passed');
    expect(probe).toMatchObject({ provider: 'demo', name: 'passed', binPath: path });
    expect(probe!.locations).toHaveLength(2);
    usdt.enableProbe({ probe: 'passed', fnName: 'on_passed' });
    const bpf = open([usdt]);
    expect(await victim.work()).toBe('semaphore 2');
    expect(bpf.get('calls').get(1)).toBe(2);
    expect(bpf.get('seen').get(0)).toMatchObject({ number: -5, half: -300, fixed: -9 });
    expect(BigInt((bpf.get('seen').get(0) as { big: bigint }).big)).toBe(0x123456789abcdefn);
    bpf.cleanup();
    expect(await victim.work()).toBe('semaphore 0');
  });

  it(
    'uprobes by name and pattern, their return, stacks with names',
    async () => {
      const bpf = open();
      const only = { name: path, pid: victim.pid };
      expect(bpf.getUserFunctions(path, /work_/).sort()).toEqual(['work_add', 'work_multiply']);
      bpf.attachUprobe({ ...only, sym: 'work_add', fnName: 'on_call' });
      bpf.attachUretprobe({ ...only, symRe: /work_multiply$/, fnName: 'on_return' });
      await victim.work();
      const calls = new Map(bpf.get('calls'));
      expect(calls).toEqual(new Map([100, 101, 102, 1035, 1042, 1049].map((key) => [key, 1])));
      const id = bpf.get('stack_ids').get(0) as number;
      const names = bpf
        .get('stacks')
        .walk(id)
        .map((address) => bpf.sym(address, victim.pid));
      expect(names[0]).toBe('work_add');
      expect(names).toContain('main');
      expect(bpf.sym(bpf.get('stacks').walk(id)[0]!, victim.pid, { showModule: true })).toBe(
        'work_add [victim]',
      );
      expect(bpf.numOpenUprobes()).toBe(2);
      bpf.detachUprobe({ name: path, sym: 'work_add' });
      bpf.detachUretprobe({ name: path, sym: 'work_multiply' });
      await victim.work();
      expect(new Map(bpf.get('calls'))).toEqual(calls);
    },
    SLOW,
  );

  it('samples a busy process', async () => {
    const bpf = open();
    bpf.attachPerfEvent({
      evType: PerfType.SOFTWARE,
      evConfig: PerfSWConfig.CPU_CLOCK,
      fnName: 'on_sample',
      sampleFreq: 500,
      pid: victim.pid,
    });
    victim.start('spin');
    for (let tries = 0; tries < 200 && Number(bpf.get('calls').get(2) ?? 0) < 10; tries++)
      await new Promise((done) => setTimeout(done, 20));
    expect(Number(bpf.get('calls').get(2))).toBeGreaterThanOrEqual(10);
    bpf.detachPerfEvent(PerfType.SOFTWARE, PerfSWConfig.CPU_CLOCK);
  });
}
