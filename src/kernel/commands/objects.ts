/** BTF_LOAD, pins, *_GET_NEXT_ID, *_GET_FD_BY_ID and OBJ_GET_INFO_BY_FD. */
import { checkBtf, parseBtf } from '../../btf/index.ts';
import type { Fd, ObjectInfo, ObjectKind } from '../../contracts/kernel.ts';
import { BPF_CMD, BPF_MAP_FLAGS } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { holds } from '../credentials.ts';
import type { FdMode, IdTable, KernelObject } from '../fd-table.ts';
import { LinkObject } from '../links.ts';
import type { Machine } from '../machine.ts';
import { BtfObject, MapObject, ProgObject } from '../objects.ts';
import { checkBtfKinds } from '../release.ts';
import { credentialsWith, TOKEN_FLAG, TokenObject } from '../token.ts';
import { jitedListing } from './jited.ts';

/** BTF_MAX_SIZE */
const MAX_BTF_BYTES = 16 << 20;
const INT_MAX = 0x7fff_ffff;

export function btfLoad(
  machine: Machine,
  attr: { readonly btf: Uint8Array; readonly btfFlags?: number; readonly btfTokenFd?: Fd },
): Fd {
  const flags = attr.btfFlags ?? 0;
  if ((flags & ~TOKEN_FLAG) !== 0 || (flags !== 0 && !machine.release.isSince('6.9')))
    throw new BpfError('EINVAL', `unknown flags of BTF_LOAD: 0x${flags.toString(16)}`);
  const who = credentialsWith(machine, flags, attr.btfTokenFd, { command: BPF_CMD.BPF_BTF_LOAD });
  if (!holds(who, 'bpf')) throw new BpfError('EPERM', 'loading BTF needs CAP_BPF');
  if (attr.btf.length > MAX_BTF_BYTES)
    throw new BpfError('E2BIG', `BTF of ${attr.btf.length} bytes: at most ${MAX_BTF_BYTES} are taken`);
  const bytes = attr.btf.slice();
  const btf = parseBtf(bytes);
  checkBtf(btf);
  if (btf.typeCount <= 1) throw new BpfError('EINVAL', 'the BTF has no types');
  checkBtfKinds(machine.release, btf);
  return machine.fds.install(new BtfObject(btf, bytes, machine.btfs));
}

export function objPin(machine: Machine, attr: { pathname: string; bpfFd: Fd }): void {
  const object = machine.fds.object(attr.bpfFd);
  if (!(object instanceof MapObject || object instanceof ProgObject || object instanceof LinkObject)) {
    const what = object === undefined ? `descriptor ${attr.bpfFd}, which is not open,` : `a ${object.what}`;
    throw new BpfError('EINVAL', `${what} cannot be pinned: maps, programs and links can`);
  }
  machine.bpffs.pin(attr.pathname, object);
}

export function objGet(machine: Machine, attr: { pathname: string; fileFlags?: number }): Fd {
  const mode = modeOf(attr.fileFlags ?? 0);
  return machine.fds.install(machine.bpffs.object(attr.pathname).get(), mode);
}

function tables(machine: Machine): Record<ObjectKind, IdTable<KernelObject>> {
  return { prog: machine.programs, map: machine.maps, link: machine.links, btf: machine.btfs } as never;
}

export function objGetNextId(machine: Machine, attr: { kind: ObjectKind; startId: number }): number | null {
  if (!holds(machine.credentials, 'sys_admin'))
    throw new BpfError('EPERM', 'walking ids needs CAP_SYS_ADMIN');
  if (!Number.isInteger(attr.startId) || attr.startId < 0 || attr.startId >= INT_MAX)
    throw new BpfError('EINVAL', `${attr.startId} is no id to start from`);
  return tables(machine)[attr.kind].after(attr.startId);
}

export function objGetFdById(
  machine: Machine,
  attr: { kind: ObjectKind; id: number; openFlags?: number; fdByIdTokenFd?: Fd },
): Fd {
  const byToken = attr.kind === 'btf' && machine.release.isSince('6.15') ? TOKEN_FLAG : 0;
  const use = { command: BPF_CMD.BPF_BTF_GET_FD_BY_ID };
  const flags = attr.openFlags ?? 0;
  if (!holds(credentialsWith(machine, flags & byToken, attr.fdByIdTokenFd, use), 'sys_admin'))
    throw new BpfError('EPERM', 'opening by id needs CAP_SYS_ADMIN');
  if ((flags & ~byToken) !== 0 && attr.kind !== 'map')
    throw new BpfError('EINVAL', `a ${attr.kind} has no access rights to choose: open_flags must be 0`);
  const object = tables(machine)[attr.kind].find(attr.id);
  if (object === undefined) throw new BpfError('ENOENT', `there is no ${attr.kind} with id ${attr.id}`);
  return machine.fds.install(object.get(), modeOf(flags & ~byToken));
}

export function objGetInfoByFd(machine: Machine, attr: { bpfFd: Fd }): ObjectInfo {
  const object = machine.fds.object(attr.bpfFd);
  if (object === undefined) throw new BpfError('EBADFD', `descriptor ${attr.bpfFd} is not open`);
  if (object instanceof MapObject) return mapInfo(object);
  if (object instanceof ProgObject) return progInfo(object, holds(machine.credentials, 'bpf'));
  if (object instanceof LinkObject) return { kind: 'link', ...object.info() };
  if (object instanceof BtfObject)
    return { kind: 'btf', id: object.id, name: '', kernelBtf: false, data: object.bytes.slice() };
  if (object instanceof TokenObject && machine.release.isSince('6.17'))
    return { kind: 'token', id: 0, ...object.allowed };
  throw new BpfError('EINVAL', `a ${object.what} has no info`);
}

function mapInfo(object: MapObject): ObjectInfo {
  const { info } = object.map;
  return {
    kind: 'map',
    type: info.type.id,
    id: info.id,
    keySize: info.keySize,
    valueSize: info.valueSize,
    maxEntries: info.maxEntries,
    mapFlags: info.flags,
    name: info.name,
    btfId: object.parts.btf?.object.id ?? 0,
    btfKeyTypeId: object.parts.btf?.keyTypeId ?? 0,
    btfValueTypeId: object.parts.btf?.valueTypeId ?? 0,
    btfVmlinuxValueTypeId: object.parts.vmlinuxValueTypeId ?? 0,
    mapExtra: object.parts.mapExtra,
    ifindex: 0,
    memlock: object.map.memory,
    frozen: object.frozen,
  };
}

/** The code, source or compiled, is shown to those with CAP_BPF only. */
function progInfo(program: ProgObject, code: boolean): ObjectInfo {
  const { parts } = program;
  const jited = parts.executable.engine === 'jit';
  return {
    kind: 'prog',
    type: parts.type.id,
    id: program.id,
    tag: parts.tag,
    name: parts.name,
    jited,
    jitedProgLen: code ? parts.executable.codeSize : 0,
    xlatedInsns: code ? parts.xlated : new Uint8Array(),
    loadTime: parts.loadTime,
    createdByUid: parts.uid,
    mapIds: program.maps.map((map) => map.id),
    gplCompatible: parts.gplCompatible,
    btfId: parts.btf?.id ?? 0,
    funcInfo: parts.funcInfo,
    lineInfo: parts.lineInfo,
    runTimeNs: BigInt(Math.round(program.runTimeNs)),
    runCnt: BigInt(program.runCount),
    recursionMisses: BigInt(program.recursionMisses),
    verifiedInsns: parts.stats.insnsProcessed,
    attachBtfId: parts.attachBtfId,
    // Made when somebody looks.
    get jitedDump() {
      return jited && code ? parts.executable.dump() : '';
    },
    get jitedListing() {
      return jited && code ? jitedListing(parts) : [];
    },
    get jitedInsns() {
      return jited && code ? (parts.executable.code?.() ?? new Uint8Array()) : new Uint8Array();
    },
    ...(parts.executable.cached === undefined ? {} : { jitCached: parts.executable.cached }),
  };
}

function modeOf(flags: number): FdMode {
  const { BPF_F_RDONLY, BPF_F_WRONLY } = BPF_MAP_FLAGS;
  if ((flags & ~(BPF_F_RDONLY | BPF_F_WRONLY)) !== 0)
    throw new BpfError('EINVAL', `unknown file flags 0x${flags.toString(16)}`);
  if (flags & BPF_F_RDONLY && flags & BPF_F_WRONLY)
    throw new BpfError('EINVAL', 'a descriptor cannot be both read-only and write-only');
  return { read: !(flags & BPF_F_WRONLY), write: !(flags & BPF_F_RDONLY) };
}
