/** Records through a ring buffer: a program writes as many as fit, user space reads them, again and again in one thread. */
import { encodeProgram, ProgramBuilder, R0, R1, R2, R3, R4, R10, reg } from '../src/asm/index.ts';
import type { Kernel } from '../src/contracts/kernel.ts';
import { RingBufferReader } from '../src/libbpf/index.ts';
import { BPF_MAP_TYPE, BPF_PROG_TYPE } from '../src/uapi/index.ts';
import type { Subject } from './harness.ts';
import { benchPacket } from './packet.ts';

const RECORD = 64;
const HEADER = 8;
const RING = 1 << 20;
/** Records that fit at once. */
const BATCH = 8192;
/** Nobody waits while the program runs. */
const BPF_RB_NO_WAKEUP = 1;

/** `ring, write and read <side>`; throws where a record is lost. */
export function ringSubjects(kernel: Kernel, side: string): Subject[] {
  if (BATCH * (RECORD + HEADER) > RING) throw new Error('the batch does not fit the ring');
  const mapFd = kernel.mapCreate({
    mapType: BPF_MAP_TYPE.BPF_MAP_TYPE_RINGBUF,
    keySize: 0,
    valueSize: 0,
    maxEntries: RING,
  });
  const code = new ProgramBuilder();
  for (let at = 8; at <= RECORD; at += 8) code.st('dw', R10, -at, at);
  code
    .ldMapFd(R1, mapFd)
    .mov64(R2, reg(R10))
    .alu64('add', R2, -RECORD)
    .mov64(R3, RECORD)
    .mov64(R4, BPF_RB_NO_WAKEUP)
    .callHelper('bpf_ringbuf_output')
    .mov64(R0, 2)
    .exit();
  const progFd = kernel.progLoad({
    progType: BPF_PROG_TYPE.BPF_PROG_TYPE_XDP,
    insns: encodeProgram(code.build()),
    license: 'GPL',
  });
  const reader = new RingBufferReader(kernel, mapFd);
  const dataIn = benchPacket();
  return [
    {
      name: `ring, write and read ${side}`,
      run: (times) => {
        let milliseconds = 0;
        for (let done = 0; done < times; ) {
          const repeat = Math.min(BATCH, times - done);
          const { duration } = kernel.progTestRun({ progFd, dataIn, repeat });
          const start = performance.now();
          const read = reader.consume().length;
          milliseconds += performance.now() - start + (duration * repeat) / 1e6;
          if (read !== repeat) throw new Error(`${repeat} records were written, ${read} read`);
          done += repeat;
        }
        return milliseconds;
      },
    },
  ];
}
