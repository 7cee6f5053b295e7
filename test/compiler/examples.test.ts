/** The examples through our compiler with its own headers: they load, and do what clang's objects do. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { builtinHeader, compile } from '../../src/compiler/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { toHex } from '../../src/util/index.ts';
import { Random } from './differential/generate.ts';

const SOURCES = join(import.meta.dirname, '../../examples/src');
const OBJECTS = join(import.meta.dirname, '../../examples/objects');
const names = readdirSync(SOURCES).filter((name) => name.endsWith('.bpf.c'));
/** Hashes and arrays, per CPU or not (UAPI: enum bpf_map_type). */
const MAPS_WITH_KEYS: ReadonlySet<number> = new Set([1, 2, 5, 6]);
const files = {
  read: (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined),
};

function ours(name: string, cpu: 1 | 2 | 3 | 4): Uint8Array {
  const result = compile({
    files,
    main: join(SOURCES, name),
    options: { cpu, checkIr: true, builtinHeader },
  });
  expect(result.diagnostics.map((one) => one.message)).toEqual([]);
  return result.object!;
}

/** Which programs load, and what those that run on packets return for some. */
function behaviour(bytes: Uint8Array): unknown {
  const kernel = new EmbeddedKernel();
  try {
    const object = BpfObject.open(bytes, { name: 'example' });
    object.load(kernel, { strict: false });
    const refused = object.failures.map(({ program }) => program.name).sort();
    const random = new Random(7);
    const runs: string[] = [];
    const packets = Array.from({ length: 40 }, (_, i) => {
      const packet = Uint8Array.from({ length: 34 + (i % 60) }, () => random.below(256));
      // Ethernet with IPv4, mostly.
      packet.set([8, 0], 12);
      if (packet.length > 23) packet[14] = 0x45;
      if (packet.length > 23) packet[23] = random.pick([6, 17, 1]);
      return packet;
    });
    for (const program of object.programs) {
      if (refused.includes(program.name) || !/^(xdp|socket)/.test(program.spec.section)) continue;
      for (const packet of packets) {
        const { retval, dataOut } = program.testRun({ dataIn: packet });
        runs.push(`${program.name} ${retval} ${toHex(dataOut)}`);
      }
    }
    const contents = object.maps
      .filter((map) => MAPS_WITH_KEYS.has(map.definition.type))
      .map((map) => `${map.name} ${map.count()}`);
    return { programs: object.programs.map((program) => program.name).sort(), refused, runs, contents };
  } finally {
    kernel.shutdown();
  }
}

describe.each(names)('%s', (name) => {
  it('behaves as clang compiles it', () => {
    const theirs = behaviour(readFileSync(join(OBJECTS, name.replace(/\.c$/, '.o'))));
    for (const cpu of [2, 3, 4] as const) expect(behaviour(ours(name, cpu)), `v${cpu}`).toEqual(theirs);
  });
});
