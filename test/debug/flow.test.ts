/** Counts of real programs balance: what comes to an instruction is what the ones before it and the jumps to it say. */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { LD_IMM64 } from '../../src/asm/opcodes.ts';
import { coverageReport, Debugger, ExecutionCounter, profile, Recorder } from '../../src/debug/index.ts';
import { isConditional, isJump } from '../../src/debug/source.ts';
import type { BpfObject } from '../../src/libbpf/index.ts';
import { observed } from './programs.ts';

const EXIT = 0x95;
const GOTOL = 0x06;
const TAIL_CALL = 12;

const path = (name: string): string => fileURLToPath(new URL(`../../${name}.bpf.o`, import.meta.url));

const OBJECTS = [
  'bench/objects/compute',
  'bench/objects/maps',
  'bench/objects/packet',
  'examples/objects/xdp_filter',
];

function runAll(object: BpfObject): void {
  for (const program of object.programs) {
    const packets = [64, 128, 1000].map((length) => Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff));
    for (const dataIn of packets) program.testRun({ dataIn, repeat: 3 });
  }
}

describe.each(OBJECTS)('%s', (name) => {
  const counter = new ExecutionCounter();
  const { object } = observed(path(name), counter);
  runAll(object);
  const report = coverageReport(counter);

  it('has counts that balance', () => {
    let checked = 0;
    counter.programs.forEach(({ source, calls }, number) => {
      const { insns } = source.program;
      const counts = report.programs[number]!.insns;
      if (insns.some(({ code, src, imm }) => code === 0x85 && src === 0 && imm === TAIL_CALL)) return;
      const flow = new Float64Array(insns.length);
      source.functions.forEach(({ start }, i) => {
        flow[start]! += calls[i]!;
      });
      insns.forEach((insn, i) => {
        const count = counts[i];
        if (count === null || count === undefined) return;
        const next = i + (insn.code === LD_IMM64 ? 2 : 1);
        if (isConditional(insn)) {
          const file = source.lineAt(i)?.file;
          const function_ = source.functionAt(i)!;
          const branch = report.files
            .find((one) => one.file === file)
            ?.branches.find((one) => one.function === function_.name && one.insn === i - function_.start);
          expect(branch!.taken + branch!.notTaken).toBe(count);
          flow[i + 1 + insn.off]! += branch!.taken;
          flow[next]! += branch!.notTaken;
        } else if (isJump(insn)) flow[i + 1 + (insn.code === GOTOL ? insn.imm : insn.off)]! += count;
        else if (insn.code !== EXIT && next < insns.length) flow[next]! += count;
      });
      counts.forEach((count, i) => {
        if (count === null) return;
        expect({ insn: i, count }).toEqual({ insn: i, count: flow[i] });
        checked += count;
      });
    });
    expect(checked).toBeGreaterThan(0);
  });

  it('has as many instructions in its profile as in its coverage', () => {
    const all = report.programs.flatMap(({ insns }) => insns.map((count) => count ?? 0));
    expect(profile(counter).instructions).toBe(all.reduce((sum, count) => sum + count, 0));
  });

  it('is recorded as it is counted, and walked both ways', () => {
    const recorder = new Recorder({ maxSteps: 20_000 });
    const { object: recorded } = observed(path(name), recorder);
    runAll(recorded);
    const { recording } = new Debugger(recorder.finish());
    const steps = Array.from({ length: 60 }, (_, i) => Math.floor((i * (recording.length - 1)) / 59));
    const state = (step: number): string => {
      recording.seek(step);
      const { journal } = recording;
      return `${recording.registers().join()} ${journal.changesUpto.at(step)} ${hash(recording)}`;
    };
    const forwards = steps.map(state);
    expect([...steps].reverse().map(state)).toEqual(forwards.reverse());
  });
});

/** FNV-1a of the memory that programs see. */
function hash(recording: { read(address: number, size: number): Uint8Array }): number {
  let value = 0x811c9dc5;
  for (const byte of recording.read(0x1_1000, 0x6_0000)) value = Math.imul(value ^ byte, 0x0100_0193);
  return value >>> 0;
}
