/** Attaches a program, pins its link where a path is given, says what it made, and dies of a signal: see host-events.test.ts. */
import { encodeProgram, ProgramBuilder, R0, R1, R2 } from '../../src/asm/index.ts';
import { createHostKernel } from '../../src/host/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { makeMap } from '../kernel/subject.ts';

async function main(): Promise<void> {
  const kernel = await createHostKernel();
  const map = makeMap(kernel, 'array', { maxEntries: 1 });
  const counts = new ProgramBuilder()
    .ldMapValue(R1, map)
    .mov64(R2, 1)
    .atomic('add', 'w', R1, R2, 0)
    .mov64(R0, 0)
    .exit();
  const prog = kernel.progLoad({
    progType: progTypeByName('raw_tracepoint')!.id,
    insns: encodeProgram(counts.build()),
    license: 'GPL',
  });
  const link = kernel.rawTracepointOpen({ name: 'task_rename', progFd: prog });
  const [, , pathname] = process.argv;
  if (pathname !== undefined) kernel.objPin({ pathname, bpfFd: link });
  const [mapId, progId, linkId] = [map, prog, link].map((bpfFd) => kernel.objGetInfoByFd({ bpfFd }).id);
  process.stdout.write(JSON.stringify({ map: mapId, prog: progId, link: linkId }), () => {
    process.kill(process.pid, 'SIGKILL');
  });
}

void main();
