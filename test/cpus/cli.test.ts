/** `tsbpf run --cpus`: the packets of a capture on several CPUs give what they give on one. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cli } from '../cli/cli.ts';
import { compileC } from './stress.ts';

let directory: string;
let object: string;
let capture: string;

/** Frames of 60 to 259 bytes, more of them than one piece of the file holds. */
function frames(count: number): Uint8Array {
  const sizes = Array.from({ length: count }, (_, i) => 60 + ((i * 7919) % 200));
  const bytes = new Uint8Array(24 + sizes.reduce((sum, size) => sum + 16 + size, 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2_c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 65_535, true);
  view.setUint32(20, 1, true);
  let at = 24;
  sizes.forEach((size, i) => {
    view.setUint32(at, 1000 + i, true);
    view.setUint32(at + 8, size, true);
    view.setUint32(at + 12, size, true);
    at += 16 + size;
  });
  return bytes;
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbpf-cpus-test-'));
  object = join(directory, 'count.bpf.o');
  capture = join(directory, 'frames.pcap');
  writeFileSync(object, compileC('./frames.bpf.c'));
  writeFileSync(capture, frames(30_000));
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const run = (program: string, cpus: number, file = capture, more: readonly string[] = []) =>
  cli([
    'run',
    object,
    '--program',
    program,
    '--pcap',
    file,
    '--cpus',
    String(cpus),
    '--json',
    '--map',
    'own',
    ...more,
  ]);

interface Summary {
  readonly packets: { readonly packets: number };
  readonly programs: readonly { readonly results: Readonly<Record<string, number>> }[];
  readonly maps: readonly { readonly entries: readonly { readonly value: readonly unknown[] }[] }[];
}

it('counts what one CPU counts', async () => {
  const [one, three] = (await Promise.all([run('length', 1), run('length', 3)])).map(({ exit, stdout }) => {
    expect(exit).toBe(0);
    return JSON.parse(stdout) as Summary;
  });
  expect(three!.programs[0]!.results).toEqual(one!.programs[0]!.results);
  expect(Object.values(three!.programs[0]!.results).reduce((a, b) => a + b, 0)).toBe(30_000);
});

it('counts the packets of a long capture, also of pieces that end while the event loop has its turn', async () => {
  const long = join(directory, 'long.pcap');
  writeFileSync(long, frames(150_000));
  const { stdout } = await run('length', 2, long, ['--repeat', '10']);
  const { packets, programs } = JSON.parse(stdout) as Summary;
  expect(Object.values(programs[0]!.results).reduce((a, b) => a + b, 0)).toBe(1_500_000);
  expect(packets.packets).toBe(1_500_000);
});

it('all CPUs have their share, each in its own values', async () => {
  const { stdout } = await run('length', 2);
  const values = (JSON.parse(stdout) as Summary).maps[0]!.entries[0]!.value.map(Number);
  expect(values).toHaveLength(2);
  expect(values[0]! + values[1]!).toBe(30_000);
  expect(values[1]).toBeGreaterThan(0);
});

it('says where a capture ends inside a record', async () => {
  const cut = join(directory, 'cut.pcap');
  writeFileSync(cut, readFileSync(capture).subarray(0, -10));
  const [one, two] = await Promise.all([run('length', 1, cut), run('length', 2, cut)]);
  expect(two!.stderr.replace(/\d+\.\d+/g, '')).toBe(one!.stderr.replace(/\d+\.\d+/g, ''));
  expect([one!.exit, two!.exit]).toEqual([1, 1]);
});
