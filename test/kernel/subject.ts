/** What the contract suite of the `Kernel` interface is run against, and what its cases are written with. */
import { expect } from 'vitest';
import { encodeProgram, ProgramBuilder, type Reg, reg } from '../../src/asm/index.ts';
import type { Fd, Kernel, ObjectKind } from '../../src/contracts/kernel.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { BpfError } from '../../src/util/index.ts';

/** The part of the contract that the suite uses. */
export type SubjectKernel = Pick<
  Kernel,
  | 'mapCreate'
  | 'mapLookupElem'
  | 'mapUpdateElem'
  | 'mapDeleteElem'
  | 'mapGetNextKey'
  | 'mapLookupAndDeleteElem'
  | 'mapLookupBatch'
  | 'mapLookupAndDeleteBatch'
  | 'mapUpdateBatch'
  | 'mapDeleteBatch'
  | 'mapFreeze'
  | 'progLoad'
  | 'progLoadAsync'
  | 'progTestRun'
  | 'progBindMap'
  | 'linkCreate'
  | 'linkUpdate'
  | 'linkDetach'
  | 'rawTracepointOpen'
  | 'btfLoad'
  | 'objPin'
  | 'objGet'
  | 'objGetNextId'
  | 'objGetFdById'
  | 'objGetInfoByFd'
  | 'close'
  | 'unlink'
  | 'readdir'
  | 'mkdir'
  | 'perfEventOpen'
  | 'socketAttach'
> & {
  features(): { readonly possibleCpus: number; readonly kind: 'embedded' | 'host'; readonly release: string };
};

export interface Subject {
  readonly name: string;
  readonly kernel: SubjectKernel;
  /** An empty directory of a bpffs. */
  readonly bpffs: string;
  /** A network interface without programs. */
  readonly ifindex: number;
  /** Absent where events of any name may be fired, so that no tracepoint is known to be missing. */
  readonly knowsTracepoints?: boolean;
  /** link(2) and symlink(2) on the bpffs. */
  link(existing: string, pathname: string): void;
  symlink(target: string, pathname: string): void;
  /** Until when things that Linux does later (frees of maps after their programs) must be done: throws what `check` throws. */
  eventually(check: () => void): void;
  /** After each case. */
  done(): void;
}

export type OpenSubject = () => Subject;

const [R0, R1, R2, R3] = [0, 1, 2, 3] as Reg[];

export { R0, R1, R2, R3 };

export const u32 = (value: number): Uint8Array => new Uint8Array(new Uint32Array([value]).buffer);
export const u64 = (value: number | bigint): Uint8Array =>
  new Uint8Array(new BigUint64Array([BigInt(value)]).buffer);
export const fromU32 = (bytes: Uint8Array | null): number | null =>
  bytes === null ? null : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

export function mapType(name: string): number {
  return mapTypeByName(name)!.id;
}

export function progType(name: string): number {
  return progTypeByName(name)!.id;
}

/** A map with the sizes that its type wants, unless `attr` says otherwise. */
export function makeMap(kernel: SubjectKernel, type: string, attr: object = {}): Fd {
  return kernel.mapCreate({
    mapType: mapType(type),
    keySize: 4,
    valueSize: 4,
    maxEntries: 4,
    ...attr,
  });
}

export function load(
  kernel: SubjectKernel,
  program: ProgramBuilder,
  type = 'socket_filter',
  attr: object = {},
): Fd {
  return kernel.progLoad({
    progType: progType(type),
    insns: encodeProgram(program.build()),
    license: 'GPL',
    ...attr,
  });
}

/** `return value` */
export function returns(value: number): ProgramBuilder {
  return new ProgramBuilder().mov64(R0, value).exit();
}

/** Uses a map without doing anything with it. */
export function uses(map: Fd): ProgramBuilder {
  return new ProgramBuilder().ldMapFd(R1, map).mov64(R0, 0).exit();
}

/** Tail call into slot `index` of `array`; `otherwise` where it falls through. */
export function tailCall(array: Fd, index: number, otherwise: number): ProgramBuilder {
  return new ProgramBuilder()
    .ldMapFd(R2, array)
    .mov64(R3, index)
    .callHelper('bpf_tail_call')
    .mov64(R0, otherwise)
    .exit();
}

export { ProgramBuilder, reg };

export const FRAME = new Uint8Array(64);

export function run(kernel: SubjectKernel, progFd: Fd, dataIn: Uint8Array = FRAME): number {
  return kernel.progTestRun({ progFd, dataIn }).retval;
}

export function idOf(kernel: SubjectKernel, fd: Fd): number {
  return kernel.objGetInfoByFd({ bpfFd: fd }).id;
}

export function exists(kernel: SubjectKernel, kind: ObjectKind, id: number): boolean {
  try {
    kernel.close(kernel.objGetFdById({ kind, id }));
    return true;
  } catch (error) {
    if (error instanceof BpfError && error.code === 'ENOENT') return false;
    throw error;
  }
}

/** The errno that an action fails with; 'ok' where it does not. */
export function code(action: () => unknown): string {
  try {
    action();
    return 'ok';
  } catch (error) {
    if (error instanceof BpfError) return error.code === 'EIO' ? error.message : error.code;
    throw error;
  }
}

export function expectCode(errno: string, action: () => unknown): void {
  expect(code(action)).toBe(errno);
}
