/** What maps that hold other objects ask of the kernel: descriptors to maps, program entries and perf events. */
import type { MapObjectResolver } from '../contracts/maps.ts';
import { ERRNO } from '../util/errno.ts';
import { PerfEventObject } from './events.ts';
import type { Machine } from './machine.ts';
import { MapObject, type ProgArrayOwner, ProgObject } from './objects.ts';
import { isExtended } from './trampolines.ts';

const resolvers = new WeakMap<Machine, MapObjectResolver>();

export function mapResolver(machine: Machine): MapObjectResolver {
  let resolver = resolvers.get(machine);
  if (resolver === undefined) {
    resolver = build(machine);
    resolvers.set(machine, resolver);
  }
  return resolver;
}

function build(machine: Machine): MapObjectResolver {
  return {
    mapByFd: (fd) => {
      const object = machine.fds.object(fd);
      if (object === undefined) return -ERRNO.EBADF;
      if (!(object instanceof MapObject)) return -ERRNO.EINVAL;
      return object.get().map;
    },
    putMap: (map) => machine.maps.find(map.info.id)?.put(),
    mapByAddress: (address) => machine.mapByAddress(address)?.map,
    progEntryByFd: (fd, owner) => {
      const program = machine.fds.object(fd);
      if (program === undefined) return -ERRNO.EBADF;
      if (!(program instanceof ProgObject)) return -ERRNO.EINVAL;
      const array = machine.maps.find(owner.info.id);
      // Whoever replaces its function might be in the array itself: an endless chain of calls.
      if (isExtended(program)) return -ERRNO.EBUSY;
      // It was stopped by a fault, and would not be run.
      if (program.fault !== undefined) return -ERRNO.EFAULT;
      // A tail call has no arguments for what stands in for a function.
      if (program.parts.entryArguments >= 0) return -ERRNO.EINVAL;
      if (array === undefined || !ownerAccepts(array, program)) return -ERRNO.EINVAL;
      program.get();
      return { entry: program.parts.executable.entry, id: program.id };
    },
    putProg: (id) => machine.programs.find(id)?.put(),
    perfEventByFd: (fd) => {
      const event = machine.fds.object(fd);
      if (event === undefined) return -ERRNO.EBADF;
      if (!(event instanceof PerfEventObject)) return -ERRNO.EINVAL;
      return { id: event.get().id };
    },
    interfaceExists: (ifindex) => machine.devices.byIndex(ifindex) !== undefined,
    putPerfEvent: (id) => machine.perfEvents.find(id)?.put(),
  };
}

/** All programs that share a program array run alike: a tail call checks nothing (kernel: bpf_prog_map_compatible). */
export function ownerAccepts(array: MapObject, program: Pick<ProgObject, 'parts'>): boolean {
  const { replaces, executable, xdpFrags, attachProto } = program.parts;
  const { type, expectedAttachType } = replaces ?? program.parts;
  const own: ProgArrayOwner = {
    type,
    engine: executable.engine,
    xdpFrags,
    expectedAttachType,
    attachProto: type.needsAttachBtf || replaces !== undefined ? attachProto : '',
  };
  array.owner ??= own;
  const { owner } = array;
  return (Object.keys(own) as (keyof ProgArrayOwner)[]).every((key) => owner[key] === own[key]);
}
