/**
 * Runs programs on the Linux kernel of this machine: what it says of a load (errno, log) and of one run (return value, packet, maps).
 * Where the kernel cannot be reached, `reason` says why and callers skip. Touches nothing but the programs and maps that it makes.
 */
import { decodeProgram, encodeProgram } from '../../src/asm/index.ts';
import type { Fd, Kernel } from '../../src/contracts/kernel.ts';
import { createHostKernel, whyNoHostKernel } from '../../src/host/index.ts';
import { BpfError, fromHex, toHex } from '../../src/util/index.ts';
import { type MapShape, readMap, userValue } from './run.ts';

export interface OracleMap {
  /** Number of `enum bpf_map_type`. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** Elements to put in before the run; a per-CPU map gets the value on every CPU. Hex. */
  readonly elements: readonly { readonly key: string; readonly value: string }[];
}

export interface OracleRequest {
  /** Number of `enum bpf_prog_type`. */
  readonly progType: number;
  readonly logLevel: 0 | 1 | 2;
  /** Packet for one run after the load, hex; absent: load only. */
  readonly run?: string;
  readonly maps: readonly OracleMap[];
  /** Slots whose immediate is the descriptor of a map. */
  readonly fixes: readonly { readonly slot: number; readonly map: number }[];
  /** Instructions, hex. */
  readonly insns: string;
}

export interface OracleAnswer {
  readonly loadErrno: number;
  readonly runErrno: number;
  readonly retval: number;
  readonly dataOut: string;
  readonly log: readonly string[];
  readonly elements: readonly { readonly map: number; readonly key: string; readonly value: string }[];
}

export interface Oracle {
  readonly kernel: Kernel;
  ask(requests: readonly OracleRequest[]): OracleAnswer[];
  close(): void;
}

export async function openOracle(): Promise<Oracle | { readonly reason: string }> {
  const reason = await whyNoHostKernel();
  if (reason !== null) return { reason };
  const kernel = await createHostKernel();
  return {
    kernel,
    ask: (requests) => requests.map((request) => ask(kernel, request)),
    close: () => kernel.shutdown(),
  };
}

const bytesOf = (hex: string): Uint8Array => fromHex(hex) ?? new Uint8Array();
const errnoOf = (error: unknown): number => {
  if (error instanceof BpfError) return error.errno;
  throw error;
};

function ask(kernel: Kernel, request: OracleRequest): OracleAnswer {
  const open: Fd[] = [];
  const cpus = kernel.features().possibleCpus;
  let log = '';
  const answer = { loadErrno: 0, runErrno: 0, retval: 0, dataOut: '', elements: [] };
  const logged = () => log.split('\n').filter((line) => line !== '');
  try {
    const maps = request.maps.map((map): MapShape & { readonly fd: Fd } => {
      const { type: mapType, keySize, valueSize, maxEntries, elements } = map;
      const fd = kernel.mapCreate({ mapType, keySize, valueSize, maxEntries });
      open.push(fd);
      for (const { key, value } of elements)
        kernel.mapUpdateElem({ mapFd: fd, key: bytesOf(key), value: userValue(map, bytesOf(value), cpus) });
      return { ...map, fd };
    });
    const insns = decodeProgram(bytesOf(request.insns)).map((insn) => ({ ...insn }));
    for (const { slot, map } of request.fixes) insns[slot]!.imm = maps[map]!.fd;
    try {
      open.push(
        kernel.progLoad({
          progType: request.progType,
          insns: encodeProgram(insns),
          license: 'GPL',
          logLevel: request.logLevel,
          onLog: (text) => {
            log = text;
          },
        }),
      );
    } catch (error) {
      return { ...answer, loadErrno: errnoOf(error), log: logged() };
    }
    if (request.run === undefined) return { ...answer, log: logged() };
    try {
      const { retval, dataOut } = kernel.progTestRun({
        progFd: open.at(-1)!,
        dataIn: bytesOf(request.run),
      });
      const elements = maps.flatMap((map, index) =>
        readMap(kernel, map.fd, map).map((element) => ({ map: index, ...element })),
      );
      return { ...answer, retval, dataOut: toHex(dataOut), elements, log: logged() };
    } catch (error) {
      return { ...answer, runErrno: errnoOf(error), log: logged() };
    }
  } finally {
    for (const fd of open.reverse()) kernel.close(fd);
  }
}
