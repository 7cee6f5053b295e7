/**
 * Ten thousand mutated inputs: each gives a result or a BpfError, within a time and with bounded memory. The seed is the input's
 * number; `npx tsx tools/mutate.ts FILE SEED` writes one that failed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Btf, BtfBuilder, checkBtf, dumpC, formatValue, parseBtf } from '../../src/btf/index.ts';
import {
  asEthernet,
  type CapturedPacket,
  readPackets,
  writePcap,
  writePcapng,
} from '../../src/capture/packets/index.ts';
import { parseStrace } from '../../src/capture/strace/index.ts';
import { parseElf } from '../../src/elf/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { parseObject, resolveCore } from '../../src/object/index.ts';
import { BpfError, concatBytes } from '../../src/util/index.ts';
import { mutate } from '../../tools/mutate.ts';

/** Milliseconds after which an input counts as a hang: a thousand times what any needs. */
const TIME_LIMIT = 30_000;
/** Bytes by which the process may grow over a whole series. */
const MEMORY_LIMIT = 600 * 1024 * 1024;

/** HOSTILE_SCALE=50 runs fifty times as many inputs. */
const SCALE = Number(process.env.HOSTILE_SCALE ?? 1);

const DIRECTORIES = [
  new URL('corpus/', import.meta.url),
  new URL('../../examples/objects/', import.meta.url),
];
const OBJECTS = DIRECTORIES.flatMap((directory) =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.o'))
    .sort()
    .map((name) => ({ name, bytes: new Uint8Array(readFileSync(new URL(name, directory))) })),
);

function example(name: string): Uint8Array {
  return OBJECTS.find((object) => object.name === `${name}.bpf.o`)!.bytes;
}

interface Sample {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Runs `use` on `count` mutations of the samples in turn. Gives how many were accepted. */
function storm(
  samples: readonly Sample[],
  count: number,
  firstSeed: number,
  use: (bytes: Uint8Array) => void,
): number {
  const before = process.memoryUsage().rss;
  let accepted = 0;
  for (let i = 0; i < count * SCALE; i++) {
    const sample = samples[i % samples.length]!;
    const seed = firstSeed + i;
    const input = mutate(sample.bytes, seed);
    const start = performance.now();
    try {
      use(input);
      accepted++;
    } catch (error) {
      if (!(error instanceof BpfError)) {
        throw new Error(`${sample.name}, seed ${seed}: ${String(error)}`, { cause: error });
      }
      expect(error.message.length, `${sample.name}, seed ${seed}: length of the message`).toBeLessThan(
        20_000,
      );
    }
    const elapsed = performance.now() - start;
    if (elapsed > TIME_LIMIT) throw new Error(`${sample.name}, seed ${seed}: took ${elapsed.toFixed(0)} ms`);
  }
  console.log(
    `${samples[0]!.name} and ${samples.length - 1} others: ${accepted} of ${count * SCALE} accepted`,
  );
  const grown = process.memoryUsage().rss - before;
  expect(grown, 'growth of the process').toBeLessThan(MEMORY_LIMIT);
  return accepted;
}

/** For what may refuse by itself without the whole input being refused. */
function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
  }
}

/** Everything that can be asked of a BTF. */
function useBtf(btf: Btf): void {
  attempt(() => checkBtf(btf));
  attempt(() => dumpC(btf, { limit: 1_000_000 }));
  attempt(() => BtfBuilder.from(btf).build());
  const zeros = new Uint8Array(256);
  for (let id = 0; id < btf.typeCount; id++) {
    attempt(() => btf.type(id));
    attempt(() => btf.resolve(id));
    attempt(() => btf.sizeOf(id));
    attempt(() => btf.alignOf(id));
    attempt(() => btf.findMember(id, 'pid'));
    attempt(() => formatValue(btf, id, zeros, { limit: 10_000 }));
  }
}

const target = parseBtf(
  OBJECTS.map((object) => parseElf(object.bytes).section('.BTF')?.data).find((data) => data !== undefined)!,
);

describe('mutated inputs', { timeout: 120_000 * SCALE }, () => {
  it('objects', () => {
    const accepted = storm(OBJECTS, 3200, 1, (bytes) => {
      const spec = parseObject(bytes, { name: 'mutated.o' });
      for (const program of spec.programs) attempt(() => resolveCore(spec, program, target));
      for (const map of spec.maps) {
        if (spec.btf === undefined || map.initial === undefined) continue;
        const { btf } = spec;
        attempt(() => formatValue(btf, map.btfValueTypeId, map.initial!, { limit: 10_000 }));
      }
      if (spec.btf !== undefined) attempt(() => checkBtf(spec.btf!));
    });
    expect(accepted).toBeGreaterThan(100);
  });

  it('BTF', () => {
    const samples = OBJECTS.flatMap((object) => {
      const data = parseElf(object.bytes).section('.BTF')?.data;
      return data === undefined ? [] : [{ name: `${object.name} .BTF`, bytes: data }];
    });
    const accepted = storm(samples, 3000, 10_000_000, (bytes) => useBtf(parseBtf(bytes)));
    expect(accepted).toBeGreaterThan(100);
  });

  it('pcap and pcapng files', () => {
    const source = {
      index: 0,
      linkType: 1,
      snapLength: 1500,
      name: 'eth0',
      ticksPerSecond: 1_000_000_000n,
      secondsOffset: 0n,
    };
    const packets: CapturedPacket[] = Array.from({ length: 12 }, (_, i) => ({
      data: new Uint8Array(14 + 9 * i).fill(i),
      originalLength: 14 + 9 * i,
      timestampNs: BigInt(i) * 1_000_000_007n,
      interface: i % 4 === 3 ? { ...source, index: 1, linkType: 113 } : source,
    }));
    const plain = packets.filter((packet) => packet.interface === source);
    const samples = [
      { name: 'pcap', bytes: concatBytes([...writePcap(plain)]) },
      {
        name: 'pcap big endian',
        bytes: concatBytes([...writePcap(plain, { littleEndian: false, nanoseconds: true })]),
      },
      { name: 'pcapng', bytes: concatBytes([...writePcapng(packets)]) },
      { name: 'pcapng big endian', bytes: concatBytes([...writePcapng(packets, { littleEndian: false })]) },
    ];
    const accepted = storm(samples, 2000, 20_000_000, (bytes) => {
      const read: CapturedPacket[] = [];
      for (const packet of readPackets(bytes)) {
        asEthernet(packet);
        read.push(packet);
      }
      for (const _ of writePcapng(read));
      attempt(() => {
        for (const _ of writePcap(read));
      });
    });
    expect(accepted).toBeGreaterThan(100);
  });

  it('strace recordings', () => {
    const recording = new Uint8Array(
      readFileSync(new URL('../../examples/inputs/commands.strace', import.meta.url)),
    );
    const kernel = new EmbeddedKernel();
    const object = BpfObject.open(example('count_by_user')).load(kernel);
    object.attach();
    const accepted = storm([{ name: 'commands.strace', bytes: recording }], 1300, 30_000_000, (bytes) => {
      for (const event of parseStrace(bytes).events.slice(0, 200)) kernel.simulator.fire(event);
    });
    expect(accepted).toBeGreaterThan(100);
    expect(kernel.simulator.oopses()).toEqual([]);
  });

  it('objects, loaded into a kernel and run', () => {
    const samples = OBJECTS.filter((object) => !object.name.includes('bpfeb'));
    let loaded = 0;
    storm(samples, 500, 40_000_000, (bytes) => {
      const kernel = new EmbeddedKernel({ memory: { maximumPages: 2048 } });
      try {
        const object = BpfObject.open(bytes, { name: 'mutated' }).load(kernel, { strict: false });
        for (const program of object.programs) {
          if (!program.loaded) continue;
          loaded++;
          attempt(() => program.testRun({ dataIn: new Uint8Array(64) }));
        }
      } finally {
        expect(kernel.simulator.oopses()).toEqual([]);
        kernel.shutdown();
      }
    });
    expect(loaded).toBeGreaterThan(50);
  });
});
