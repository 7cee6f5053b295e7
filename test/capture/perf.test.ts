/** Recordings of perf: the binary file as perf wrote it and as nobody would, and the text of `perf script`. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isPerfData, isPerfScript, parsePerfData, parsePerfScript } from '../../src/capture/index.ts';
import type { KernelEvent } from '../../src/contracts/events.ts';
import { BpfError } from '../../src/util/index.ts';

const file = (name: string): Uint8Array =>
  readFileSync(new URL(`../../examples/inputs/${name}`, import.meta.url));

/** xorshift: the same mutations in each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

describe('perf.data', () => {
  it('has tracepoints with their records, formats and processes', () => {
    const { events, recorded, formats, epoch, cpus, lost } = parsePerfData(file('signals.data'));
    expect(recorded).toEqual([{ kind: 'tracepoint', category: 'signal', name: 'signal_generate' }]);
    expect(formats['signal/signal_generate']).toContain('field:int sig;	offset:8;	size:4;	signed:1;');
    expect([lost, cpus > 0, epoch !== null && epoch > 10n ** 18n]).toEqual([0n, true, true]);
    expect(events).toHaveLength(3);
    const signals = events.map((event) => {
      if (event.kind !== 'tracepoint') throw new Error(event.kind);
      const view = new DataView(event.record.buffer, event.record.byteOffset);
      return [event.category, event.name, event.process.comm, view.getInt32(8, true)];
    });
    expect(signals).toEqual([
      ['signal', 'signal_generate', 'sh', 10],
      ['signal', 'signal_generate', 'sh', 1],
      ['signal', 'signal_generate', 'sh', 15],
    ]);
    const times = events.map(({ time }) => time);
    expect(times).toEqual([...times].sort((a, b) => Number(a - b)));
  });

  it('puts the buffers of several CPUs into one order', () => {
    const { events, cpus } = parsePerfData(file('block.data'));
    expect(cpus).toBeGreaterThan(1);
    expect(new Set(events.map((event) => ('cpu' in event ? event.cpu : undefined))).size).toBe(cpus);
    for (let i = 1; i < events.length; i++) expect(events[i]!.time >= events[i - 1]!.time).toBe(true);
  });

  it('is refused in clear words where it is none, or another form of it', () => {
    const bytes = Uint8Array.from(file('signals.data'));
    expect(isPerfData(bytes)).toBe(true);
    expect(isPerfData(new Uint8Array(4))).toBe(false);
    expect(() => parsePerfData(new TextEncoder().encode('12 read(3) = 0'))).toThrow(/no perf\.data/);
    expect(() => parsePerfData(bytes.subarray(0, 300))).toThrow(/the file has 300/);
    const piped = Uint8Array.from(bytes);
    new DataView(piped.buffer).setBigUint64(8, 16n, true);
    expect(() => parsePerfData(piped)).toThrow(/written to a pipe/);
    // A record of type 81 is compressed data.
    const compressed = Uint8Array.from(bytes);
    const data = Number(new DataView(compressed.buffer).getBigUint64(40, true));
    new DataView(compressed.buffer).setUint32(data, 81, true);
    expect(() => parsePerfData(compressed)).toThrow(/compressed/);
  });

  it('never does worse than refuse what has been damaged', () => {
    const whole = file('signals.data');
    const next = random(7);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const bytes = Uint8Array.from(
        whole.subarray(0, round % 3 === 0 ? next() % whole.length : whole.length),
      );
      // Half of the changes where the structure is.
      for (let i = 0; i < 6 && bytes.length > 0; i++)
        bytes[next() % (i % 2 ? bytes.length : Math.min(bytes.length, 700))] = next();
      try {
        parsePerfData(bytes);
      } catch (error) {
        if (!(error instanceof BpfError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(50);
  });
});

describe('perf script', () => {
  const text = `# a comment
spin  1730/1731  [002]   25518.307117:    2004008 cpu-clock:ppp: 
	ffffffff81d33df2 read_zero+0x72 ([kernel.kallsyms])
	            116c compute+0x23 (/tmp/spin)
	            129a operator()(int)+0x37 (/tmp/spin)

my program     7 1.5:  cycles: 
	            116c other+0x1 (/lib/libc.so.6)
	    7f9931a6f700 [unknown] ([unknown])

what is this
`;

  it('has samples with stacks whose frames have names', () => {
    expect(isPerfScript(text)).toBe(true);
    expect(isPerfScript('12 1700000000.1 read(3) = 0\n')).toBe(false);
    const { events, frame, cpus, skipped } = parsePerfScript(text);
    expect([cpus, skipped]).toEqual([3, 1]);
    const [second, first] = events as Extract<KernelEvent, { kind: 'perf_sample' }>[];
    expect(first).toMatchObject({
      kind: 'perf_sample',
      type: 1,
      config: 0n,
      period: 2004008n,
      cpu: 2,
      time: 25_518_307_117_000n,
      process: { pid: 1731, tgid: 1730, comm: 'spin' },
    });
    expect(second).toMatchObject({ type: 0, config: 0n, process: { pid: 7, comm: 'my program' } });
    const names = (stack: readonly bigint[] = []) => stack.map((address) => frame(address));
    expect(names(first!.stacks?.kernel)).toEqual([
      { name: 'read_zero', offset: 0x72n, object: '[kernel.kallsyms]' },
    ]);
    expect(names(first!.stacks?.user)).toEqual([
      { name: 'compute', offset: 0x23n, object: '/tmp/spin' },
      { name: 'operator()(int)', offset: 0x37n, object: '/tmp/spin' },
    ]);
    // The same address in another file is another place.
    expect(names(second!.stacks?.user)).toEqual([
      { name: 'other', offset: 1n, object: '/lib/libc.so.6' },
      { name: undefined, offset: 0n, object: '' },
    ]);
  });

  it('takes lines of any length and kind', () => {
    const long = ' '.repeat(200_000);
    const odd = [
      `a${long}1 1.5: e:`,
      `\t1 ${'(['.repeat(100_000)}`,
      `\t2 ${long}x (y)`,
      `\t3 `,
      '\t4 ()',
      'x 1 1.5: :',
    ];
    const { events } = parsePerfScript(`${text}\nspin 1 2.5: e:\n${odd.join('\n')}\n`);
    expect(events.length).toBeGreaterThanOrEqual(3);
  });

  it('is refused where there is no sample', () => {
    expect(() => parsePerfScript('nothing')).toThrow(/no sample of perf script/);
  });
});
