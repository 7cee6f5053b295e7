import { expect, it } from 'vitest';
import { isValidFormat } from '../../src/verifier/format-string.ts';

it.each([
  ['plain %% text', 0, true],
  ['%d', 0, false],
  ['%d %-5u %08lx %lli', 4, true],
  ['%s %c %p', 3, true],
  ['%pks %pus %pi4 %pI6 %pB %px', 6, true],
  ['%sx', 1, false],
  ['%pz', 1, false],
  ['%pi5', 1, false],
  ['%f', 1, false],
  ['%', 1, false],
  ['bell \u0007', 0, false],
])('%j with %d values: %s', (format, values, valid) => {
  expect(isValidFormat(format, values)).toBe(valid);
});
