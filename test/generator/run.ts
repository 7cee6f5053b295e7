/** Runs a generated program on a kernel: maps made and filled, program loaded, run once, everything read back and closed. */
import * as asm from '../../src/asm/construct.ts';
import { encodeProgram } from '../../src/asm/index.ts';
import type { Fd, Kernel } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeById } from '../../src/spec/index.ts';
import { BpfError, concatBytes, ProgramFault, toHex } from '../../src/util/index.ts';
import type { GeneratedProgram, MapSpec } from './generate.ts';

export interface Ran {
  readonly verdict: 'accept';
  readonly retval: number;
  /** The packet after the run, hex. */
  readonly data: string;
  /** `map key value`, in order of keys; queues and stacks in order of their elements. */
  readonly elements: readonly string[];
  /** It ran as compiled code; undefined where nobody asked. */
  readonly jited?: boolean;
}

export type Outcome =
  | Ran
  | { readonly verdict: 'reject'; readonly code: string; readonly message: string }
  /** A test run that does not take the packet: too short for what its Ethernet type says. */
  | { readonly verdict: 'no run'; readonly code: string; readonly message: string }
  /** The run of an accepted program failed. */
  | { readonly verdict: 'fault'; readonly code: string; readonly message: string }
  /** The run of an accepted program was stopped, as it took more instructions than the interpreter follows. */
  | { readonly verdict: 'too long'; readonly code: string; readonly message: string }
  /** The run of an accepted program has used up its budget; maps are as it has left them. */
  | {
      readonly verdict: 'stopped';
      readonly code: string;
      readonly message: string;
      readonly elements: readonly string[];
    }
  /** An error that is no BpfError: a bug. */
  | { readonly verdict: 'crash'; readonly stage: string; readonly message: string };

/** What reading and filling a map needs to know of it. */
export interface MapShape {
  /** Number of `enum bpf_map_type`. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
}

/** User space gives and gets one value a CPU, each rounded up to 8 bytes. */
export function userValue(m: MapShape, value: Uint8Array, cpus: number): Uint8Array {
  if (!mapTypeById(m.type)?.perCpu) return value;
  const one = new Uint8Array(Math.ceil(m.valueSize / 8) * 8);
  one.set(value);
  return concatBytes(Array.from({ length: cpus }, () => one));
}

export interface MapElement {
  /** `-` where elements have none. */
  readonly key: string;
  readonly value: string;
}

/** All elements, hex, in the kernel's order; queues and stacks are empty afterwards. Program arrays hold nothing to compare. */
export function readMap(kernel: Kernel, mapFd: Fd, m: MapShape): MapElement[] {
  const elements: MapElement[] = [];
  if (mapTypeById(m.type)?.holds !== undefined) return elements;
  if (m.keySize === 0) {
    for (;;) {
      let value: Uint8Array | null;
      try {
        value = kernel.mapLookupAndDeleteElem({ mapFd, key: new Uint8Array() });
      } catch (error) {
        if (error instanceof BpfError && error.code === 'ENOENT') return elements;
        throw error;
      }
      if (value === null) return elements;
      elements.push({ key: '-', value: toHex(value) });
    }
  }
  for (let key = kernel.mapGetNextKey({ mapFd, key: null }); key !== null; ) {
    const value = kernel.mapLookupElem({ mapFd, key });
    if (value !== null) elements.push({ key: toHex(key), value: toHex(value) });
    key = kernel.mapGetNextKey({ mapFd, key });
  }
  return elements;
}

/** `map key value`; those with keys in order of them. */
function linesOf(kernel: Kernel, mapFd: Fd, m: MapSpec, index: number): string[] {
  const lines = readMap(kernel, mapFd, m).map(({ key, value }) => `${index} ${key} ${value}`);
  return m.keySize === 0 ? lines : lines.sort();
}

const codeOf = (error: unknown): string => (error instanceof BpfError ? error.code : 'bug');
const messageOf = (error: unknown): string =>
  error instanceof BpfError
    ? error.message
    : error instanceof Error
      ? (error.stack ?? error.message)
      : String(error);

const isTooLong = (error: unknown): boolean =>
  error instanceof BpfError && error.cause instanceof ProgramFault && error.cause.reason === 'limit';

const isStopped = (error: unknown): boolean =>
  error instanceof BpfError && error.cause instanceof ProgramFault && error.cause.reason === 'budget';

/** Programs that write the stack all over; one a kernel. */
const sweepers = new WeakMap<Kernel, Fd>();

/** A privileged program may read what an earlier one left on the stack, which is nobody's to say: it is zero before each run. */
function sweepStack(kernel: Kernel): void {
  let progFd = sweepers.get(kernel);
  if (progFd === undefined) {
    const insns = [asm.mov64Reg(1, 10), asm.alu64Imm('add', 1, -512), asm.mov64Imm(0, 0)];
    for (let at = 0; at < 512; at += 8) insns.push(asm.stx('dw', 1, 0, at));
    insns.push(asm.exit());
    progFd = kernel.progLoad({ progType: 1, insns: encodeProgram(insns), license: 'GPL' });
    sweepers.set(kernel, progFd);
  }
  kernel.progTestRun({ progFd, dataIn: new Uint8Array(64) });
}

const cpuCounts = new WeakMap<Kernel, number>();

/** Asked once a kernel: it looks at every helper and map type. */
function cpusOf(kernel: Kernel): number {
  let cpus = cpuCounts.get(kernel);
  if (cpus === undefined) {
    cpus = kernel.features().possibleCpus;
    cpuCounts.set(kernel, cpus);
  }
  return cpus;
}

/** Loads and runs; `onLog` gets the verifier's log of the failing path. */
export function runProgram(kernel: Kernel, p: GeneratedProgram, onLog?: (log: string) => void): Outcome {
  const open: Fd[] = [];
  let elements: () => string[] = () => [];
  const cpus = cpusOf(kernel);
  let stage = 'maps';
  try {
    const fds = p.maps.map((m) => {
      const fd = kernel.mapCreate({
        mapType: m.type,
        keySize: m.keySize,
        valueSize: m.valueSize,
        maxEntries: m.maxEntries,
      });
      open.push(fd);
      for (const { key, value } of m.elements)
        kernel.mapUpdateElem({ mapFd: fd, key, value: userValue(m, value, cpus) });
      return fd;
    });
    elements = () => p.maps.flatMap((m, i) => linesOf(kernel, fds[i]!, m, i));
    const insns = p.insns.map((insn) => ({ ...insn }));
    for (const { slot, map } of p.fixes) insns[slot]!.imm = fds[map]!;
    stage = 'load';
    const progFd = kernel.progLoad({
      progType: p.progType,
      insns: encodeProgram(insns),
      license: 'GPL',
      ...(onLog === undefined ? {} : { logLevel: 1, onLog }),
    });
    open.push(progFd);
    stage = 'run';
    sweepStack(kernel);
    const { retval, dataOut } = kernel.progTestRun({ progFd, dataIn: p.input });
    stage = 'results';
    const ran: Ran = { verdict: 'accept', retval, data: toHex(dataOut), elements: elements() };
    if (!(kernel instanceof EmbeddedKernel)) return ran;
    const info = kernel.objGetInfoByFd({ bpfFd: progFd });
    return info.kind === 'prog' ? { ...ran, jited: info.jited } : ran;
  } catch (error) {
    const code = codeOf(error);
    const message = messageOf(error);
    if (code === 'bug' || stage === 'maps' || stage === 'results')
      return { verdict: 'crash', stage, message };
    if (stage === 'load') return { verdict: 'reject', code, message };
    if (isTooLong(error)) return { verdict: 'too long', code, message };
    if (isStopped(error)) return { verdict: 'stopped', code, message, elements: elements() };
    return { verdict: code === 'EINVAL' ? 'no run' : 'fault', code, message };
  } finally {
    for (const fd of open.reverse()) kernel.close(fd);
  }
}

/** What differs between two outcomes, in words; empty where they agree. */
export function difference(a: Outcome, b: Outcome): string {
  if (a.verdict !== b.verdict) return `${describeOutcome(a)} against ${describeOutcome(b)}`;
  if (a.verdict === 'stopped' && b.verdict === 'stopped') return differentElements(a.elements, b.elements);
  if (a.verdict !== 'accept' || b.verdict !== 'accept') {
    return 'code' in a && 'code' in b && a.code !== b.code
      ? `${describeOutcome(a)} against ${describeOutcome(b)}`
      : '';
  }
  if (a.retval !== b.retval) return `r0 is 0x${a.retval.toString(16)} against 0x${b.retval.toString(16)}`;
  if (a.data !== b.data) return `the packet is ${a.data} against ${b.data}`;
  return differentElements(a.elements, b.elements);
}

function differentElements(a: readonly string[], b: readonly string[]): string {
  const at = a.findIndex((line, i) => line !== b[i]);
  if (at < 0 && a.length === b.length) return '';
  return `map elements: ${a[at] ?? 'none'} against ${b[at] ?? 'none'}`;
}

export function describeOutcome(o: Outcome): string {
  if (o.verdict === 'accept') return `accepted, r0 = 0x${o.retval.toString(16)}`;
  if (o.verdict === 'crash') return `a bug in ${o.stage}: ${o.message}`;
  return `${o.verdict} ${o.code}: ${o.message.split('\n').at(-1)}`;
}
