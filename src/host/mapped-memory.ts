/**
 * mmap(2) of a map: the values of an array, or an arena. Reading and writing are plain memory accesses: a page of an arena with
 * BPF_F_SEGV_ON_FAULT that is not there ends the process, as it would in C.
 */
import type { Fd, MappedMemory } from '../contracts/kernel.ts';
import { BPF_MAP_TYPE } from '../uapi/index.ts';
import { alignUp } from '../util/bytes.ts';
import { errnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import { errnoText } from './bpf.ts';
import type { Host } from './host.ts';
import { mapInfoStruct } from './maps.ts';

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_FIXED_NOREPLACE = 0x10_0000;

export function mapMemory(host: Host, fd: Fd): MappedMemory {
  const info = mapInfoStruct(host, fd, host.fds);
  if (info === null) throw new BpfError('EBADF', `descriptor ${fd} is no map`);
  const page = host.native.pageSize;
  const entries = info.u32('max_entries');
  const isArena = info.u32('type') === BPF_MAP_TYPE.BPF_MAP_TYPE_ARENA;
  const size = isArena ? entries * page : alignUp(info.u32('value_size'), 8) * entries;
  // Programs know an arena by the address that it was made with.
  const at = isArena ? Number(info.u64('map_extra')) : 0;
  const length = alignUp(size, page);
  const flags = at === 0 ? MAP_SHARED : MAP_SHARED | MAP_FIXED_NOREPLACE;
  const address = host.native.call('mmap', at, length, PROT_READ_WRITE, flags, fd, 0);
  if (address < 0) {
    const code = errnoName(-address);
    throw new BpfError(code, `mmap of ${length} bytes of descriptor ${fd}: ${errnoText(code)}`);
  }
  const bytes = new Uint8Array(host.native.view(address, length));
  let mapped = true;
  const checked = (offset: number, count: number): number => {
    if (!mapped || !(offset >= 0 && count >= 0 && offset + count <= size))
      throw new BpfError('EFAULT', `bytes ${offset} to ${offset + count} of a mapping of ${size}`);
    return offset;
  };
  return {
    address: BigInt(address),
    size,
    read: (offset, count) => bytes.slice(checked(offset, count), offset + count),
    write: (offset, data) => bytes.set(data, checked(offset, data.length)),
    unmap() {
      // Nobody else has a view of it.
      if (mapped) host.native.call('munmap', address, length);
      mapped = false;
    },
  };
}
