/** Which thread reads a capture: the faster way is found, and tried again later. */
import { describe, expect, it } from 'vitest';
import { ReadingChoice } from '../../src/cli/session/reading-choice.ts';

const MEGABYTE = 1 << 20;

/** Plays pieces of a megabyte that take so long each way; how many of each kind there were. */
function play(choice: ReadingChoice, pieces: number, times: { here: number; ahead: number }) {
  const taken = { here: 0, ahead: 0 };
  for (let i = 0; i < pieces; i++) {
    const way = choice.readsAhead ? 'ahead' : 'here';
    taken[way]++;
    choice.took(MEGABYTE, times[way]);
  }
  return taken;
}

describe('the thread that reads', () => {
  it('is another one where that is faster', () => {
    const { here, ahead } = play(new ReadingChoice(true), 500, { here: 2, ahead: 1 });
    expect(here).toBeLessThan(50);
    expect(here + ahead).toBe(500);
  });

  it('is this one where that is faster', () => {
    const { ahead } = play(new ReadingChoice(true), 500, { here: 1, ahead: 1.5 });
    expect(ahead).toBeGreaterThan(0);
    expect(ahead).toBeLessThan(50);
  });

  it('is chosen anew when things have changed', () => {
    const choice = new ReadingChoice(true);
    play(choice, 500, { here: 1, ahead: 2 });
    const { ahead } = play(choice, 1000, { here: 3, ahead: 2 });
    expect(ahead).toBeGreaterThan(500);
  });

  it('is this one where there is no other processor', () => {
    expect(play(new ReadingChoice(false), 500, { here: 9, ahead: 1 }).ahead).toBe(0);
  });
});
