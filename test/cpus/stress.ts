/**
 * Programs that run on several CPUs at the same time, and what must come out exactly: nothing lost, nothing twice, nothing half. For the
 * test of a few seconds, and for hours: TSBPF_STRESS_SECONDS.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { builtinHeader, compile, formatDiagnostics } from '../../src/compiler/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject, RingBufferReader } from '../../src/libbpf/index.ts';
import { cpuThreads } from './threads.ts';

export const PACKET = new Uint8Array(64);
const F_LOCK = 4;

export function compileC(path: string): Uint8Array {
  const text = readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8');
  const result = compile({ files: { read: () => undefined }, main: path, text, options: { builtinHeader } });
  if (result.object === null) throw new Error(formatDiagnostics(result.sources, result.diagnostics));
  return result.object;
}

let code: Uint8Array | undefined;

/** A kernel of `cpus` CPUs with the programs of stress.bpf.c; what goes wrong is said in `problems`. */
export class Stress {
  readonly kernel: EmbeddedKernel;
  readonly object: BpfObject;
  readonly problems: string[] = [];
  readonly #cpus: number;
  #runs = 0;

  constructor(cpus: number, randomSeed = 1, engine: 'jit' | 'interpreter' = 'jit') {
    this.#cpus = cpus;
    this.kernel = new EmbeddedKernel({
      cpus: { count: cpus, start: cpuThreads() },
      randomSeed,
      onOops: ({ message }) => this.problems.push(message),
    });
    this.kernel.simulator.setSysctl('net.core.bpf_jit_enable', engine === 'jit' ? 1 : 0);
    code ??= compileC('./stress.bpf.c');
    this.object = BpfObject.open(code).load(this.kernel);
  }

  get cpus(): NonNullable<EmbeddedKernel['cpus']> {
    return this.kernel.cpus!;
  }

  close(): void {
    this.object.close();
    this.kernel.shutdown();
  }

  /** Runs so far, of all programs that were asked for. */
  get runs(): number {
    return this.#runs;
  }

  global(name: string): number {
    return Number(this.object.globals[name]);
  }

  fail(what: string): void {
    if (this.problems.length < 20) this.problems.push(what);
  }

  equal(what: string, seen: unknown, expected: unknown): void {
    if (seen !== expected) this.fail(`${what}: ${seen}, not ${expected}`);
  }

  /** Starts a program on every other CPU, `meanwhile` here until they are done, and a share of the runs here as well. */
  async together(name: string, repeat: number, meanwhile: () => void = () => {}): Promise<void> {
    const progFd = this.object.findProgram(name).fd;
    const attr = { progFd, dataIn: PACKET, repeat };
    let over = false;
    const others = Promise.all(
      Array.from({ length: this.#cpus - 1 }, (_, i) => this.cpus.testRun(i + 1, attr)),
    ).finally(() => {
      over = true;
    });
    others.catch(() => {});
    this.#runs += repeat * (this.#cpus - 1);
    const piece = 500;
    for (let left = repeat; left > 0; left -= piece) {
      this.kernel.progTestRun({ ...attr, repeat: Math.min(piece, left) });
      this.#runs += Math.min(piece, left);
      meanwhile();
      // Other threads' messages.
      if (left % 4000 === 0) await turn();
    }
    while (!over) {
      meanwhile();
      await turn();
    }
    await others;
  }

  // The parts.

  async hash(repeat: number): Promise<void> {
    const map = this.object.findMap('churned');
    const key = new Uint8Array(4);
    await this.together('churn', repeat, () => {
      key[0] = (key[0]! + 1) & 127;
      const value = this.kernel.mapLookupElem({ mapFd: map.fd, key });
      if (value !== null && read64(value, 0) !== BigInt(key[0]! * 3))
        this.fail(`churned[${key[0]}] is ${read64(value, 0)}`);
    });
    const entries = [...map.entryBytes()];
    this.equal('hash: inserted - removed', this.global('inserted') - this.global('removed'), entries.length);
    this.equal('hash: count', map.count(), entries.length);
    this.equal('hash: keys are distinct', new Set(entries.map(([k]) => k[0])).size, entries.length);
    if (entries.length > 56) this.fail(`hash: ${entries.length} elements, of 56`);
    for (const [k, v] of entries) this.equal(`churned[${k[0]}]`, read64(v, 0), BigInt(k[0]! * 3));
  }

  #counted = 0;

  async counters(repeat: number): Promise<void> {
    const before = this.#runs;
    await this.together('count', repeat);
    this.#counted += this.#runs - before;
    let sum = 0;
    for (const [, value] of this.object.findMap('counted').entryBytes()) sum += Number(read64(value, 0));
    this.equal('hash: atomic counts', sum, this.#counted);
    let own = 0;
    for (const [, value] of this.object.findMap('own').entryBytes())
      for (let cpu = 0; cpu < this.#cpus; cpu++) own += Number(read64(value, 8 * cpu));
    this.equal('per-CPU hash: counts', own, this.#counted);
  }

  #locked = 0;

  async locks(repeat: number): Promise<void> {
    const map = this.object.findMap('locks');
    const keys = [0, 1, 2, 3].map((n) => Uint8Array.of(n, 0, 0, 0));
    if (this.#locked === 0) {
      const value = new Uint8Array(24);
      value.fill(0xff, 16);
      for (const key of keys) this.kernel.mapUpdateElem({ mapFd: map.fd, key, value });
    }
    const before = this.#runs;
    let at = 0;
    await this.together('lock', repeat, () => {
      const value = this.kernel.mapLookupElem({ mapFd: map.fd, key: keys[at++ & 3]!, flags: F_LOCK })!;
      if (read64(value, 16) !== ~read64(value, 8) + (1n << 64n)) this.fail('a value under its lock is torn');
    });
    this.#locked += this.#runs - before;
    let sum = 0n;
    for (const key of keys) sum += read64(this.kernel.mapLookupElem({ mapFd: map.fd, key })!, 8);
    this.equal('bpf_spin_lock: counts', sum, BigInt(this.#locked));
  }

  async replacement(repeat: number): Promise<void> {
    const map = this.object.findMap('replaced');
    const key = new Uint8Array(12);
    key[4] = 7;
    await this.together('replace', repeat, () => {
      key[0] = (key[0]! + 1) & 15;
      key[8] = key[0]! & 1;
      const value = this.kernel.mapLookupElem({ mapFd: map.fd, key });
      if (value !== null) this.#checkQuad('replaced', value);
    });
    for (const [, value] of map.entryBytes()) this.#checkQuad('replaced', value);
  }

  #checkQuad(what: string, value: Uint8Array): number {
    const n = read64(value, 0);
    const sound =
      read64(value, 8) === BigInt.asUintN(64, ~n) &&
      read64(value, 16) === n * 3n &&
      read64(value, 24) === (n ^ 0x5555n);
    if (!sound)
      this.fail(`${what}: a torn value, ${[0, 8, 16, 24].map((at) => read64(value, at).toString(16))}`);
    return Number(n);
  }

  async lru(repeat: number): Promise<void> {
    const map = this.object.findMap('recent');
    const key = new Uint8Array(4);
    await this.together('evict', repeat, () => {
      key[0] = (key[0]! + 1) & 255;
      const value = this.kernel.mapLookupElem({ mapFd: map.fd, key });
      if (value !== null) this.equal('lru: value of another key', this.#checkQuad('recent', value), key[0]);
    });
    const entries = [...map.entryBytes()];
    if (entries.length > 64) this.fail(`lru: ${entries.length} elements, of 64`);
    this.equal('lru: count', map.count(), entries.length);
    this.equal('lru: keys are distinct', new Set(entries.map(([k]) => k[0])).size, entries.length);
    for (const [k, v] of entries) this.equal(`recent[${k[0]}]`, this.#checkQuad('recent', v), k[0]);
  }

  readonly #sequences: number[] = [];
  #received = 0;
  #reader: RingBufferReader | undefined;

  async ring(repeat: number): Promise<void> {
    this.#reader ??= new RingBufferReader(this.kernel, this.object.findMap('ring').fd);
    const reader = this.#reader;
    const consume = (): void => {
      for (const record of reader.consume()) {
        const view = new DataView(record.buffer, record.byteOffset, record.length);
        const cpu = view.getUint32(0, true);
        const sequence = Number(view.getBigUint64(8, true));
        this.#received++;
        this.equal('ring: a torn record', view.getUint32(4, true), (cpu * 31 + sequence) >>> 0);
        this.equal(`ring: record of CPU ${cpu}`, sequence, this.#sequences[cpu] ?? 0);
        this.#sequences[cpu] = sequence + 1;
      }
    };
    const before = this.#runs;
    const counts = (): number => this.global('delivered') + this.global('discarded') + this.global('lost');
    const counted = counts();
    await this.together('send', repeat, consume);
    consume();
    this.equal('ring: received', this.#received, this.global('delivered'));
    this.equal('ring: runs', counts() - counted, this.#runs - before);
    const info = this.object.findMap('sequences').getBytes(new Uint8Array(4))!;
    for (let cpu = 0; cpu < this.#cpus; cpu++)
      this.equal(`ring: last record of CPU ${cpu}`, BigInt(this.#sequences[cpu] ?? 0), read64(info, 8 * cpu));
  }

  async queues(repeat: number): Promise<void> {
    await this.together('pass', repeat);
    const left = { queue: { n: 0, sum: 0 }, stack: { n: 0, sum: 0 } };
    for (const name of ['queue', 'stack'] as const) {
      const map = this.object.findMap(name);
      const kept: Uint8Array[] = [];
      const none = new Uint8Array();
      for (;;) {
        const value = this.kernel.mapLookupAndDeleteElem({ mapFd: map.fd, key: none });
        if (value === null) break;
        kept.push(value);
        left[name].n++;
        left[name].sum += Number(read64(value, 0));
      }
      if (name === 'stack') kept.reverse();
      for (const value of kept) this.kernel.mapUpdateElem({ mapFd: map.fd, key: none, value });
    }
    this.equal('queue: elements', this.global('pushed') - this.global('popped'), left.queue.n);
    this.equal('queue: sum', this.global('pushed_sum') - this.global('popped_sum'), left.queue.sum);
    this.equal('stack: elements', this.global('stacked') - this.global('unstacked'), left.stack.n);
    this.equal('stack: sum', this.global('stacked_sum') - this.global('unstacked_sum'), left.stack.sum);
  }

  async routes(repeat: number): Promise<void> {
    const map = this.object.findMap('routes');
    await this.together('route', repeat);
    const entries = [...map.entryBytes()];
    this.equal('lpm: entries', this.global('routes_added') - this.global('routes_removed'), entries.length);
    for (const [key, value] of entries) this.equal('lpm: value', Number(read64(value, 0)), key[0]);
  }

  #taken = 0;

  /** Commands that go through maps while they change: every key and value whole, no element that stays passed over, none taken twice. */
  async walks(repeat: number): Promise<void> {
    const wides = this.object.findMap('wides').fd;
    const nets = this.object.findMap('nets').fd;
    const stay = Array.from({ length: 8 }, (_, n) => wideKey(BigInt(n)));
    for (const key of stay) this.kernel.mapUpdateElem({ mapFd: wides, key, value: new Uint8Array(8) });
    let step = 0;
    await this.together('walked', repeat, () => {
      const net = new Uint8Array(16).fill(++step & 15);
      new DataView(net.buffer).setUint32(0, 96, true);
      const words = this.kernel.mapLookupElem({ mapFd: nets, key: net });
      for (let at = 0; words !== null && at < words.length; at += 8)
        this.equal('lpm: a torn value', read64(words, at), BigInt(step & 15));
      if (step % 4 !== 0) return;
      for (const key of this.#keysOf(nets))
        if (key.subarray(4).some((byte) => byte !== key[4])) this.fail('lpm: a torn key');
      const seen = new Set<bigint>();
      for (const key of this.#keysOf(wides)) seen.add(this.#wide(key));
      const batch = this.kernel.mapLookupBatch({ mapFd: wides, inBatch: null, count: 100 });
      const keys = batch.keys.map((key) => this.#wide(key));
      this.equal('hash: keys of a batch are distinct', new Set(keys).size, keys.length);
      for (let n = 0n; n < 8n; n++) {
        if (!seen.has(n)) this.fail(`hash: a walk passed over ${n}`);
        if (!keys.includes(n)) this.fail(`hash: a batch passed over ${n}`);
      }
      if (step % 16 !== 0) return;
      const taken = this.kernel.mapLookupAndDeleteBatch({ mapFd: wides, inBatch: null, count: 100 });
      for (const [i, key] of taken.keys.entries()) {
        const n = this.#wide(key);
        if (n < 8n) this.kernel.mapUpdateElem({ mapFd: wides, key, value: new Uint8Array(8) });
        else {
          this.#taken++;
          this.equal('hash: value taken', read64(taken.values[i]!, 0), n);
        }
      }
    });
    const left = [...this.#keysOf(wides)].length - stay.length;
    this.equal(
      'hash: inserted - removed - taken',
      this.global('widened') - this.global('narrowed') - this.#taken,
      left,
    );
  }

  *#keysOf(mapFd: Parameters<EmbeddedKernel['mapGetNextKey']>[0]['mapFd']): Generator<Uint8Array> {
    let key: Uint8Array | null = null;
    // After a key that has gone a walk starts anew, as on Linux.
    for (let n = 0; n < 10_000; n++) {
      key = this.kernel.mapGetNextKey({ mapFd, key });
      if (key === null) return;
      yield key;
    }
  }

  #wide(key: Uint8Array): bigint {
    const n = read64(key, 0);
    if (!wideKey(n).every((byte, i) => byte === key[i])) this.fail('hash: a torn key');
    return n;
  }

  #called = 0;

  /** Slots are filled and emptied all the time; some programs live for one round only. */
  async calls(repeat: number): Promise<void> {
    const map = this.object.findMap('programs');
    const targets = [this.object.findProgram('reach_a').fd, this.object.findProgram('reach_b').fd];
    const before = this.#runs;
    let step = 0;
    const key = new Uint8Array(4);
    const value = new Uint8Array(4);
    const set = (slot: number, fd: number): void => {
      key[0] = slot;
      new DataView(value.buffer).setInt32(0, fd, true);
      this.kernel.mapUpdateElem({ mapFd: map.fd, key, value });
    };
    await this.together('call', repeat, () => {
      step++;
      key[0] = step & 3;
      if ((step & 4) === 0) set(step & 3, targets[(step >> 3) & 1]!);
      else if (this.kernel.mapLookupElem({ mapFd: map.fd, key }) !== null)
        this.kernel.mapDeleteElem({ mapFd: map.fd, key });
      if (step % 16 === 0) {
        // A program that lives in its slot alone, and dies when the next one comes.
        const extra = this.#load();
        set(step & 3, extra);
        this.kernel.close(extra as never);
      }
    });
    this.#called += this.#runs - before;
    const sum = this.global('fell_through') + this.global('target_a') + this.global('target_b');
    this.equal('program array: runs', sum, this.#called);
  }

  /** Another `reach_a`. */
  #load(): number {
    const { spec } = this.object.findProgram('reach_a');
    this.#extra ??= this.#capture(spec.name);
    return this.kernel.progLoad(this.#extra);
  }

  #extra: Parameters<EmbeddedKernel['progLoad']>[0] | undefined;

  /** The attributes that the object's program is loaded with, its maps among them. */
  #capture(name: string): Parameters<EmbeddedKernel['progLoad']>[0] {
    const bss = this.object.maps.find((map) => map.name.endsWith('.bss'))!.fd;
    const { offset } = this.object.sections
      .find((section) => section.name === '.bss')!
      .variables.find((v) => v.name === 'target_a')!;
    // r1 = &target_a; r2 = 1; lock *(u64 *)r1 += r2; r0 = 0; exit
    const insns = new Uint8Array(8 * 6);
    const view = new DataView(insns.buffer);
    const put = (at: number, code_: number, registers: number, imm: number): void => {
      view.setUint8(8 * at, code_);
      view.setUint8(8 * at + 1, registers);
      view.setInt32(8 * at + 4, imm, true);
    };
    put(0, 0x18, 0x21, bss);
    put(1, 0, 0, offset);
    put(2, 0xb7, 0x02, 1);
    put(3, 0xdb, 0x21, 0);
    put(4, 0xb7, 0x00, 0);
    put(5, 0x95, 0, 0);
    // BPF_PROG_TYPE_XDP for BPF_XDP, as the loader has the others.
    return { progType: 6, expectedAttachType: 37, insns, license: 'GPL', progName: `${name}_extra` };
  }

  /** One round of everything. */
  async round(repeat: number): Promise<void> {
    await this.hash(repeat);
    await this.counters(repeat);
    await this.locks(repeat);
    await this.replacement(repeat);
    await this.lru(repeat);
    await this.ring(repeat);
    await this.queues(repeat);
    await this.routes(repeat);
    await this.walks(repeat);
    await this.calls(repeat);
    this.equal('operations with a wrong result', this.global('wrong'), 0);
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function wideKey(n: bigint): Uint8Array {
  const key = new Uint8Array(24);
  const view = new DataView(key.buffer);
  for (const [i, word] of [n, n * 7n, ~n].entries()) view.setBigUint64(8 * i, BigInt.asUintN(64, word), true);
  return key;
}

function read64(bytes: Uint8Array, at: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true);
}
