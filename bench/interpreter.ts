/**
 * npm run bench:interpreter: nanoseconds an instruction of the checking interpreter on the programs of bench/objects, in turns in one
 * run: as it is (provenance of every pointer), strict (reads of registers that nothing was written to as well), and watched (a
 * listener that counts is told of each instruction).
 */
import { readFileSync } from 'node:fs';
import { createInterpreter } from '../src/interpreter/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { BpfObject } from '../src/libbpf/index.ts';
import { measure, type Subject } from './harness.ts';
import { benchPacket } from './packet.ts';
import { BENCH_PROGRAMS } from './programs.ts';

const MODES = ['checking', 'strict', 'watched'] as const;

const dataIn = benchPacket();
const instructions = new Map<string, number>();
const subjects: Subject[] = [];
for (const mode of MODES) {
  for (const program of BENCH_PROGRAMS) {
    const kernel = new EmbeddedKernel({
      engines: { interpreter: createInterpreter({ strict: mode === 'strict' }) },
    });
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', 0);
    let seen = 0;
    if (mode === 'watched') kernel.observe({ onInsn: () => void seen++ });
    const bytes = readFileSync(new URL(`objects/${program.object}.bpf.o`, import.meta.url));
    const progFd = BpfObject.open(bytes).load(kernel).findProgram(program.name).fd;
    const run = (repeat: number) => void kernel.progTestRun({ progFd, dataIn, repeat });
    run(1);
    if (mode === 'watched') instructions.set(program.name, seen);
    subjects.push({ name: `${program.name} ${mode}`, run });
  }
}
const times = measure(subjects, { rounds: 5, sampleMs: 20 });
console.log(
  `${'program'.padEnd(20)}${'insns'.padStart(8)}${MODES.map((mode) => mode.padStart(10)).join('')}   ns/insn`,
);
for (const { name } of BENCH_PROGRAMS) {
  const count = instructions.get(name)!;
  const cells = MODES.map((mode) => (times.get(`${name} ${mode}`)! / count).toFixed(1).padStart(10));
  console.log(`${name.padEnd(20)}${String(count).padStart(8)}${cells.join('')}`);
}
