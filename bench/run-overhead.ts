/** What a run costs that JavaScript starts, beside the same run inside of the loop of PROG_TEST_RUN, which is in Wasm. */
import { readFileSync } from 'node:fs';
import { encodeProgram, ProgramBuilder } from '../src/asm/index.ts';
import type { Fd } from '../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { BpfObject } from '../src/libbpf/index.ts';
import { type HarnessOptions, measure, type Subject } from './harness.ts';
import { benchPacket } from './packet.ts';

export interface Overhead {
  readonly name: string;
  /** Nanoseconds of a run in the loop of PROG_TEST_RUN, of a prepared run, of a PROG_TEST_RUN of its own. */
  readonly body: number;
  readonly prepared: number;
  readonly command: number;
}

const WAYS = ['body', 'prepared', 'command'] as const;

function subjects(kernel: EmbeddedKernel, name: string, progFd: Fd): Subject[] {
  const dataIn = benchPacket();
  const prepared = kernel.prepareRun({ progFd, dataIn });
  return [
    { name: `${name} body`, run: (repeat) => void kernel.progTestRun({ progFd, dataIn, repeat }) },
    {
      name: `${name} prepared`,
      run: (times) => {
        for (let i = 0; i < times; i++) prepared.run();
      },
    },
    {
      name: `${name} command`,
      run: (times) => {
        for (let i = 0; i < times; i++) kernel.progTestRun({ progFd, dataIn });
      },
    },
  ];
}

export function measureOverhead(options: HarnessOptions): Overhead[] {
  const kernel = new EmbeddedKernel();
  const insns = encodeProgram(new ProgramBuilder().mov64(0, 2).exit().build());
  const least = kernel.progLoad({ progType: 6, insns, license: 'GPL' });
  const object = (name: string) =>
    BpfObject.open(readFileSync(new URL(`objects/${name}.bpf.o`, import.meta.url))).load(kernel);
  const programs: [string, Fd][] = [
    ['returns 2', least],
    ...['packet', 'maps'].flatMap((name) =>
      object(name).programs.map(({ name, fd }): [string, Fd] => [name, fd]),
    ),
  ];
  const times = measure(
    programs.flatMap(([name, fd]) => subjects(kernel, name, fd)),
    options,
  );
  kernel.shutdown();
  return programs.map(([name]) => {
    const [body, prepared, command] = WAYS.map((way) => times.get(`${name} ${way}`) ?? Number.NaN);
    return { name, body: body!, prepared: prepared!, command: command! };
  });
}
