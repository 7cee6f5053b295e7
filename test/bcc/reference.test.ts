/** The names of BCC's reference in docs/bcc.md: the page has all rows, and what a row says is there is there. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as bcc from '../../src/bcc/index.ts';
import { BPF, compileBcc, Table, USDT } from '../../src/bcc/index.ts';
import { METHODS, probeSection, UNTYPED_SECTION } from '../../src/compiler/sema/bcc-methods.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BEGIN, type Check, END, markdown, namesOf, SECTIONS } from '../../tools/bcc-reference.ts';

const page = readFileSync(new URL('../../docs/bcc.md', import.meta.url), 'utf8');
const rows = SECTIONS.flatMap((section) =>
  section.rows.map((row) => ({ ...row, check: row.check ?? section.check, section: section.title })),
);
const named = (check: Check) => rows.filter((row) => row.check === check).flatMap(namesOf);

describe('the reference in docs/bcc.md', () => {
  it('is made from the rows (npx tsx tools/bcc-reference.ts --write)', () => {
    expect(page.split(BEGIN)[1]?.split(END)[0]?.trim()).toBe(markdown());
  });

  it('says why where there is nothing', () => {
    const silent = rows.filter((row) => namesOf(row).length === 0 && row.note === undefined);
    expect(silent).toEqual([]);
  });

  it('names macros and functions that programs have', () => {
    const macros = named('macro').map((name) => `#ifndef ${name}\n#error no ${name}\n#endif\n`);
    const functions = named('function').map((name) => `(void)${name};\n`);
    const text = `#include <bcc/proto.h>\n${macros.join('')}int f(struct __sk_buff *skb) {\n${functions.join('')}return 0;\n}\n`;
    const kernel = new EmbeddedKernel();
    expect(compileBcc(kernel, { text, name: 'names.c', usdt: true }).object.length).toBeGreaterThan(0);
  });

  it('names methods of tables, and prefixes of programs', () => {
    expect(named('method').filter((name) => !Object.hasOwn(METHODS, name))).toEqual([]);
    expect(named('prefix').filter((name) => probeSection(`${name}a__b`).startsWith(UNTYPED_SECTION))).toEqual(
      [],
    );
    // None is left out either, but those that are more than BCC has.
    const more = ['sk_redirect_map', 'msg_redirect_map', 'check_cgroup'];
    const known = [...named('method'), ...more].sort();
    expect(Object.keys(METHODS).sort()).toEqual(known);
  });

  it('names what the module exports', () => {
    expect(named('module').filter((name) => !(name in bcc))).toEqual([]);
  });

  it.each([
    ['BPF', BPF],
    ['USDT', USDT],
    ['Table', Table],
    ['Kernel', EmbeddedKernel],
  ] as const)('names what %s has', (check, type) => {
    const there = (name: string) =>
      name in type.prototype || name in type || (check === 'Table' && name === 'map');
    expect(named(check).filter((name) => !there(name))).toEqual([]);
  });
});
