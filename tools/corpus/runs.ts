/**
 * Programs on packets: every program of an object that interpreter and JIT (and Linux) load is run on the same frames in the same
 * order; return value, packet and maps must be equal. Where time or chance plays a part, kernels may differ, engines may not.
 */
import type { Kernel, ProgTestRunResult } from '../../src/contracts/kernel.ts';
import type { EmbeddedKernel } from '../../src/kernel/index.ts';
import type { BpfMap, BpfObject, LoadOptions } from '../../src/libbpf/index.ts';
import { mapTypeById } from '../../src/spec/index.ts';
import { BpfError, toHex } from '../../src/util/index.ts';
import { testFrames } from './packets.ts';
import { loadVerdicts } from './verdicts.ts';

/** Types whose test run takes a packet on Linux and here. */
const PACKET_TYPES = new Set([
  'xdp',
  'socket_filter',
  'sched_cls',
  'sched_act',
  'cgroup_skb',
  'lwt_in',
  'lwt_out',
  'lwt_xmit',
]);
/** Maps that are compared. */
const COMPARED = new Set(['array', 'hash', 'lru_hash', 'percpu_array', 'percpu_hash', 'lru_percpu_hash']);
const MOST_ENTRIES = 256;
/** What JSON shows of a packet. */
const SHOWN = 80;

export interface Runs {
  /** Programs that ran on all kernels. */
  readonly programs: number;
  readonly equal: number;
  readonly differences: readonly string[];
}

/** The kernel of this machine, and a bpffs of our own. */
export interface LinuxMachine {
  readonly kernel: Kernel;
  readonly bpffs: string;
}

interface Side {
  readonly name: string;
  readonly kernel: Kernel;
  readonly object: BpfObject;
}

/** Options of one side: where it pins. */
type SideOptions = LoadOptions & { readonly pinRoot?: string };

export function compareRuns(
  bytes: Uint8Array,
  name: string,
  embedded: () => EmbeddedKernel,
  linux: LinuxMachine | undefined,
  options: LoadOptions,
): Runs {
  const sides: Side[] = [];
  const add = (side: string, kernel: Kernel, sideOptions: SideOptions): void => {
    const { object } = loadVerdicts(bytes, name, kernel, sideOptions);
    if (object !== undefined) sides.push({ name: side, kernel, object });
    else if (kernel.simulator !== null) kernel.shutdown();
  };
  for (const [side, jit] of [
    ['interpreter', 0],
    ['JIT', 1],
  ] as const) {
    const kernel = embedded();
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    kernel.simulator.setTime(1_000_000_000n, 1_700_000_000_000_000_000n);
    add(side, kernel, options);
  }
  if (linux !== undefined) add('Linux', linux.kernel, { ...options, pinRoot: linux.bpffs });
  try {
    return sides.length < 2 ? { programs: 0, equal: 0, differences: [] } : compareSides(sides);
  } finally {
    for (const side of sides) {
      side.object.close();
      if (side.kernel.simulator !== null) side.kernel.shutdown();
    }
  }
}

function compareSides(sides: readonly Side[]): Runs {
  const [first, ...others] = sides as [Side, ...Side[]];
  const differences: string[] = [];
  let programs = 0;
  let equal = 0;
  first.object.programs.forEach((program, index) => {
    const type = program.spec.progType ?? '';
    if (!PACKET_TYPES.has(type)) return;
    const running = others.filter((side) => side.object.programs[index]!.loaded);
    if (!program.loaded || running.length === 0) return;
    programs++;
    const found = new Map<string, string>();
    for (const frame of testFrames()) {
      const expected = run(first, index, frame);
      for (const side of running) {
        const actual = run(side, index, frame);
        if (actual !== expected && !found.has(side.name)) {
          found.set(
            side.name,
            `frame ${toHex(frame.subarray(0, SHOWN))}: ${first.name} ${expected}; ${side.name} ${actual}`,
          );
        }
      }
    }
    for (const side of running) {
      const text = found.get(side.name) ?? mapDifference(first, side);
      if (text !== '') differences.push(`${program.name} [${type}] ${text}`);
    }
    if (found.size === 0) equal++;
  });
  return { programs, equal, differences };
}

function run(side: Side, index: number, frame: Uint8Array): string {
  let result: ProgTestRunResult;
  try {
    result = side.object.programs[index]!.testRun({ dataIn: frame });
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return error.code === 'EFAULT' ? `EFAULT ${error.message}` : error.code;
  }
  return `${result.retval} ${result.dataOut.length}:${toHex(result.dataOut.subarray(0, 2 * SHOWN))}`;
}

/** '' where all maps are equal. */
function mapDifference(a: Side, b: Side): string {
  for (const [i, map] of a.object.maps.entries()) {
    const spec = a.object.spec.maps[i]!;
    const row = mapTypeById(spec.type);
    if (row === undefined || !COMPARED.has(row.name) || spec.maxEntries > 65536) continue;
    const left = contents(map, row.perCpu === true);
    const right = contents(b.object.maps[i]!, row.perCpu === true);
    const key = [...new Set([...left.keys(), ...right.keys()])].find(
      (one) => left.get(one) !== right.get(one),
    );
    if (key === undefined) continue;
    return `map ${spec.name}[${key}]: ${a.name} ${left.get(key)?.slice(0, SHOWN)}; ${b.name} ${right.get(key)?.slice(0, SHOWN)}`;
  }
  return '';
}

/** Key → value; of per-CPU maps the sum over the CPUs of each 8 bytes. */
function contents(map: BpfMap, perCpu: boolean): Map<string, string> {
  const found = new Map<string, string>();
  for (const key of map.keyBytes()) {
    if (found.size >= MOST_ENTRIES) break;
    const value = map.getBytes(key);
    if (value === undefined) continue;
    found.set(toHex(key), perCpu ? sum(value, map.definition.valueSize) : toHex(value));
  }
  return found;
}

function sum(values: Uint8Array, size: number): string {
  const stride = (size + 7) & ~7;
  const view = new DataView(values.buffer, values.byteOffset, values.length);
  const lanes: bigint[] = [];
  for (let lane = 0; lane < stride; lane += 8) {
    let total = 0n;
    for (let at = lane; at < values.length; at += stride) total += view.getBigUint64(at, true);
    lanes.push(BigInt.asUintN(64, total));
  }
  return lanes.join(',');
}
