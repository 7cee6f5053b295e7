/** Attaches a program, says what it made, and dies of a signal: see host-events.test.ts. */
import { encodeProgram } from '../../src/asm/index.ts';
import { createHostKernel } from '../../src/host/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { makeMap, uses } from '../kernel/subject.ts';

async function main(): Promise<void> {
  const kernel = await createHostKernel();
  const map = makeMap(kernel, 'array');
  const prog = kernel.progLoad({
    progType: progTypeByName('raw_tracepoint')!.id,
    insns: encodeProgram(uses(map).build()),
    license: 'GPL',
  });
  const link = kernel.rawTracepointOpen({ name: 'task_rename', progFd: prog });
  const [mapId, progId, linkId] = [map, prog, link].map((bpfFd) => kernel.objGetInfoByFd({ bpfFd }).id);
  process.stdout.write(JSON.stringify({ map: mapId, prog: progId, link: linkId }), () => {
    process.kill(process.pid, 'SIGKILL');
  });
}

void main();
