/** test/guest/progs/probes.bpf.c through the libbpf front end: every program attached by what its section says, relocated by CO-RE. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BpfLink, BpfObject, RingBufferReader } from '../../../src/libbpf/index.ts';
import { BpfError } from '../../../src/util/errors.ts';
import { Child, eventually, kernel, kernelTypes } from './support.ts';

const OBJECT = '/app/test/guest/progs/probes.bpf.o';
const FILE = '/tmp/victim';
const AT_FDCWD = -100;
// with its path, as busybox's shell runs its own applets without execve(2) otherwise
const REMOVE = `exec /bin/rm ${FILE}`;

interface Seen {
  readonly hits: bigint;
  readonly value: bigint;
  readonly text: string;
}

/** In the order of the enum in probes.bpf.c. */
const PROGRAMS: readonly (readonly [
  name: string,
  script: string,
  expected: (child: number) => Partial<Seen>,
])[] = [
  ['on_kprobe', REMOVE, () => ({ hits: 1n, value: BigInt(AT_FDCWD), text: FILE })],
  ['on_kretprobe', REMOVE, () => ({ hits: 1n, value: 0n })],
  ['on_ksyscall', REMOVE, () => ({ hits: 1n, value: BigInt(FILE.length + 1), text: FILE })],
  ['on_fentry', REMOVE, () => ({ hits: 1n, value: BigInt(AT_FDCWD), text: FILE })],
  ['on_fexit', REMOVE, () => ({ hits: 1n, value: 0n })],
  ['on_lsm', `exec /bin/cat ${FILE}`, () => ({ hits: 2n })],
  ['on_tp_btf', REMOVE, (child) => ({ hits: 1n, value: BigInt(child) })],
  ['on_raw_tp', REMOVE, () => ({ hits: 1n, value: BigInt(process.pid) })],
  ['on_tracepoint', REMOVE, () => ({ hits: 1n, value: BigInt(FILE.length + 1), text: FILE })],
];

describe.skipIf(!existsSync(OBJECT))('an object of clang', () => {
  let object: BpfObject;
  beforeAll(() => {
    const options = { kernelBtf: kernelTypes() };
    object = BpfObject.open(readFileSync(OBJECT), { name: 'probes' }).load(kernel, options);
  });
  afterAll(() => {
    object.close();
    kernel.shutdown();
  });

  const seen = (index: number): Seen => {
    const bytes = object.findMap('seen').getBytes(new Uint8Array(new Uint32Array([index]).buffer))!;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const text = Buffer.from(bytes.subarray(16)).toString();
    return {
      hits: view.getBigUint64(0, true),
      value: view.getBigInt64(8, true),
      text: text.slice(0, text.indexOf('\0')),
    };
  };

  it.for(PROGRAMS)('%s', async ([name, script, expected], context) => {
    writeFileSync(FILE, 'secret');
    const child = new Child(script);
    object.findMap('watched').set(0, child.pid);
    let link: BpfLink;
    try {
      link = object.findProgram(name).attach();
    } catch (error) {
      child.kill();
      // The front end says which ways of attaching it has not.
      if (error instanceof BpfError && error.code === 'EOPNOTSUPP') context.skip(error.message);
      throw error;
    }
    try {
      const status = await child.go();
      expect(seen(PROGRAMS.findIndex((row) => row[0] === name))).toMatchObject(expected(child.pid));
      expect(status).toBe(name === 'on_lsm' ? 1 : 0);
      if (name === 'on_lsm') expect(child.output).toMatch(/Operation not permitted/);
    } finally {
      link.destroy();
    }
  });

  it('events come through its ring buffer', async (context) => {
    const program = object.findProgram('on_tp_btf');
    writeFileSync(FILE, '');
    const child = new Child(REMOVE);
    object.findMap('watched').set(0, child.pid);
    let link: BpfLink;
    try {
      link = program.attach();
    } catch (error) {
      child.kill();
      if (error instanceof BpfError && error.code === 'EOPNOTSUPP') context.skip(error.message);
      throw error;
    }
    const ring = new RingBufferReader(kernel, object.findMap('events').fd);
    ring.consume();
    await child.go();
    const records: Uint8Array[] = [];
    await eventually(() => records.push(...ring.consume()) > 0, 'an event');
    expect(records).toHaveLength(1);
    const words = new DataView(records[0]!.buffer, records[0]!.byteOffset);
    expect([words.getUint32(0, true), words.getUint32(4, true)]).toEqual([child.pid, process.pid]);
    const file = Buffer.from(records[0]!.subarray(8)).toString();
    expect(file.slice(0, file.indexOf('\0'))).toBe('/bin/rm');
    link.destroy();
    ring.close();
  });

  it('a function that the kernel has not is refused by name', () => {
    try {
      object.findProgram('on_kprobe').attach({ target: 'no_such_function' }).destroy();
      expect.unreachable('it was attached');
    } catch (error) {
      expect(error).toBeInstanceOf(BpfError);
      expect((error as BpfError).message).toContain('no_such_function');
    }
  });
});
