/** LINK_CREATE, LINK_UPDATE, LINK_DETACH, RAW_TRACEPOINT_OPEN, PROG_BIND_MAP and sockets' SO_ATTACH_BPF. */
import type { Fd, LinkCreateAttr, LinkUpdateAttr } from '../../contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { PerfEventObject } from '../events.ts';
import { LinkObject, PerfEventLink, RawTracepointLink, XdpLink } from '../links.ts';
import type { Machine } from '../machine.ts';
import { MapObject, ProgObject } from '../objects.ts';
import { SocketObject } from '../packet-socket.ts';
import { StructOpsLink } from '../struct-ops.ts';
import { attachToFunction, linkToFunction } from './function-link.ts';

const { BPF_XDP, BPF_PERF_EVENT, BPF_STRUCT_OPS } = BPF_ATTACH_TYPE;
/** BPF_F_REPLACE for links: the old program is named. */
const F_REPLACE = 4;

/** XDP_FLAGS_SKB_MODE, DRV_MODE, HW_MODE: where on a device the program runs. There is one such place here. */
const XDP_MODES = 2 | 4 | 8;

/** How each program type is linked; a type that is not here cannot be, in the embedded kernel. */
const LINKERS: Readonly<
  Record<string, (machine: Machine, program: ProgObject, attr: LinkCreateAttr) => LinkObject>
> = {
  xdp: linkXdp,
  kprobe: linkPerfEvent,
  tracepoint: linkPerfEvent,
  raw_tracepoint: linkRawTracepoint,
  perf_event: linkPerfEvent,
  ext: linkToFunction,
  tracing: linkToFunction,
  lsm: linkToFunction,
};

/** The type of program that each kind of perf event takes; those that are not here take none. */
const EVENT_PROGRAMS: Readonly<Record<string, string>> = {
  tracepoint: 'tracepoint',
  sampling: 'perf_event',
};
const PROBE_PROGRAM = 'kprobe';

/** Errors: EBADF, EINVAL, EFAULT for one that was stopped: nothing would run it. */
function programToAttach(machine: Machine, fd: Fd): ProgObject {
  const program = machine.fds.expect(fd, ProgObject, 'program');
  if (program.fault === undefined) return program;
  throw new BpfError('EFAULT', `the program was stopped before: ${program.fault.message}`, {
    hint: 'load it again',
  });
}

export function linkCreate(machine: Machine, attr: LinkCreateAttr): Fd {
  if (attr.attachType === BPF_STRUCT_OPS && attr.mapFd !== undefined) return linkStruct(machine, attr.mapFd);
  const program = programToAttach(machine, attr.progFd);
  const linker = LINKERS[program.type.name];
  if (linker === undefined) {
    throw new BpfError(
      'EINVAL',
      `the embedded kernel has nothing to link a ${program.type.name} program to`,
      {
        hint: `it links: ${Object.keys(LINKERS).join(', ')}`,
      },
    );
  }
  return machine.fds.install(linker(machine, program, attr));
}

function linkStruct(machine: Machine, mapFd: Fd): Fd {
  const map = machine.fds.expect(mapFd, MapObject, 'map');
  return machine.fds.install(StructOpsLink.open(machine, map));
}

function linkXdp(machine: Machine, program: ProgObject, attr: LinkCreateAttr): LinkObject {
  if (attr.attachType !== BPF_XDP)
    throw new BpfError(
      'EINVAL',
      `XDP programs are linked with attach type ${BPF_XDP} (XDP), not ${attr.attachType}`,
    );
  const flags = attr.flags ?? 0;
  if ((flags & ~XDP_MODES) !== 0 || (flags & (flags - 1)) !== 0)
    throw new BpfError('EINVAL', `XDP link flags 0x${flags.toString(16)}: at most one mode can be asked for`);
  const ifindex = attr.targetIfindex ?? 0;
  const device = machine.devices.byIndex(ifindex);
  if (device === undefined) throw new BpfError('EINVAL', `there is no network interface ${ifindex}`);
  if (machine.points.at(device.xdpPoint).length > 0) {
    throw new BpfError('EBUSY', `interface ${ifindex} has an XDP program already`, {
      hint: 'replace it with LINK_UPDATE',
    });
  }
  return new XdpLink(device, { program: program.get(), cookie: 0n }, machine.points, machine.links);
}

function linkPerfEvent(machine: Machine, program: ProgObject, attr: LinkCreateAttr): LinkObject {
  if (attr.flags) throw new BpfError('EINVAL', 'links to perf events take no flags');
  if (attr.attachType !== BPF_PERF_EVENT) {
    throw new BpfError(
      'EINVAL',
      `a ${program.type.name} program is linked to a perf event with attach type ${BPF_PERF_EVENT} (PERF_EVENT), not ${attr.attachType}`,
    );
  }
  if (attr.targetFd === undefined)
    throw new BpfError('EBADF', 'the link needs the descriptor of a perf event');
  const event = machine.fds.expect(attr.targetFd, PerfEventObject, 'perf event');
  const expected = EVENT_PROGRAMS[event.attr.kind] ?? PROBE_PROGRAM;
  if (program.type.name !== expected) {
    throw new BpfError(
      'EINVAL',
      `a ${program.type.name} program cannot be attached to a ${event.attr.kind} event`,
    );
  }
  event.point; // Refuses kinds that cannot be attached to before a reference is taken.
  const pid = 'pid' in event.attr ? event.attr.pid : undefined;
  // Sampling counts on one CPU; a tracepoint's program runs on all.
  const cpu = event.attr.kind === 'sampling' ? event.attr.cpu : undefined;
  const attachment = {
    program: program.get(),
    cookie: attr.bpfCookie ?? 0n,
    ...(pid === undefined || pid < 0 ? {} : { pid }),
    ...(cpu === undefined || cpu < 0 ? {} : { cpu }),
  };
  return new PerfEventLink(event, attachment, machine.points, machine.links);
}

function linkRawTracepoint(): LinkObject {
  throw new BpfError('EINVAL', 'raw tracepoint programs are attached with RAW_TRACEPOINT_OPEN');
}

export function rawTracepointOpen(
  machine: Machine,
  attr: { name: string | null; progFd: Fd; cookie?: bigint },
): Fd {
  const program = programToAttach(machine, attr.progFd);
  if (program.type.needsAttachBtf) {
    if (attr.name !== null)
      throw new BpfError('EINVAL', `what a ${program.type.name} program attaches to was said at its load`);
    const { expectedAttachType } = program.parts;
    const cookie = attr.cookie === undefined ? {} : { bpfCookie: attr.cookie };
    return machine.fds.install(attachToFunction(machine, program, cookie, expectedAttachType));
  }
  if (program.type.name !== 'raw_tracepoint' && program.type.name !== 'raw_tracepoint_writable') {
    throw new BpfError('EINVAL', `a ${program.type.name} program cannot be attached to a raw tracepoint`);
  }
  if (attr.name === null || attr.name === '')
    throw new BpfError('EINVAL', 'a raw tracepoint program needs the name of its tracepoint');
  const attachment = { program: program.get(), cookie: attr.cookie ?? 0n };
  return machine.fds.install(new RawTracepointLink(attr.name, attachment, machine.points, machine.links));
}

export function linkUpdate(machine: Machine, attr: LinkUpdateAttr): void {
  const link = machine.fds.expect(attr.linkFd, LinkObject, 'link');
  const program = programToAttach(machine, attr.newProgFd);
  const flags = attr.flags ?? 0;
  if ((flags & ~F_REPLACE) !== 0) throw new BpfError('EINVAL', `unknown flags 0x${flags.toString(16)}`);
  if (attr.oldProgFd !== undefined && !(flags & F_REPLACE)) {
    throw new BpfError('EINVAL', 'oldProgFd is only looked at with BPF_F_REPLACE');
  }
  const old =
    attr.oldProgFd === undefined ? undefined : machine.fds.expect(attr.oldProgFd, ProgObject, 'program');
  program.get();
  try {
    link.update(program, old, flags);
  } catch (error) {
    program.put();
    throw error;
  }
}

export function linkDetach(machine: Machine, attr: { linkFd: Fd }): void {
  machine.fds.expect(attr.linkFd, LinkObject, 'link').forceDetach();
}

/** The program holds the map from now on (a skeleton's .rodata that no instruction refers to). */
export function progBindMap(machine: Machine, attr: { progFd: Fd; mapFd: Fd; flags?: number }): void {
  const program = machine.fds.expect(attr.progFd, ProgObject, 'program');
  const map = machine.fds.expect(attr.mapFd, MapObject, 'map');
  if (attr.flags) throw new BpfError('EINVAL', 'PROG_BIND_MAP takes no flags');
  if (!program.maps.includes(map)) program.maps.push(map.get());
}

/** Errors: EINVAL for other programs than socket filters, ENODEV. */
export function socketAttach(
  machine: Machine,
  attr: { socketFd: Fd | null; progFd: Fd; ifindex?: number },
): Fd {
  const program = programToAttach(machine, attr.progFd);
  if (program.type.name !== 'socket_filter') {
    throw new BpfError('EINVAL', `a ${program.type.name} program is no socket filter`);
  }
  const fd = attr.socketFd ?? machine.fds.install(new SocketObject(machine));
  try {
    const socket = machine.fds.expect(fd, SocketObject, 'socket');
    if (attr.ifindex !== undefined) socket.bind(attr.ifindex);
    socket.attach(program);
  } catch (error) {
    if (attr.socketFd === null) machine.fds.close(fd);
    throw error;
  }
  return fd;
}

/** read(2): the next packet of a socket. */
export function readDescriptor(machine: Machine, fd: Fd, size: number): Uint8Array {
  return machine.fds.expect(fd, SocketObject, 'socket').read(size);
}
