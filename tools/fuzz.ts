/**
 * npm run fuzz -- --count 20000 --seed 1: random programs through verifier, interpreter and JIT.
 *
 * Each program is loaded into two embedded kernels, one that interprets and one that compiles; results, packets and maps
 * must be equal, no accepted program may fault. With --linux the same programs also go to the kernel of this machine
 * (root), whose verdict and results are compared. Ends with status 1 where anything disagrees.
 */
import { Worker } from 'node:worker_threads';
import { Command } from 'commander';
import { disassemble, encodeProgram } from '../src/asm/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { errnoName, toHex } from '../src/util/index.ts';
import { type GeneratedProgram, generateProgram } from '../test/generator/generate.ts';
import { type Oracle, type OracleAnswer, openOracle } from '../test/generator/linux-oracle.ts';
import { describeOutcome, difference, type Outcome, runProgram } from '../test/generator/run.ts';

const JIT_SYSCTL = 'net.core.bpf_jit_enable';
/** Programs between two pairs of fresh kernels: memory of a run stays bounded. */
const KERNEL_LIFE = 1000;
/** Programs that go to Linux at once. */
const LINUX_BATCH = 200;

/** A program of this many milliseconds hangs: the verifier bounds what a run may do. */
const HANG = 60_000;

/** Ends the process with the seed's name where one program takes too long: a loop cannot be interrupted from inside. */
function watchdog(): { at(seed: number): void; stop(): void } {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(
    `const { workerData: { shared, HANG } } = require('node:worker_threads');
     let last = -1, since = Date.now();
     setInterval(() => {
       const now = Atomics.load(shared, 0);
       if (now !== last) { last = now; since = Date.now(); return; }
       if (Date.now() - since < HANG) return;
       require('node:fs').writeSync(2, 'seed ' + Atomics.load(shared, 1) + ': hangs\\n');
       process.kill(process.pid, 'SIGKILL');
     }, 1000);`,
    { eval: true, workerData: { shared, HANG } },
  );
  worker.unref();
  return {
    at: (seed) => {
      Atomics.store(shared, 1, seed);
      Atomics.add(shared, 0, 1);
    },
    stop: () => void worker.terminate(),
  };
}

interface Options {
  readonly count: number;
  readonly seed: number;
  readonly damage: number;
  readonly size: number;
  readonly linux?: boolean;
  readonly show?: boolean;
  readonly json?: boolean;
  readonly limit: number;
}

interface Pair {
  readonly interpreter: EmbeddedKernel;
  readonly jit: EmbeddedKernel;
}

function kernels(): Pair {
  const make = (jit: 0 | 1): EmbeddedKernel => {
    const kernel = new EmbeddedKernel({ randomSeed: 1, onOops: () => undefined });
    kernel.simulator.setSysctl(JIT_SYSCTL, jit);
    kernel.simulator.setTime(1_000_000_000n, 1_700_000_000_000_000_000n);
    return kernel;
  };
  return { interpreter: make(0), jit: make(1) };
}

interface Report {
  readonly seed: number;
  readonly kind:
    | 'fault'
    | 'crash'
    | 'engines differ'
    | 'too lax'
    | 'too strict'
    | 'other message'
    | 'linux differs';
  readonly text: string;
}

/** What one program showed. `too strict` and `other message` are no failures: the verifier may know less than Linux's. */
function compare(p: GeneratedProgram, interpreter: Outcome, jit: Outcome): Report[] {
  const reports: Report[] = [];
  for (const o of [interpreter, jit]) {
    if (o.verdict === 'fault' || o.verdict === 'crash')
      reports.push({ seed: p.seed, kind: o.verdict, text: describeOutcome(o) });
  }
  const text = difference(interpreter, jit);
  if (text !== '')
    reports.push({ seed: p.seed, kind: 'engines differ', text: `interpreter and JIT: ${text}` });
  return reports;
}

function askLinux(oracle: Oracle, programs: readonly GeneratedProgram[]): OracleAnswer[] {
  return oracle.ask(
    programs.map((p) => ({
      progType: p.progType,
      logLevel: 1,
      run: toHex(p.input),
      maps: p.maps.map((m) => ({
        ...m,
        elements: m.elements.map((e) => ({ key: toHex(e.key), value: toHex(e.value) })),
      })),
      fixes: p.fixes,
      insns: toHex(encodeProgram(p.insns)),
    })),
  );
}

const reason = (log: readonly string[]): string =>
  log.filter((line) => !/^(processed|stack depth|verification time)/.test(line)).at(-1) ?? '';

function compareLinux(p: GeneratedProgram, ours: Outcome, linux: OracleAnswer): Report[] {
  const report = (kind: Report['kind'], text: string): Report[] => [{ seed: p.seed, kind, text }];
  const accepted = linux.loadErrno === 0;
  if (ours.verdict === 'reject') {
    if (accepted) return report('too strict', describeOutcome(ours));
    const theirs = `${errnoName(linux.loadErrno)}: ${reason(linux.log)}`;
    const same = `${ours.code}: ${ours.message.split('\n').at(-1)}` === theirs;
    // ENOSPC: the log was longer than the oracle's buffer.
    return same || errnoName(linux.loadErrno) === 'ENOSPC'
      ? []
      : report('other message', `${describeOutcome(ours)}; Linux: ${theirs}`);
  }
  if (!accepted) return report('too lax', `Linux: ${errnoName(linux.loadErrno)}: ${reason(linux.log)}`);
  // A damaged program may have let an address into its results.
  if (ours.verdict !== 'accept' || p.damaged || linux.runErrno !== 0) return [];
  const elements = (lines: readonly string[]) =>
    lines
      .filter((line) => !/^(percpu|queue|stack|prog)/.test(p.maps[Number(line.split(' ')[0])]!.kind))
      .sort();
  const theirs: Outcome = {
    verdict: 'accept',
    retval: linux.retval,
    data: p.progKind === 'socket_filter' ? ours.data : linux.dataOut,
    elements: elements(linux.elements.map((e) => `${e.map} ${e.key} ${e.value}`)),
  };
  const text = difference({ ...ours, elements: elements(ours.elements) }, theirs);
  return text === '' ? [] : report('linux differs', `embedded and Linux: ${text}`);
}

function show(p: GeneratedProgram): void {
  console.log(`# seed ${p.seed}: ${p.progKind}${p.damaged ? ', damaged' : ''}`);
  for (const [i, m] of p.maps.entries())
    console.log(`# map ${i}: ${m.kind}, key ${m.keySize}, value ${m.valueSize}, ${m.maxEntries} entries`);
  console.log(disassemble(p.insns, { index: true, opcode: true }));
  for (const jit of [false, true]) {
    const pair = kernels();
    const outcome = runProgram(jit ? pair.jit : pair.interpreter, p, (log) => {
      if (!jit) console.log(log);
    });
    console.log(`${jit ? 'JIT' : 'interpreter'}: ${describeOutcome(outcome)}`);
    console.log(outcome);
  }
}

function run(options: Options): void {
  const oracle = options.linux === true ? openOracle() : undefined;
  if (oracle !== undefined && 'reason' in oracle) {
    console.error(`--linux is not possible: ${oracle.reason}`);
    process.exitCode = 2;
    return;
  }
  const generate = (seed: number) => generateProgram(seed, { damage: options.damage, size: options.size });
  if (options.show === true) {
    show(generate(options.seed));
    oracle?.close();
    return;
  }
  const counts = new Map<string, number>();
  const count = (what: string, n = 1) => counts.set(what, (counts.get(what) ?? 0) + n);
  const start = performance.now();
  let pair = kernels();
  let printed = 0;
  const watch = watchdog();
  const print = (r: Report) => {
    count(r.kind);
    if (printed++ >= options.limit) return;
    if (options.json === true) console.log(JSON.stringify(r));
    else console.log(`seed ${r.seed}: ${r.kind}: ${r.text}`);
  };
  let batch: { program: GeneratedProgram; outcome: Outcome }[] = [];
  const flush = () => {
    if (oracle === undefined) return;
    const answers = askLinux(
      oracle,
      batch.map((b) => b.program),
    );
    batch.forEach(({ program, outcome }, i) => {
      for (const r of compareLinux(program, outcome, answers[i]!)) print(r);
    });
    batch = [];
  };
  for (let i = 0; i < options.count; i++) {
    if (i > 0 && i % KERNEL_LIFE === 0) {
      pair.interpreter.shutdown();
      pair.jit.shutdown();
      pair = kernels();
      if (process.stderr.isTTY) process.stderr.write(`\r${i} of ${options.count} `);
    }
    watch.at(options.seed + i);
    const program = generate(options.seed + i);
    const interpreter = runProgram(pair.interpreter, program);
    const jit = runProgram(pair.jit, program);
    count(interpreter.verdict === 'reject' ? 'rejected' : 'accepted');
    for (const r of compare(program, interpreter, jit)) print(r);
    if (oracle !== undefined) {
      batch.push({ program, outcome: interpreter });
      if (batch.length >= LINUX_BATCH) flush();
    }
  }
  flush();
  watch.stop();
  oracle?.close();
  const of = (what: string) => counts.get(what) ?? 0;
  const seconds = (performance.now() - start) / 1000;
  const bad = of('fault') + of('crash') + of('engines differ') + of('too lax') + of('linux differs');
  const summary = {
    programs: options.count,
    firstSeed: options.seed,
    accepted: of('accepted'),
    rejected: of('rejected'),
    faults: of('fault'),
    crashes: of('crash'),
    enginesDiffer: of('engines differ'),
    ...(oracle === undefined
      ? {}
      : {
          tooLax: of('too lax'),
          tooStrict: of('too strict'),
          otherMessage: of('other message'),
          linuxDiffers: of('linux differs'),
        }),
    seconds: Math.round(seconds * 10) / 10,
  };
  if (options.json === true) console.log(JSON.stringify(summary));
  else {
    console.log(
      Object.entries(summary)
        .map(([name, value]) => `${name} ${value}`)
        .join(', '),
    );
    console.log(bad === 0 ? 'agree' : `${bad} disagreements; look at one with --show --seed SEED`);
  }
  if (bad > 0) process.exitCode = 1;
}

const number = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value)) throw new Error(`${text} is not a number`);
  return value;
};

new Command('fuzz')
  .description('random programs through verifier, interpreter and JIT')
  .option('--count <n>', 'how many programs', number, 1000)
  .option('--seed <n>', 'seed of the first one', number, 1)
  .option('--damage <share>', 'share of programs that are damaged on purpose', number, 0.25)
  .option('--size <n>', 'most pieces of a program', number, 40)
  .option('--limit <n>', 'reports to print', number, 50)
  .option('--linux', "compare with this machine's kernel too (root)")
  .option('--show', 'print the program of --seed with its log and results')
  .option('--json', 'one record a report, and a last one with the counts')
  .action((options: Options) => run(options))
  .parse();
