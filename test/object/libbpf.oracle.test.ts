/**
 * Compares what this package reads from an object with what libbpf hands to the kernel: bpftool loads the object under
 * strace, and the arguments of its bpf(2) calls are the expected values. Needs root, bpftool, strace and clang.
 */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseBtf } from '../../src/btf/index.ts';
import { parseObject, resolveCore } from '../../src/object/index.ts';
import { compileText, fixtureSource } from './compile.ts';
import { field, instructions, missing, traceLoad } from './libbpf-calls.ts';

const reason = missing();
if (reason !== undefined) console.log(`comparison with libbpf skipped: ${reason}`);

const VMLINUX = '/sys/kernel/btf/vmlinux';
const vmlinux = existsSync(VMLINUX) ? parseBtf(readFileSync(VMLINUX)) : undefined;

describe.skipIf(reason !== undefined || vmlinux === undefined)('agrees with libbpf', () => {
  it.each(['maps', 'calls', 'extern', 'core'])('%s', (name) => {
    // Pinned maps would land on the machine's bpffs.
    const object = compileText(fixtureSource(name).replace('LIBBPF_PIN_BY_NAME', 'LIBBPF_PIN_NONE'));
    const spec = parseObject(object, { name: `${name}.bpf.o` });
    const calls = traceLoad(object, `${name}.bpf.o`);

    const created = new Map<string, string>();
    for (const line of calls) {
      const mapName = /map_name="([^"]*)"/.exec(line)?.[1];
      if (line.startsWith('bpf(0,') && mapName !== undefined) created.set(mapName, line);
    }
    for (const map of spec.maps) {
      const line = created.get(map.name);
      expect(line, map.name).toBeDefined();
      expect(
        {
          type: field(line!, 'map_type'),
          keySize: field(line!, 'key_size'),
          valueSize: field(line!, 'value_size'),
          maxEntries: field(line!, 'max_entries'),
          flags: field(line!, 'map_flags'),
        },
        map.name,
      ).toEqual({
        type: map.type,
        keySize: map.keySize,
        valueSize: map.valueSize,
        maxEntries: map.maxEntries,
        flags: map.flags,
      });
      const valueType = field(line!, 'btf_value_type_id');
      if (valueType !== 0) {
        expect([field(line!, 'btf_key_type_id'), valueType], map.name).toEqual([
          map.btfKeyTypeId,
          map.btfValueTypeId,
        ]);
      }
    }

    for (const program of spec.programs) {
      if (!program.autoload) continue;
      const line = calls.find((call) => call.includes(`prog_name="${program.name}"`));
      expect(line, program.name).toBeDefined();
      const insns = instructions(line!);
      const relocated = resolveCore(spec, program, vmlinux).insns;
      // File descriptors and kernel symbols are the loader's.
      const fds = new Set<number>();
      const symbols = new Set<number>();
      for (const { kind, insn: at } of program.relocations) {
        if (kind === 'map' || kind === 'map_value') fds.add(at);
        else symbols.add(at).add(kind === 'kfunc' ? at : at + 1);
      }
      expect(insns.length, program.name).toBe(relocated.length);
      insns.forEach((insn, i) => {
        if (symbols.has(i)) return;
        expect({ ...insn, imm: fds.has(i) ? 0 : insn.imm }, `${program.name}:${i}`).toEqual(relocated[i]);
      });
      expect(field(line!, 'func_info_cnt') * 8, program.name).toBe(program.funcInfoRecords.length);
      expect(field(line!, 'line_info_cnt') * 16, program.name).toBe(program.lineInfoRecords.length);
    }
  });
});
