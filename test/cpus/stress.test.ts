/** Stress for a few seconds; with TSBPF_STRESS_SECONDS for as long as it says, and then what was done is told. */
import process from 'node:process';
import { expect, it } from 'vitest';
import { Stress } from './stress.ts';

const seconds = Number(process.env.TSBPF_STRESS_SECONDS ?? 0);
const cpus = Number(process.env.TSBPF_STRESS_CPUS ?? 3);

it('several CPUs at once lose nothing, tear nothing and count exactly', {
  timeout: (seconds + 120) * 1000,
}, async () => {
  const stress = new Stress(cpus, Date.now());
  try {
    await stress.cpus.ready();
    const end = performance.now() + seconds * 1000;
    let rounds = 0;
    do {
      await stress.round(seconds > 0 ? 50_000 : 10_000);
      rounds++;
      expect(stress.problems).toEqual([]);
    } while (rounds < 2 || performance.now() < end);
    if (seconds > 0) {
      const counts = [
        'inserted',
        'full',
        'delivered',
        'lost',
        'pushed',
        'stacked',
        'routes_added',
        'fell_through',
      ]
        .map((name) => `${name} ${stress.global(name)}`)
        .join(', ');
      console.log(`${seconds} s, ${cpus} CPUs: ${rounds} rounds, ${stress.runs} runs; ${counts}`);
    }
  } finally {
    stress.close();
  }
});

it('interpreted neither', { timeout: 240_000 }, async () => {
  const stress = new Stress(2, 5, 'interpreter');
  try {
    await stress.round(1000);
    expect(stress.problems).toEqual([]);
  } finally {
    stress.close();
  }
});
