/** Iterators on the host kernel: what the programs write is read from a descriptor. */
import { afterAll, describe, expect, it } from 'vitest';
import type { HostKernel } from '../../src/host/index.ts';
import { iteratorText } from '../../src/libbpf/index.ts';
import { openObject, withObject } from './attach-support.ts';
import { openHost, ownBpffs, skipReason } from './host-support.ts';

const host = await openHost();
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason('iterators on the host kernel', host)}`, () =>
    it('cannot be reached here', () => {}));
} else {
  afterAll(() => host.shutdown());
  iterators(host);
}

function iterators(kernel: HostKernel): void {
  it('iter/task: the threads of one process, every task', async () => {
    await withObject(kernel, openObject('typed', 'tasks'), (object) => {
      const program = object.findProgram('tasks');
      const lines = (text: string) => text.trim().split('\n');
      const own = lines(iteratorText(kernel, program.attach({ iter: { pid: process.pid } })));
      expect(own.length).toBeGreaterThan(1);
      for (const line of own) expect(line.split(' ')[1]).toBe(String(process.pid));
      const one = lines(iteratorText(kernel, program.attach({ iter: { tid: process.pid } })));
      expect(one.map((line) => line.split(' ')[0])).toEqual([String(process.pid)]);
      const [all] = object.attach();
      expect(lines(iteratorText(kernel, all)).length).toBeGreaterThan(own.length);
      for (const link of [all]) link.destroy();
    });
  });

  it('iter/bpf_map_elem: the elements of a map, as often as it is read, also pinned', async () => {
    const bpffs = await ownBpffs();
    await withObject(kernel, openObject('typed', 'elements'), (object) => {
      const map = object.findMap('numbers');
      const link = object.findProgram('elements').attach({ iter: { map } });
      expect(iteratorText(kernel, link)).toBe('');
      for (const key of [3, 5]) map.set(key, BigInt(key) ** 20n);
      const expected = ['3=3486784401', '5=95367431640625'];
      const read = () => iteratorText(kernel, link).trim().split('\n').sort();
      expect(read()).toEqual(expected);
      expect(read()).toEqual(expected);
      link.pin(`${bpffs}/numbers`);
      const pinned = kernel.objGet({ pathname: `${bpffs}/numbers` });
      expect(iteratorText(kernel, { fd: pinned }).trim().split('\n').sort()).toEqual(expected);
      kernel.close(pinned);
      kernel.unlink(`${bpffs}/numbers`);
      link.destroy();
    });
  });

  it('an iterator of elements without a map is refused', async () => {
    await withObject(kernel, openObject('typed', 'elements'), (object) => {
      expect(() => object.findProgram('elements').attach()).toThrow(
        expect.objectContaining({ code: 'EBADF' }),
      );
    });
  });
}
