/** The objects of the host tests on the embedded kernel: what it has places for is attached, the rest is refused in clear words. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { type AttachOptions, BpfObject } from '../../src/libbpf/index.ts';

const kernel = new EmbeddedKernel();
afterAll(() => kernel.shutdown());

const FD = 5 as Fd;
/** Everything that a kind may ask for. */
const PLACES: AttachOptions = {
  interface: kernel.simulator.addInterface('emb0'),
  cgroup: FD,
  netns: FD,
  map: { fd: FD },
  perfEvent: { type: 1, config: 0n, period: 100n },
  netfilter: { pf: 2, hooknum: 1, priority: 1 },
};

function open(name: string): BpfObject {
  const path = fileURLToPath(new URL(`../host/objects/${name}.bpf.o`, import.meta.url));
  const object = BpfObject.open(readFileSync(path), { name });
  for (const program of object.programs) program.autoload = true;
  return object;
}

describe.each(['probes', 'network', 'kernel-probes'])('%s', (name) => {
  const object = open(name).load(kernel, { strict: false });
  afterAll(() => object.close());

  it.each(
    object.programs
      .filter((program) => program.loaded && program.spec.sectionRow?.attach !== undefined)
      .map((program) => [program.spec.section, program] as const),
  )('%s', (_section, program) => {
    const { attachTo, attachType, sectionRow } = program.spec;
    const target = attachTo === undefined ? { target: '/bin/x:0x10' } : {};
    const options = { ...PLACES, ...target, attachType: attachType ?? 'CGROUP_INET_EGRESS' };
    const has = ['kprobe', 'kretprobe', 'ksyscall', 'raw_tracepoint', 'xdp'].includes(
      sectionRow?.attach ?? '',
    );
    if (has) {
      program.attach(options).destroy();
      return;
    }
    try {
      program.attach(options).destroy();
    } catch (error) {
      expect(error).toMatchObject({
        name: 'BpfError',
        code: expect.stringMatching(/^(EINVAL|EOPNOTSUPP|ENOENT|EBADF)$/),
        message: expect.stringMatching(/embedded kernel|no maps for USDT|does not say binary|descriptor/),
      });
    }
  });
});

it('a program that is attached as another kind than its section says', () => {
  const object = open('kernel-probes');
  for (const program of object.programs) program.autoload = program.name === 'kprobed';
  object.load(kernel);
  const link = object.findProgram('kprobed').attachAs('kretprobe', { target: 'vfs_read' });
  expect(link.target).toBe('kretprobe vfs_read');
  link.destroy();
  object.close();
});
