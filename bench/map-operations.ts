/** Map operations as user space makes them: one command each, or a batch. */
import type { Kernel } from '../src/contracts/kernel.ts';
import { BPF_MAP_TYPE } from '../src/uapi/index.ts';
import type { Subject } from './harness.ts';

const ENTRIES = 1024;
const VALUE_SIZE = 16;

/** `hash lookup <side>`, … */
export function mapSubjects(kernel: Kernel, side: string): Subject[] {
  const types = { array: BPF_MAP_TYPE.BPF_MAP_TYPE_ARRAY, hash: BPF_MAP_TYPE.BPF_MAP_TYPE_HASH } as const;
  return Object.entries(types).flatMap(([type, mapType]) => {
    const keys = Array.from({ length: ENTRIES }, (_, i) => new Uint8Array(new Uint32Array([i]).buffer));
    const value = new Uint8Array(VALUE_SIZE);
    const mapFd = kernel.mapCreate({ mapType, keySize: 4, valueSize: VALUE_SIZE, maxEntries: ENTRIES });
    for (const key of keys) kernel.mapUpdateElem({ mapFd, key, value });
    const each = (times: number, body: (key: Uint8Array) => void) => {
      for (let i = 0; i < times; i++) body(keys[i % ENTRIES]!);
    };
    const subjects: Subject[] = [
      { name: `${type} lookup ${side}`, run: (n) => each(n, (key) => kernel.mapLookupElem({ mapFd, key })) },
      {
        name: `${type} update ${side}`,
        run: (n) => each(n, (key) => kernel.mapUpdateElem({ mapFd, key, value })),
      },
      {
        name: `${type} next key ${side}`,
        run: (n) => each(n, (key) => kernel.mapGetNextKey({ mapFd, key })),
      },
      {
        name: `${type} batch lookup, an element ${side}`,
        run: (n) => {
          const start = performance.now();
          const batches = Math.ceil(n / ENTRIES);
          for (let i = 0; i < batches; i++) kernel.mapLookupBatch({ mapFd, count: ENTRIES });
          // Whole batches only: the part that was asked for.
          return ((performance.now() - start) * n) / (batches * ENTRIES);
        },
      },
    ];
    if (type === 'hash') {
      subjects.push({
        name: `${type} delete and insert ${side}`,
        run: (n) =>
          each(n, (key) => {
            kernel.mapDeleteElem({ mapFd, key });
            kernel.mapUpdateElem({ mapFd, key, value });
          }),
      });
    }
    return subjects;
  });
}
