/** mmap(2) of a map: the values of an array made with BPF_F_MMAPABLE, or an arena. */
import type { Fd, MappedMemory } from '../contracts/kernel.ts';
import { userAddress } from '../memory/address.ts';
import { ARENA_PAGE } from '../memory/arena-pages.ts';
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { alignUp } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import type { Machine } from './machine.ts';
import { MapObject } from './objects.ts';

export function mapMemory(machine: Machine, mapFd: Fd): MappedMemory {
  const object = machine.fds.expect(mapFd, MapObject, 'map');
  const { map } = object;
  const { flags, type, maxEntries, valueSize, name } = map.info;
  if ((flags & BPF_MAP_FLAGS.BPF_F_MMAPABLE) === 0)
    throw new BpfError('ENOTSUPP', `map '${name}' is not made to be mapped`, {
      hint: 'map_flags BPF_F_MMAPABLE lets user space map arrays and arenas',
    });
  const { arena } = map;
  if (arena === undefined && map.layout.values === 0)
    throw new BpfError('ENOTSUPP', `maps of type ${type.name} cannot be mapped`);
  const size = arena === undefined ? alignUp(valueSize, 8) * maxEntries : arena.pages * ARENA_PAGE;
  const start = map.layout.values;
  object.get();
  let mapped = true;

  /** Calls `use` with the parts of a range that lie together. */
  const each = (
    offset: number,
    length: number,
    use: (at: number, from: number, upto: number) => void,
  ): void => {
    if (!mapped) throw new BpfError('EFAULT', `map '${name}' is no longer mapped`);
    if (!(offset >= 0 && length >= 0 && offset + length <= size))
      throw new BpfError(
        'EFAULT',
        `bytes ${offset} to ${offset + length} of map '${name}', which has ${size}`,
      );
    for (let from = 0; from < length; ) {
      const place = offset + from;
      const upto = arena === undefined ? length : Math.min(length, from + ARENA_PAGE - (place % ARENA_PAGE));
      const at = arena === undefined ? start + place : arena.touch(place);
      if (at === 0)
        throw new BpfError(
          'EFAULT',
          `page ${Math.floor(place / ARENA_PAGE)} of arena '${name}' is not there`,
        );
      use(at, from, upto);
      from = upto;
    }
  };

  return {
    address: arena?.map() ?? userAddress(start),
    size,
    read(offset, length) {
      const bytes = new Uint8Array(mapped && length <= size ? length : 0);
      each(offset, length, (at, from, upto) => {
        bytes.set(machine.memory.u8.subarray(at, at + upto - from), from);
      });
      return bytes;
    },
    write(offset, bytes) {
      if (object.frozen || map.frozen) throw new BpfError('EPERM', `map '${name}' is frozen`);
      each(offset, bytes.length, (at, from, upto) => {
        machine.memory.u8.set(bytes.subarray(from, upto), at);
      });
    },
    unmap() {
      if (mapped) object.put();
      mapped = false;
    },
  };
}
