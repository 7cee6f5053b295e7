/** Line info records point into the string section of the BTF that is loaded with them: rewriting BTF must not move strings. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseBtf } from '../../src/btf/index.ts';
import { parseObject } from '../../src/object/index.ts';

const directory = new URL('../../examples/objects/', import.meta.url);

describe('line info of the example objects', () => {
  it.each(readdirSync(directory).filter((name) => name.endsWith('.o')))('%s', (name) => {
    const spec = parseObject(readFileSync(new URL(name, directory)), { name });
    const btf = parseBtf(spec.loadBtf!);
    for (const program of spec.programs) {
      const view = new DataView(program.lineInfoRecords.buffer, program.lineInfoRecords.byteOffset);
      expect(program.lineInfoRecords.length).toBe(16 * program.lineInfo.length);
      program.lineInfo.forEach((line, i) => {
        expect(btf.string(view.getUint32(16 * i + 4, true))).toBe(line.file);
        expect(btf.string(view.getUint32(16 * i + 8, true))).toBe(line.text);
      });
    }
  });
});
