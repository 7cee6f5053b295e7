/**
 * Socket filters: SO_ATTACH_BPF on a socket that the caller has, or on a packet socket of our own (packet(7)) that sees the frames of
 * all interfaces, or of one. Ours is bound after the program is attached: no frame is queued that the program has not seen.
 */
import type { Fd } from '../contracts/kernel.ts';
import { errnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import { errnoText, hintFor } from './bpf.ts';
import type { Host } from './host.ts';

const AF_PACKET = 17;
/** SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK */
const RAW_CLOEXEC_NONBLOCK = 3 | 0o2000000 | 0o4000;
const ETH_P_ALL = 3;
const SOL_SOCKET = 1;
const SO_ATTACH_BPF = 50;
/** struct sockaddr_ll */
const SOCKADDR_LL_SIZE = 20;

export function socketAttach(
  host: Host,
  attr: { readonly socketFd: Fd | null; readonly progFd: Fd; readonly ifindex?: number },
): Fd {
  const { socketFd, progFd, ifindex } = attr;
  const fd = socketFd ?? host.fds.own(check(openSocket(host), 'a packet socket'), { kind: 'other' });
  try {
    host.bpf.scope((frame) => {
      const option = frame.room(4);
      new DataView(option.bytes.buffer, option.bytes.byteOffset).setInt32(0, progFd, true);
      check(
        host.native.call('setsockopt', fd, SOL_SOCKET, SO_ATTACH_BPF, option.address, 4),
        'SO_ATTACH_BPF',
      );
    });
    if (socketFd === null || ifindex !== undefined) bind(host, fd, ifindex ?? 0);
  } catch (error) {
    if (socketFd === null) host.fds.close(fd);
    throw error;
  }
  return fd;
}

/** Of no protocol: it gets nothing until it is bound. */
function openSocket(host: Host): number {
  return host.native.call('socket', AF_PACKET, RAW_CLOEXEC_NONBLOCK, 0);
}

/** `ifindex` 0: all interfaces. */
function bind(host: Host, fd: Fd, ifindex: number): void {
  host.bpf.scope((frame) => {
    const address = frame.room(SOCKADDR_LL_SIZE);
    const view = new DataView(address.bytes.buffer, address.bytes.byteOffset);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL, false);
    view.setInt32(4, ifindex, true);
    const what = ifindex === 0 ? 'a packet socket' : `a packet socket of interface ${ifindex}`;
    check(host.native.call('bind', fd, address.address, SOCKADDR_LL_SIZE), what);
  });
}

function check(ret: number, what: string): number {
  if (ret >= 0) return ret;
  const code = errnoName(-ret);
  throw new BpfError(code, `${what}: ${errnoText(code)}`, hintFor(code));
}
