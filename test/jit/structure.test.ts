import { describe, expect, it } from 'vitest';
import { createJit } from '../../src/jit/index.ts';
import { structure } from '../../src/jit/structure.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { Bench } from '../engines/support.ts';
import { graphProgram, random, randomGraph, walk } from './random-graphs.ts';

function check(bench: Bench, seed: number, size: number, locality: number, fuel: number): void {
  const graph = randomGraph(seed, size, locality);
  const program = bench.prepare(graphProgram(graph, fuel, seed | 1));
  const got = program.run(bench.ctx);
  program.release();
  expect(got, `graph of ${size} nodes, seed ${seed}, locality ${locality}`).toBe(walk(graph, fuel, seed | 1));
}

describe('control flow', () => {
  const bench = new Bench(createJit(), createTestEnvironment());
  const tables = new Bench(createJit({ maxNesting: 2 }), createTestEnvironment());

  it('of small random graphs, most of them irreducible', () => {
    for (let seed = 1; seed <= 600; seed++) check(bench, seed * 7919, 2 + (seed % 14), 0, 200);
  });

  it('of random graphs of all shapes', () => {
    const next = random(4711);
    for (let i = 0; i < 120; i++) check(bench, next(), 10 + (next() % 300), next() % 30, 2000);
  });

  it('through tables, where it would nest too deeply', () => {
    const next = random(815);
    for (let i = 0; i < 120; i++) check(tables, next(), 2 + (next() % 60), next() % 12, 500);
  });

  it('of large graphs', () => {
    check(bench, 1, 3000, 40, 50_000);
    check(bench, 2, 3000, 0, 50_000);
    check(tables, 3, 3000, 40, 50_000);
  });
});

describe('layout', () => {
  it('leaves a diamond and a loop as they are', () => {
    // 0 → 1 or 2 → 3 ⟲ → 4
    const layout = structure([[1, 2], [3], [3], [3, 4], []]);
    expect([...layout.order]).toEqual([0, 2, 1, 3, 4]);
    expect(layout.scopes).toEqual([
      { kind: 'block', start: 0, end: 3 },
      { kind: 'block', start: 0, end: 2 },
      { kind: 'loop', start: 3, end: 4 },
    ]);
    expect(layout.dispatch.size).toBe(0);
  });

  it('does not nest what comes one after the other', () => {
    const succs: number[][] = [];
    for (let i = 0; i < 1000; i++) succs.push([2 * i + 2, 2 * i + 1], [2 * i + 2]);
    succs.push([]);
    expect(structure(succs).depth).toBe(1);
  });

  it('puts a dispatch node in front of a loop with two entries', () => {
    const layout = structure([[1, 2], [2], [1, 3], []]);
    expect([...layout.dispatch.values()]).toEqual([[0, 1]]);
    expect(layout.succs[0]).toEqual([4, 4]);
  });

  it('does not recurse', () => {
    const n = 200_000;
    // Every node leads on, and back to a header that moves: loops nested 200 deep, many times.
    const succs = Array.from({ length: n }, (_, i) =>
      i === n - 1 ? [] : i % 200 === 0 ? [i + 1] : [i + 1, i - (i % 200) + 1],
    );
    expect(structure(succs).order.length).toBe(n);
  });
});
