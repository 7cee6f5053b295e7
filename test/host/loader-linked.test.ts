/** Objects linked here and by libbpf (`bpftool gen object`): both load on Linux, and do the same. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BpfObject } from '../../src/libbpf/index.ts';
import { linkObjects, parseObject } from '../../src/object/index.ts';
import { compileText, skipReason as noClang } from '../object/compile.ts';
import { openHost, skipReason } from './host-support.ts';

const HEAD = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
`;
const MAP =
  'struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); }';

const SOURCES = [
  `extern int add(int a, int b) __weak;
extern int shared;
extern ${MAP} counts SEC(".maps");
extern int LINUX_KERNEL_VERSION __kconfig;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
static int hidden = 5;
const volatile int factor = 2;
static __attribute__((noinline)) int twice(int a) { return a * factor + hidden; }
SEC("tc") int first(struct __sk_buff *ctx) {
  __u32 key = 1; __u64 one = LINUX_KERNEL_VERSION ? 1 : 0;
  bpf_map_update_elem(&counts, &key, &one, 0);
  bpf_rcu_read_lock();
  hidden++;
  bpf_rcu_read_unlock();
  return add(twice(3), shared);
}
`,
  `int shared = 30;
${MAP} counts SEC(".maps");
static int hidden = 100;
static __attribute__((noinline)) int twice(int a) { return a * 200 + hidden; }
__weak __attribute__((noinline)) int add(int a, int b) { return a - b; }
SEC("tc") int second(struct __sk_buff *ctx) {
  __u32 key = 1; __u64 *count = bpf_map_lookup_elem(&counts, &key);
  if (count) *count += 10;
  hidden++;
  return twice(1) + (count ? *count : 0);
}
`,
  `__attribute__((noinline)) int add(int a, int b) { return a + b; }
const char text[] = "words";
SEC("xdp") int third(struct xdp_md *ctx) { bpf_printk("%s", text); return add(1, 1); }
`,
];

const host = await openHost();
const noTool = spawnSync('bpftool', ['version'], { stdio: 'ignore' }).status === 0 ? undefined : 'no bpftool';
const why = noClang() ?? noTool ?? (typeof host === 'string' ? host : undefined);
if (why !== undefined || typeof host === 'string') {
  describe.skip(`linked objects: ${skipReason('comparison of linked objects', why ?? '')}`, () =>
    it('cannot run here', () => {}));
} else {
  afterAll(() => host.shutdown());
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-link-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const objects = SOURCES.map((source) => compileText(HEAD + source));
  const files = objects.map((bytes, i) => {
    const file = join(directory, `part${i}.o`);
    writeFileSync(file, bytes);
    return file;
  });
  execFileSync('bpftool', ['gen', 'object', join(directory, 'theirs.o'), ...files], { stdio: 'pipe' });
  const theirs = new Uint8Array(readFileSync(join(directory, 'theirs.o')));
  const ours = linkObjects(objects);
  writeFileSync(join(directory, 'ours.o'), ours);

  const behaviour = (bytes: Uint8Array): unknown => {
    const object = BpfObject.open(bytes, { name: 'linked' });
    try {
      object.globals.factor = 3;
      object.load(host);
      expect(object.btfError).toBeUndefined();
      const results = ['first', 'second', 'first', 'third'].map(
        (name) => object.findProgram(name).testRun({ dataIn: new Uint8Array(64) }).retval,
      );
      const words = [...new Int32Array(object.data('.data').bytes.slice().buffer)];
      return { results, counts: [...object.findMap('counts')], words };
    } finally {
      object.close();
    }
  };

  describe('linked objects', () => {
    it('behave like those that libbpf links', () => {
      const mine = behaviour(ours);
      expect(mine).toEqual(behaviour(theirs));
      expect(mine).toMatchObject({ results: [3 * 3 + 6 + 30, 200 + 101 + 11, 3 * 3 + 7 + 30, 2] });
    });

    it('have the same programs, maps and types', () => {
      const shape = (bytes: Uint8Array): unknown => {
        const spec = parseObject(bytes, { name: 'linked' });
        return {
          programs: spec.programs.map((program) => ({
            name: program.name,
            section: program.section,
            insns: program.insns,
            relocations: program.relocations.map(({ kind, insn }) => ({ kind, insn })),
            lines: program.lineInfo,
          })),
          maps: spec.maps.map(({ name, type, keySize, valueSize, initial }) => ({
            name,
            type,
            keySize,
            valueSize,
            initial,
          })),
          kconfig: spec.kconfig.map((one) => one.name),
          sections: spec.maps.map((map) => {
            const id = spec.btf?.find(map.section, 'datasec');
            const datasec = id === undefined ? undefined : spec.btf?.type(id);
            return datasec?.kind === 'datasec'
              ? datasec.vars.map((item) => [spec.btf?.name(item.type), item.offset, item.size])
              : [];
          }),
        };
      };
      expect(shape(ours)).toEqual(shape(theirs));
    });

    it('are taken by libbpf', () => {
      // libbpf links what we linked, and finds programs and maps in it.
      const again = join(directory, 'again.o');
      execFileSync('bpftool', ['gen', 'object', again, join(directory, 'ours.o')], { stdio: 'pipe' });
      expect(behaviour(new Uint8Array(readFileSync(again)))).toEqual(behaviour(theirs));
      const skeleton = execFileSync('bpftool', ['gen', 'skeleton', join(directory, 'ours.o')], {
        encoding: 'utf8',
      });
      for (const name of ['first', 'second', 'third', 'counts', 'factor', 'shared'])
        expect(skeleton).toContain(name);
    });
  });
}
