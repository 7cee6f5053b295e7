/**
 * What the cases of the guest are written with. Programs count and record only what one process does: the child that the case
 * started, or this process. Their values lie in one array element, written through its address.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { encodeProgram, ProgramBuilder, type Reg, reg } from '../../../src/asm/index.ts';
import { type Btf, parseBtf } from '../../../src/btf/index.ts';
import type { Fd } from '../../../src/contracts/kernel.ts';
import { createHostKernel, type HostKernel } from '../../../src/host/index.ts';
import { mapTypeByName, progTypeByName } from '../../../src/spec/index.ts';

const [R0, R1, R2, R6, R7, R10] = [0, 1, 2, 6, 7, 10] as Reg[];

export { ProgramBuilder, R0, R1, R2, R6, R7, R10, reg };

export const kernel: HostKernel = await createHostKernel();

let vmlinux: Btf | undefined;

/** BTF of the kernel, parsed once: that takes seconds in the guest. */
export function kernelTypes(): Btf {
  vmlinux ??= parseBtf(kernel.kernelBtf()!);
  return vmlinux;
}

/** Type id of a function of the kernel. */
export function functionId(name: string): number {
  return typeId(name, 'func');
}

export function typeId(name: string, kind: 'func' | 'typedef'): number {
  const id = kernelTypes().find(name, kind);
  if (id === undefined) throw new Error(`the guest's kernel has no ${kind} ${name}`);
  return id;
}

const SLOTS = 8;
const SLOT = 8;

/** 64-bit words that programs write: 0 the process to look at, 1 how often it came by, then what the program records. */
export class Record {
  readonly map: Fd;

  constructor(process: number) {
    this.map = kernel.mapCreate({
      mapType: mapTypeByName('array')!.id,
      keySize: 4,
      valueSize: SLOTS * SLOT,
      maxEntries: 1,
      mapName: 'guest_record',
    });
    const value = new BigUint64Array(SLOTS);
    value[0] = BigInt(process);
    kernel.mapUpdateElem({ mapFd: this.map, key: new Uint8Array(4), value: new Uint8Array(value.buffer) });
  }

  words(): bigint[] {
    const value = kernel.mapLookupElem({ mapFd: this.map, key: new Uint8Array(4) })!;
    return [...new BigUint64Array(value.slice().buffer)];
  }

  get hits(): number {
    return Number(this.words()[1]);
  }

  /** What the program stored in a slot from 2 on. */
  at(slot: number): bigint {
    return this.words()[slot]!;
  }
}

export const slot = (index: number): number => index * SLOT;

/**
 * A program that does nothing for other processes; for the one of `record` it counts and runs `body`, which finds the context in
 * R6 and the record in R7 and may leave at the label "out" with R0 as the result (0 otherwise).
 */
export function watching(record: Record, body: (program: ProgramBuilder) => ProgramBuilder): ProgramBuilder {
  const program = new ProgramBuilder()
    .mov64(R6, reg(R1))
    .callHelper('bpf_get_current_pid_tgid')
    .alu64('rsh', R0, 32)
    .ldMapValue(R7, record.map)
    .ldx('dw', R1, R7, 0)
    .jmp('jne', R0, reg(R1), 'other')
    .mov64(R1, 1)
    .atomic('add', 'dw', R7, R1, slot(1));
  return body(program).label('other').mov64(R0, 0).label('out').exit();
}

export interface LoadOptions {
  readonly expectedAttachType?: number;
  readonly attachBtfId?: number;
  readonly progFlags?: number;
}

export function load(type: string, program: ProgramBuilder, options: LoadOptions = {}): Fd {
  return kernel.progLoad({
    progType: progTypeByName(type)!.id,
    insns: encodeProgram(program.build()),
    license: 'GPL',
    progName: 'guest',
    ...options,
  });
}

/** A shell that waits for `go` before it runs its script: a probe can be told of its pid before anything happens. */
export class Child {
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown[]>;
  output = '';

  constructor(script: string) {
    this.#process = spawn('/bin/sh', ['-c', `read go; ${script}`], { stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    this.#closed = once(this.#process, 'close');
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** Lets it run to its end: its exit status. */
  async go(): Promise<number> {
    this.#process.stdin!.end('go\n');
    const [status] = await this.#closed;
    return status as number;
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }
}

export const eventually = async (check: () => boolean, what: string, limit = 10_000): Promise<void> => {
  for (const start = performance.now(); !check(); ) {
    if (performance.now() - start > limit) throw new Error(`${what} did not come true in ${limit} ms`);
    await new Promise((done) => setTimeout(done, 20));
  }
};

/** The error that an action throws. */
export function failure(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('that should have been refused');
}
