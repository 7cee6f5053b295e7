/**
 * Where each program of an object goes when it is run: the section says it, as far as the kernel has such a place. On the host
 * kernel programs are attached to what the caller has named, and to nothing else of the machine.
 */
import type { Kernel } from '../../contracts/kernel.ts';
import type { BpfObject, BpfProgram } from '../../libbpf/index.ts';
import { mapTypeById, type ProgTypeRow, progTypeByName } from '../../spec/index.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import type { Assignment } from '../values.ts';
import type { Sampled } from './replay.ts';
import { canRestrict } from './restrict.ts';
import type { Scope } from './scope.ts';

export interface Placement {
  readonly program: BpfProgram;
  readonly type: ProgTypeRow | undefined;
  /**
   * `interface`: XDP, one program an interface. `socket`: position among the socket filters. `event`: runs when its event comes.
   * `packet`: is given each packet by PROG_TEST_RUN. `none`: not attached, `why` says why.
   */
  readonly place: 'interface' | 'socket' | 'event' | 'packet' | 'none';
  /** For people: `XDP on interface eth0`, or why it is not attached. */
  readonly what: string;
  readonly socket?: number;
}

export interface AttachRequest {
  readonly interface: string;
  /** Programs that were named are attached even where the object has them for tail calls. */
  readonly named: ReadonlySet<string>;
  /** Programs that are reached by tail calls, and the array that holds them. */
  readonly held: ReadonlyMap<string, string>;
  /** Program type of programs whose section does not say one. */
  readonly type?: string;
  /** What a recording has samples of. */
  readonly sampled?: Sampled | undefined;
  /** On the host kernel. */
  readonly live?: LiveRequest;
}

export interface LiveRequest {
  /** An interface of the machine that was named. */
  readonly interface: string | undefined;
  readonly scope: Scope;
  /** Packets come from a file: programs are given them by test runs. */
  readonly packets: boolean;
}

/** Programs that a program array of the object holds from the start or is given at the command line, and the array. */
export function tailCalled(object: BpfObject, set: readonly Assignment[]): Map<string, string> {
  const held = new Map<string, string>();
  for (const { map: name, value } of set) {
    const map = object.spec.maps.find((one) => one.name === name);
    if (map !== undefined && mapTypeById(map.type)?.holds === 'prog') held.set(value, name);
  }
  for (const map of object.spec.maps)
    for (const slot of map.values) if (slot.kind === 'program') held.set(slot.program, map.name);
  return held;
}

export function attachAll(kernel: Kernel, object: BpfObject, request: AttachRequest): Placement[] {
  const taken: Taken = { sockets: 0, xdp: undefined };
  return object.programs
    .filter((program) => program.loaded)
    .map((program) => {
      const array = request.held.get(program.name);
      const typeName = program.spec.progType ?? request.type;
      const type = typeName === undefined ? undefined : progTypeByName(typeName);
      if (array !== undefined && !request.named.has(program.name))
        return { program, type, place: 'none', what: `called through the program array '${array}'` };
      return attachOne(kernel, program, type, request, taken);
    });
}

interface Taken {
  sockets: number;
  xdp: string | undefined;
}

function attachOne(
  kernel: Kernel,
  program: BpfProgram,
  type: ProgTypeRow | undefined,
  request: AttachRequest,
  taken: Taken,
): Placement {
  if (request.live !== undefined) return attachLive(program, type, request.live);
  const attach = program.spec.sectionRow?.attach;
  if (attach === 'xdp' || (program.spec.sectionRow === undefined && type?.name === XDP_TYPE)) {
    if (taken.xdp !== undefined) {
      const what = `interface ${request.interface} has '${taken.xdp}'; choose with --program`;
      return { program, type, place: 'none', what };
    }
    const targetIfindex = kernel.simulator?.addInterface(request.interface);
    kernel.linkCreate({
      progFd: program.fd,
      attachType: BPF_ATTACH_TYPE.BPF_XDP,
      ...(targetIfindex === undefined ? {} : { targetIfindex }),
    });
    taken.xdp = program.name;
    return { program, type, place: 'interface', what: `XDP on interface ${request.interface}` };
  }
  if (attach === undefined && type?.name === SOCKET_TYPE) {
    program.attachSocket();
    return { program, type, place: 'socket', what: 'a packet socket', socket: taken.sockets++ };
  }
  if (type?.testRun === 'packet') return { program, type, place: 'packet', what: 'each packet, by test run' };
  try {
    const { sampled } = request;
    // The recording says when samples were taken, whatever is asked for here.
    const perfEvent =
      attach === 'perf_event' && sampled !== undefined
        ? { type: sampled.type, config: sampled.config, period: 1n }
        : undefined;
    const link = program.attach(perfEvent === undefined ? {} : { perfEvent });
    return { program, type, place: 'event', what: link.target };
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return { program, type, place: 'none', what: error.message };
  }
}

function attachLive(program: BpfProgram, type: ProgTypeRow | undefined, live: LiveRequest): Placement {
  const attach = program.spec.sectionRow?.attach;
  const none = (what: string): Placement => ({ program, type, place: 'none', what });
  const { scope } = live;
  if (type?.testRun === 'packet' && live.packets)
    return { program, type, place: 'packet', what: 'each packet, by test run' };
  const packetSocket = attach === undefined && type?.name === SOCKET_TYPE;
  if (packetSocket && !seesAll(scope)) return none('a packet socket sees all of the machine: --all');
  if (!packetSocket && ON_INTERFACES.has(attach) && live.interface === undefined)
    return none('it needs --interface NAME');
  if (!canRestrict(type?.name) && attach === 'cgroup' && scope.cgroup === undefined)
    return none('it needs a command, whose cgroup it is attached to');
  try {
    if (packetSocket) {
      program.attachSocket();
      return { program, type, place: 'socket', what: 'a packet socket' };
    }
    const link = program.attach({
      ...(live.interface === undefined ? {} : { interface: live.interface }),
      // A sample belongs to a thread; a process is found by the program itself.
      ...(scope.pid === undefined || attach === 'perf_event' ? {} : { pid: scope.pid }),
      ...(scope.cgroup === undefined ? {} : { cgroup: scope.cgroup }),
      ...(attach === 'perf_event' ? { perfEvent: SAMPLING } : {}),
    });
    const what = canRestrict(type?.name) ? `${link.target}, ${scope.what}` : link.target;
    return { program, type, place: ON_INTERFACES.has(attach) ? 'interface' : 'event', what };
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return none(error.message);
  }
}

const seesAll = (scope: Scope): boolean => scope.filter === undefined;
const ON_INTERFACES: ReadonlySet<string | undefined> = new Set(['xdp', 'tcx', 'netkit']);
/** PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, beside the beat of other clocks. */
const SAMPLING = { type: 1, config: 0n, frequency: 99 } as const;

/** The type of programs on interfaces, for sections that do not say it. */
const XDP_TYPE = 'xdp';
/** The type whose programs are attached with SO_ATTACH_BPF; no section says so. */
const SOCKET_TYPE = 'socket_filter';
