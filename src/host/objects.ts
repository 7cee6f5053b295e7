/** BTF, pins, ids, iterators, tokens and queries over bpf(2). */
import type { Fd, ObjectKind } from '../contracts/kernel.ts';
import { readCString } from '../util/bytes.ts';
import { ERRNO, errnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import type { BpfCommand } from './attr.ts';
import { errnoText } from './bpf.ts';
import type { Host } from './host.ts';

const NEXT_ID: Readonly<Record<ObjectKind, BpfCommand>> = {
  prog: 'BPF_PROG_GET_NEXT_ID',
  map: 'BPF_MAP_GET_NEXT_ID',
  link: 'BPF_LINK_GET_NEXT_ID',
  btf: 'BPF_BTF_GET_NEXT_ID',
};
const BY_ID: Readonly<Record<ObjectKind, readonly [BpfCommand, string]>> = {
  prog: ['BPF_PROG_GET_FD_BY_ID', 'progId'],
  map: ['BPF_MAP_GET_FD_BY_ID', 'mapId'],
  link: ['BPF_LINK_GET_FD_BY_ID', 'linkId'],
  btf: ['BPF_BTF_GET_FD_BY_ID', 'btfId'],
};
const BTF_LOG = 1 << 16;
const NAME_ROOM = 4096;

export function btfLoad(
  host: Host,
  attr: {
    readonly btf: Uint8Array;
    readonly logLevel?: number;
    readonly btfFlags?: number;
    readonly btfTokenFd?: Fd;
  },
): Fd {
  const { btf, logLevel = 0, ...rest } = attr;
  return host.bpf.scope((frame) => {
    const bytes = frame.put(btf);
    const plain = { btf: bytes.address, btfSize: btf.length, ...rest };
    let reply = logLevel === 0 ? host.bpf.try(frame, 'BPF_BTF_LOAD', plain) : undefined;
    if (reply !== undefined && reply.ret >= 0) return host.fds.own(reply.ret, { kind: 'btf' });
    const log = frame.room(BTF_LOG);
    const logged = { ...plain, btfLogBuf: log.address, btfLogSize: BTF_LOG, btfLogLevel: logLevel || 1 };
    reply = host.bpf.try(frame, 'BPF_BTF_LOAD', logged);
    if (reply.ret >= 0) return host.fds.own(reply.ret, { kind: 'btf' });
    const reason = readCString(log.bytes).trimEnd().split('\n').at(-1) ?? '';
    if (reason === '') throw host.bpf.error('BPF_BTF_LOAD', reply.ret, plain);
    const code = errnoName(-reply.ret);
    throw new BpfError(code, `BPF_BTF_LOAD: ${reason}: ${errnoText(code)}`);
  });
}

export function objPin(
  host: Host,
  attr: { readonly pathname: string; readonly bpfFd: Fd; readonly fileFlags?: number; readonly pathFd?: Fd },
): void {
  const { pathname, ...fields } = attr;
  host.bpf.scope((frame) => {
    const values = { ...fields, fileFlags: withPathFd(attr), pathname: frame.text(pathname).address };
    host.bpf.run(frame, 'BPF_OBJ_PIN', values, pathname);
  });
}

export function objGet(
  host: Host,
  attr: { readonly pathname: string; readonly fileFlags?: number; readonly pathFd?: Fd },
): Fd {
  const { pathname, ...fields } = attr;
  return host.bpf.scope((frame) => {
    const values = { ...fields, fileFlags: withPathFd(attr), pathname: frame.text(pathname).address };
    return host.fds.own(host.bpf.run(frame, 'BPF_OBJ_GET', values, pathname).ret);
  });
}

/** `path_fd` counts only with its flag. */
function withPathFd(attr: { readonly fileFlags?: number; readonly pathFd?: Fd }): number {
  const BPF_F_PATH_FD = 1 << 14;
  return (attr.fileFlags ?? 0) | (attr.pathFd === undefined ? 0 : BPF_F_PATH_FD);
}

export function objGetNextId(
  host: Host,
  attr: { readonly kind: ObjectKind; readonly startId: number },
): number | null {
  return host.bpf.scope(
    (frame) => host.bpf.find(frame, NEXT_ID[attr.kind], { startId: attr.startId })?.field('nextId') ?? null,
  );
}

export function objGetFdById(
  host: Host,
  attr: {
    readonly kind: ObjectKind;
    readonly id: number;
    readonly openFlags?: number;
    readonly fdByIdTokenFd?: Fd;
  },
): Fd {
  const { kind, id, ...rest } = attr;
  const [command, field] = BY_ID[kind];
  const fd = host.bpf.simple(command, { ...rest, [field]: id }, `${kind} ${id}`);
  return host.fds.own(fd, { kind });
}

export interface TaskFd {
  readonly progId: number;
  readonly fdType: number;
  readonly probeOffset: bigint;
  readonly probeAddr: bigint;
  readonly name: string;
}

export function taskFdQuery(host: Host, attr: { readonly pid: number; readonly fd: Fd }): TaskFd {
  return host.bpf.scope((frame) => {
    const name = frame.room(NAME_ROOM);
    const values = { ...attr, buf: name.address, bufLen: NAME_ROOM };
    const reply = host.bpf.run(frame, 'BPF_TASK_FD_QUERY', values);
    return {
      progId: reply.field('progId'),
      fdType: reply.field('fdType'),
      probeOffset: reply.wideField('probeOffset'),
      probeAddr: reply.wideField('probeAddr'),
      name: readCString(name.bytes),
    };
  });
}

/** BPF_PROG_STREAM_READ_BY_FD: what a program wrote to its stream (1 stdout, 2 stderr), '' where there is nothing. */
export function progStreamRead(host: Host, attr: { readonly progFd: Fd; readonly streamId: number }): string {
  const ROOM = 1 << 16;
  return host.bpf.scope((frame) => {
    const buffer = frame.room(ROOM);
    const values = { ...attr, streamBuf: buffer.address, streamBufLen: ROOM };
    const reply = host.bpf.try(frame, 'BPF_PROG_STREAM_READ_BY_FD', values);
    if (reply.ret === -ERRNO.EAGAIN) return '';
    if (reply.ret < 0) throw host.bpf.error('BPF_PROG_STREAM_READ_BY_FD', reply.ret, values);
    return readCString(buffer.bytes, 0, reply.ret);
  });
}
