/** Compares with bpftool and clang on the BTF of the running kernel; skipped where one of them is missing. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Btf, BtfBuilder, btfName, checkBtf, dumpC, parseBtf } from '../../src/btf/index.ts';

const VMLINUX = '/sys/kernel/btf/vmlinux';
const runs = (command: string, flag: string): boolean =>
  spawnSync(command, [flag], { stdio: 'ignore' }).status === 0;
const hasBpftool = existsSync(VMLINUX) && runs('bpftool', 'version');
const clang = ['clang-19', 'clang'].find((name) => runs(name, '--version'));
if (!existsSync(VMLINUX)) console.log(`BTF comparisons skipped: no ${VMLINUX}`);
else if (!hasBpftool) console.log('comparison with bpftool skipped: no bpftool');

const vmlinux = (): Btf => parseBtf(readFileSync(VMLINUX));

interface DumpedType {
  id: number;
  kind: string;
  name?: string;
  size?: number;
  type_id?: number;
  ret_type_id?: number;
  members?: { name: string; type_id: number; bits_offset: number; bitfield_size?: number }[];
  values?: { name: string; val: number }[];
  params?: { name: string; type_id: number }[];
}

describe.skipIf(!hasBpftool)('kernel BTF against bpftool', () => {
  it('reads the same types', { timeout: 60_000 }, () => {
    const result = spawnSync('bpftool', ['-j', 'btf', 'dump', 'file', VMLINUX], {
      encoding: 'utf8',
      maxBuffer: 1 << 29,
    });
    const { types } = JSON.parse(result.stdout) as { types: DumpedType[] };
    const btf = vmlinux();
    expect(types.length).toBe(btf.typeCount - 1);
    let different = 0;
    for (const dumped of types) {
      const type = btf.type(dumped.id);
      const name = btfName(type) || '(anon)';
      let same = dumped.kind === type.kind.toUpperCase() && (dumped.name ?? name) === name;
      if ('size' in type && dumped.size !== undefined) same &&= type.size === dumped.size;
      if ('type' in type && dumped.type_id !== undefined) same &&= type.type === dumped.type_id;
      if ('members' in type) {
        same &&= type.members.length === dumped.members!.length;
        type.members.forEach((member, i) => {
          const other = dumped.members![i]!;
          same &&= (member.name || '(anon)') === other.name && member.type === other.type_id;
          same &&= member.bitOffset === other.bits_offset && member.bitSize === (other.bitfield_size ?? 0);
        });
      }
      if (type.kind === 'func_proto') {
        same &&= type.returnType === dumped.ret_type_id && type.params.length === dumped.params!.length;
        type.params.forEach((param, i) => {
          same &&= param.type === dumped.params![i]!.type_id;
        });
      }
      if (type.kind === 'enum') {
        // bpftool shows unsigned values with bit 31 set sign-extended to 64 bits.
        same &&= type.values.every(({ value }, i) => {
          const other = dumped.values![i]!.val;
          return Number(value) === other || (value > 0x7fff_ffffn && other > 2 ** 63);
        });
      }
      if (!same) different++;
    }
    expect(different).toBe(0);
  });
});

describe.skipIf(!existsSync(VMLINUX))('kernel BTF', () => {
  it('opens and answers by name', () => {
    const bytes = readFileSync(VMLINUX);
    const btf = parseBtf(bytes);
    const task = btf.find('task_struct', 'struct')!;
    expect(btf.findPath(task, 'comm')).toBeDefined();
  });

  it('is valid and can be written again', () => {
    const btf = vmlinux();
    checkBtf(btf);
    const again = BtfBuilder.from(btf).build();
    expect(again.typeCount).toBe(btf.typeCount);
    for (const [id, type] of btf.types()) {
      if (id % 10 === 0) expect(again.type(id)).toEqual(type);
    }
  });

  it.skipIf(clang === undefined)('as C is laid out by clang as it was', { timeout: 60_000 }, () => {
    const btf = vmlinux();
    let source = dumpC(btf);
    let count = 0;
    const tags = new Map<string, number>();
    for (const [, type] of btf.types()) {
      if (['struct', 'union', 'enum'].includes(type.kind))
        tags.set(btfName(type), (tags.get(btfName(type)) ?? 0) + 1);
    }
    for (const [, type] of btf.types()) {
      // __builtin_va_list has another size on the BPF target; of several types with one name only one keeps it.
      if (!('members' in type) || type.name === '' || tags.get(type.name) !== 1 || type.name === 'warn_args')
        continue;
      source += `_Static_assert(sizeof(${type.kind} ${type.name}) == ${type.size}, "");\n`;
      count++;
      for (const member of type.members) {
        if (member.name === '' || btf.bitfieldSize(member) !== 0) continue;
        source += `_Static_assert(__builtin_offsetof(${type.kind} ${type.name}, ${member.name}) == ${member.bitOffset / 8}, "");\n`;
      }
    }
    expect(count).toBeGreaterThan(1000);
    const directory = mkdtempSync(join(tmpdir(), 'tsbpf-btf-'));
    try {
      const file = join(directory, 'vmlinux.c');
      writeFileSync(file, source);
      const result = spawnSync(clang!, ['-target', 'bpf', '-fsyntax-only', '-w', file], { encoding: 'utf8' });
      expect(result.stderr).toBe('');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
