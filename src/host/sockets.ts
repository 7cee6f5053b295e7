/** Socket filters: SO_ATTACH_BPF on a socket that the caller has, or on a packet socket of our own that sees every frame. */
import type { Fd } from '../contracts/kernel.ts';
import { errnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import { errnoText, hintFor } from './bpf.ts';
import type { Host } from './host.ts';

const AF_PACKET = 17;
/** SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK */
const RAW_CLOEXEC_NONBLOCK = 3 | 0o2000000 | 0o4000;
/** htons(ETH_P_ALL) */
const EVERY_PROTOCOL = 0x0300;
const SOL_SOCKET = 1;
const SO_ATTACH_BPF = 50;

export function socketAttach(host: Host, attr: { readonly socketFd: Fd | null; readonly progFd: Fd }): Fd {
  const fd = attr.socketFd ?? host.fds.own(check(openSocket(host), 'a packet socket'), { kind: 'other' });
  try {
    host.bpf.scope((frame) => {
      const option = frame.room(4);
      new DataView(option.bytes.buffer, option.bytes.byteOffset).setInt32(0, attr.progFd, true);
      check(
        host.native.call('setsockopt', fd, SOL_SOCKET, SO_ATTACH_BPF, option.address, 4),
        'SO_ATTACH_BPF',
      );
    });
  } catch (error) {
    if (attr.socketFd === null) host.fds.close(fd);
    throw error;
  }
  return fd;
}

function openSocket(host: Host): number {
  return host.native.call('socket', AF_PACKET, RAW_CLOEXEC_NONBLOCK, EVERY_PROTOCOL);
}

function check(ret: number, what: string): number {
  if (ret >= 0) return ret;
  const code = errnoName(-ret);
  throw new BpfError(code, `${what}: ${errnoText(code)}`, hintFor(code));
}
