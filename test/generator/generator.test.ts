import { afterAll, describe, expect, it } from 'vitest';
import { assemble, disassemble, encodeProgram, INSN_ROWS, rowOf } from '../../src/asm/index.ts';
import { toHex } from '../../src/util/index.ts';
import { type GeneratedProgram, generateProgram } from './generate.ts';
import { type OracleAnswer, type OracleRequest, openOracle } from './linux-oracle.ts';

const oracle = await openOracle();
if ('reason' in oracle) console.log(`skipped: generated programs on the kernel: ${oracle.reason}`);
afterAll(() => {
  if (!('reason' in oracle)) oracle.close();
});

const text = (p: GeneratedProgram): string => disassemble(p.insns);

describe('the generator', () => {
  it('gives the same program for the same seed, and another for another', () => {
    for (let seed = 1; seed < 50; seed++) expect(generateProgram(seed)).toEqual(generateProgram(seed));
    expect(new Set(Array.from({ length: 300 }, (_, seed) => text(generateProgram(seed)))).size).toBe(300);
  });

  it('makes programs that come back from their text', () => {
    for (let seed = 0; seed < 300; seed++) {
      const { insns } = generateProgram(seed);
      expect(assemble(disassemble(insns))).toEqual(insns);
    }
  });

  it('makes every instruction that a program may have', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 1500; seed++) {
      for (const insn of generateProgram(seed, { damage: 0 }).insns) {
        const row = rowOf(insn);
        if (row !== undefined) seen.add(row.name);
      }
    }
    const others =
      /^(ld_imm64|ld_btf_id|ld_func|ld_map_idx.*|call_kfunc|callx|nospec|mov_percpu|addr_space_cast)$/;
    expect(INSN_ROWS.map((r) => r.name).filter((name) => !seen.has(name) && !others.test(name))).toEqual([]);
  });
});

function request(p: GeneratedProgram): OracleRequest {
  return {
    progType: p.progType,
    logLevel: 0,
    run: toHex(p.input),
    maps: p.maps.map((m) => ({
      ...m,
      elements: m.elements.map((e) => ({ key: toHex(e.key), value: toHex(e.value) })),
    })),
    fixes: p.fixes,
    insns: toHex(encodeProgram(p.insns)),
  };
}

describe.skipIf('reason' in oracle)('on the Linux kernel', () => {
  it('most programs are accepted, and some of the damaged ones are not', () => {
    if ('reason' in oracle) return;
    const programs = Array.from({ length: 400 }, (_, seed) => generateProgram(seed));
    const answers = oracle.ask(programs.map(request));
    const accepted = (p: (q: GeneratedProgram) => boolean) => {
      const of = programs.flatMap((q, i) => (p(q) ? [answers[i]!] : []));
      return of.filter((a) => a.loadErrno === 0).length / of.length;
    };
    console.log(
      `accepted: ${accepted(() => true)} of all, ${accepted((p) => !p.damaged)} of the good, ${accepted((p) => p.damaged)} of the damaged`,
    );
    expect(accepted(() => true)).toBeGreaterThan(0.4);
    expect(accepted((p) => !p.damaged)).toBeGreaterThan(0.95);
    expect(accepted((p) => p.damaged)).toBeLessThan(0.9);
  });

  it('a good program does the same twice: nothing in it depends on addresses, clocks or luck', () => {
    if ('reason' in oracle) return;
    const programs = Array.from({ length: 400 }, (_, seed) => generateProgram(seed, { damage: 0 }));
    // Which CPU runs it is not fixed: values of per-CPU maps are left out.
    const shown = (p: GeneratedProgram, a: OracleAnswer) => ({
      ...a,
      log: [],
      // A hash table's order is not fixed either.
      elements: a.elements
        .filter((e) => !p.maps[e.map]!.kind.startsWith('percpu'))
        .map((e) => `${e.map} ${e.key} ${e.value}`)
        .sort(),
    });
    const first = oracle.ask(programs.map(request));
    const second = oracle.ask(programs.map(request));
    programs.forEach((p, i) => {
      expect(shown(p, second[i]!), `seed ${p.seed}`).toEqual(shown(p, first[i]!));
    });
  });
});
