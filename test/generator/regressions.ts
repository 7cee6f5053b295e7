/**
 * Programs on which embedded kernel and Linux once disagreed, made small, with what Linux says of them: one JSON file each in
 * `regressions/`. Made by `npm run fuzz -- --linux --keep`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { decodeProgram, disassemble, encodeProgram } from '../../src/asm/index.ts';
import { fromHex, toHex } from '../../src/util/index.ts';
import { comparableRun } from './compare.ts';
import type { GeneratedProgram, MapSpec } from './generate.ts';
import type { Outcome } from './run.ts';

const DIRECTORY = fileURLToPath(new URL('./regressions/', import.meta.url));

export interface Regression {
  readonly name: string;
  /** How it showed. */
  readonly found: string;
  /** Linux of this release said so. */
  readonly kernel: string;
  readonly program: GeneratedProgram;
  readonly expected: Outcome;
}

interface Stored extends Pick<Regression, 'found' | 'kernel'> {
  readonly seed: number;
  readonly progKind: GeneratedProgram['progKind'];
  readonly progType: number;
  readonly damaged: boolean;
  /** For people. */
  readonly text: readonly string[];
  readonly insns: string;
  readonly maps: readonly (Omit<MapSpec, 'elements'> & {
    readonly elements: readonly { readonly key: string; readonly value: string }[];
  })[];
  readonly fixes: GeneratedProgram['fixes'];
  readonly input: string;
  readonly expected: Outcome;
}

const bytesOf = (hex: string): Uint8Array => fromHex(hex) ?? new Uint8Array();

export function readRegressions(): Regression[] {
  if (!existsSync(DIRECTORY)) return [];
  return readdirSync(DIRECTORY)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => {
      const stored: Stored = JSON.parse(readFileSync(`${DIRECTORY}${name}`, 'utf8'));
      const { seed, progKind, progType, damaged, fixes, found, kernel, expected } = stored;
      const maps = stored.maps.map((map) => ({
        ...map,
        elements: map.elements.map(({ key, value }) => ({ key: bytesOf(key), value: bytesOf(value) })),
      }));
      const insns = [...decodeProgram(bytesOf(stored.insns))];
      const input = bytesOf(stored.input);
      return {
        name: name.replace(/\.json$/, ''),
        found,
        kernel,
        expected,
        program: { seed, progKind, progType, damaged, insns, maps, fixes, input },
      };
    });
}

/** Gives the path. */
export function writeRegression({ name, found, kernel, program, expected }: Regression): string {
  const { seed, progKind, progType, damaged, insns, maps, fixes, input } = program;
  const stored: Stored = {
    found,
    kernel,
    seed,
    progKind,
    progType,
    damaged,
    text: disassemble(insns, { index: true, opcode: true }).trimEnd().split('\n'),
    insns: toHex(encodeProgram(insns)),
    maps: maps.map((map) => ({
      ...map,
      elements: map.elements.map(({ key, value }) => ({ key: toHex(key), value: toHex(value) })),
    })),
    fixes,
    input: toHex(input),
    expected: comparableRun(program, expected),
  };
  mkdirSync(DIRECTORY, { recursive: true });
  const path = `${DIRECTORY}${name}.json`;
  writeFileSync(path, `${JSON.stringify(stored, null, 2)}\n`);
  return path;
}
