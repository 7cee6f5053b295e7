/**
 * The `Kernel` contract on the Linux that the tests run on, as far as the contract suite asks for it: a child process makes the
 * calls (bpf_raw.py) in namespaces of its own, and every method waits for its answer.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type {
  Fd,
  LinkCreateAttr,
  LinkUpdateAttr,
  MapBatchAttr,
  MapBatchResult,
  MapCreateAttr,
  MapElemAttr,
  MapInfoAttr,
  MapUpdateAttr,
  ObjectInfo,
  ObjectKind,
  PerfEventAttr,
  ProgInfo,
  ProgLoadAttr,
  ProgTestRunAttr,
  ProgTestRunResult,
} from '../../src/contracts/kernel.ts';
import { BPF_CMD, BPF_PROG_TYPE } from '../../src/uapi/index.ts';
import { errnoName } from '../../src/util/errno.ts';
import { alignUp, BpfError, fromHex, readCString, toHex, utf8, VerifierError } from '../../src/util/index.ts';

interface Answer {
  readonly ret: number;
  readonly attr: string;
  readonly bufs: readonly string[];
  readonly names?: string[];
}

interface Field {
  readonly at: number;
  readonly size: 4 | 8;
  readonly value: number | bigint;
}

const u32 = (at: number, value = 0): Field => ({ at, size: 4, value });
const u64 = (at: number, value: bigint | number = 0): Field => ({ at, size: 8, value });

interface Call {
  readonly fields: readonly Field[];
  readonly text?: { readonly at: number; readonly text: string };
  /** Offset of a pointer → the bytes behind it; null: NULL. */
  readonly pointers?: readonly (readonly [number, Uint8Array | null])[];
}

interface Result {
  readonly ret: number;
  readonly view: DataView;
  /** The buffers behind the pointers, in order; empty for NULL. */
  readonly bufs: readonly Uint8Array[];
}

const ATTR_SIZE = 168;
const INFO_SIZE = 256;
const NEXT_ID = {
  prog: BPF_CMD.BPF_PROG_GET_NEXT_ID,
  map: BPF_CMD.BPF_MAP_GET_NEXT_ID,
  link: BPF_CMD.BPF_LINK_GET_NEXT_ID,
  btf: BPF_CMD.BPF_BTF_GET_NEXT_ID,
};
const FD_BY_ID = {
  prog: BPF_CMD.BPF_PROG_GET_FD_BY_ID,
  map: BPF_CMD.BPF_MAP_GET_FD_BY_ID,
  link: BPF_CMD.BPF_LINK_GET_FD_BY_ID,
  btf: BPF_CMD.BPF_BTF_GET_FD_BY_ID,
};

export class LinuxKernel {
  readonly simulator = null;
  /** An empty bpffs of our own. */
  readonly bpffs: string;
  /** An interface of our own. */
  readonly ifindex: number;
  readonly cpus: number;
  readonly #directory: string;
  readonly #requests: number;
  readonly #answers: number;
  readonly #kinds = new Map<number, ObjectKind | 'other'>();
  /** Descriptors of programs whose context is copied back to where it came from. */
  readonly #syscallPrograms = new Set<Fd>();
  readonly #maps = new Map<number, { keySize: number; valueSize: number }>();
  #pending = '';

  /** Throws where the machine does not allow it: see `whyNoProbe`. */
  constructor() {
    this.#directory = mkdtempSync(join(tmpdir(), 'tsbpf-kernel-'));
    this.bpffs = join(this.#directory, 'bpf');
    const pipes = ['requests', 'answers'].map((name) => join(this.#directory, name));
    execFileSync('mkdir', [this.bpffs]);
    execFileSync('mkfifo', pipes);
    const script = fileURLToPath(new URL('./bpf_raw.py', import.meta.url));
    spawn('python3', [script, ...pipes, this.bpffs], { stdio: ['ignore', 'ignore', 'inherit'] }).unref();
    this.#requests = openSync(pipes[0], 'w');
    this.#answers = openSync(pipes[1], 'r');
    const hello = JSON.parse(this.#line());
    this.ifindex = hello.ifindex;
    this.cpus = hello.cpus;
    if (hello.why !== '') {
      this.shutdown();
      throw new Error(hello.why);
    }
  }

  shutdown(): void {
    closeSync(this.#requests);
    closeSync(this.#answers);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  // maps

  mapCreate(attr: MapCreateAttr): Fd {
    const { ret } = this.#bpf(BPF_CMD.BPF_MAP_CREATE, {
      fields: [
        u32(0, attr.mapType),
        u32(4, attr.keySize),
        u32(8, attr.valueSize),
        u32(12, attr.maxEntries),
        u32(16, attr.mapFlags),
        u32(20, attr.innerMapFd),
        u32(24, attr.numaNode),
        u32(44, attr.mapIfindex),
        u32(48, attr.btfFd),
        u32(52, attr.btfKeyTypeId),
        u32(56, attr.btfValueTypeId),
        u64(64, attr.mapExtra),
      ],
      text: { at: 28, text: attr.mapName ?? '' },
    });
    this.#kinds.set(ret, 'map');
    this.#maps.delete(ret);
    return ret;
  }

  mapLookupElem(attr: MapElemAttr): Uint8Array | null {
    return this.#elem(BPF_CMD.BPF_MAP_LOOKUP_ELEM, attr);
  }
  mapLookupAndDeleteElem(attr: MapElemAttr): Uint8Array | null {
    return this.#elem(BPF_CMD.BPF_MAP_LOOKUP_AND_DELETE_ELEM, attr);
  }
  mapUpdateElem(attr: MapUpdateAttr): void {
    this.#bpf(BPF_CMD.BPF_MAP_UPDATE_ELEM, {
      fields: [u32(0, attr.mapFd), u64(24, attr.flags)],
      pointers: [
        [8, keyOf(attr.key)],
        [16, attr.value],
      ],
    });
  }
  mapDeleteElem(attr: MapElemAttr): void {
    this.#bpf(BPF_CMD.BPF_MAP_DELETE_ELEM, {
      fields: [u32(0, attr.mapFd), u64(24, attr.flags)],
      pointers: [[8, keyOf(attr.key)]],
    });
  }
  mapGetNextKey(attr: { mapFd: Fd; key: Uint8Array | null }): Uint8Array | null {
    const { keySize } = this.#shape(attr.mapFd);
    const result = this.#find(BPF_CMD.BPF_MAP_GET_NEXT_KEY, {
      fields: [u32(0, attr.mapFd)],
      pointers: [
        [8, attr.key],
        [16, new Uint8Array(keySize)],
      ],
    });
    return result === null ? null : result.bufs[1];
  }
  mapLookupBatch(attr: MapBatchAttr): MapBatchResult {
    return this.#batch(BPF_CMD.BPF_MAP_LOOKUP_BATCH, attr);
  }
  mapLookupAndDeleteBatch(attr: MapBatchAttr): MapBatchResult {
    return this.#batch(BPF_CMD.BPF_MAP_LOOKUP_AND_DELETE_BATCH, attr);
  }
  mapUpdateBatch(attr: {
    mapFd: Fd;
    keys: readonly Uint8Array[];
    values: readonly Uint8Array[];
    elemFlags?: number;
  }): number {
    const { view } = this.#bpf(BPF_CMD.BPF_MAP_UPDATE_BATCH, {
      fields: [u32(32, attr.keys.length), u32(36, attr.mapFd), u64(40, attr.elemFlags)],
      pointers: [
        [16, join_(attr.keys)],
        [24, join_(attr.values)],
      ],
    });
    return view.getUint32(32, true);
  }
  mapDeleteBatch(attr: { mapFd: Fd; keys: readonly Uint8Array[]; elemFlags?: number }): number {
    const { view } = this.#bpf(BPF_CMD.BPF_MAP_DELETE_BATCH, {
      fields: [u32(32, attr.keys.length), u32(36, attr.mapFd), u64(40, attr.elemFlags)],
      pointers: [[16, join_(attr.keys)]],
    });
    return view.getUint32(32, true);
  }
  mapFreeze(attr: { mapFd: Fd }): void {
    this.#bpf(BPF_CMD.BPF_MAP_FREEZE, { fields: [u32(0, attr.mapFd)] });
  }

  // programs

  async progLoadAsync(attr: ProgLoadAttr, options: { signal?: AbortSignal } = {}): Promise<Fd> {
    if (options.signal?.aborted) throw new BpfError('ECANCELED', 'given up');
    return this.progLoad(attr);
  }

  progLoad(attr: ProgLoadAttr): Fd {
    const log = new Uint8Array(attr.logLevel ? (attr.logSize ?? 1 << 16) : 1 << 16);
    const answer = this.#call(BPF_CMD.BPF_PROG_LOAD, {
      fields: [
        u32(0, attr.progType),
        u32(4, attr.insns.length / 8),
        u32(24, attr.logLevel || 1),
        u32(28, log.length),
        u32(44, attr.progFlags),
        u32(64, attr.progIfindex),
        u32(68, attr.expectedAttachType),
        u32(72, attr.progBtfFd),
        u32(76, attr.funcInfo === undefined ? 0 : (attr.funcInfoRecSize ?? 8)),
        u32(88, (attr.funcInfo?.length ?? 0) / 8),
        u32(92, attr.lineInfo === undefined ? 0 : (attr.lineInfoRecSize ?? 16)),
        u32(104, (attr.lineInfo?.length ?? 0) / 16),
        u32(108, attr.attachBtfId),
      ],
      text: { at: 48, text: attr.progName ?? '' },
      pointers: [
        [8, attr.insns],
        [16, utf8(`${attr.license}\0`)],
        [32, log],
        [80, attr.funcInfo ?? null],
        [96, attr.lineInfo ?? null],
      ],
    });
    const text = readCString(answer.bufs[2]);
    attr.onLog?.(text);
    if (answer.ret < 0 && text !== '')
      throw new VerifierError(errnoName(-answer.ret), text, { log: text, insn: -1 });
    if (answer.ret < 0) throw BpfError.fromReturn(answer.ret, 'PROG_LOAD');
    this.#kinds.set(answer.ret, 'prog');
    if (attr.progType === BPF_PROG_TYPE.BPF_PROG_TYPE_SYSCALL) this.#syscallPrograms.add(answer.ret);
    else this.#syscallPrograms.delete(answer.ret);
    return answer.ret;
  }

  progTestRun(attr: ProgTestRunAttr): ProgTestRunResult {
    const dataOut = new Uint8Array(attr.dataSizeOut ?? (attr.dataIn?.length ?? 0) + 512);
    const inPlace = this.#syscallPrograms.has(attr.progFd);
    const ctxOut = new Uint8Array(attr.ctxSizeOut ?? (attr.ctxIn === undefined || inPlace ? 0 : 256));
    const { view, bufs } = this.#bpf(BPF_CMD.BPF_PROG_TEST_RUN, {
      fields: [
        u32(0, attr.progFd),
        u32(8, attr.dataIn?.length),
        u32(12, attr.dataIn === undefined ? (attr.dataSizeOut ?? 0) : dataOut.length),
        u32(32, attr.repeat),
        u32(40, attr.ctxIn?.length),
        u32(44, ctxOut.length),
        u32(64, attr.flags),
        u32(68, attr.cpu),
        u32(72, attr.batchSize),
      ],
      pointers: [
        [16, attr.dataIn ?? null],
        [24, attr.dataIn === undefined || dataOut.length === 0 ? null : dataOut],
        [48, attr.ctxIn ?? null],
        [56, ctxOut.length === 0 ? null : ctxOut],
      ],
    });
    return {
      retval: view.getUint32(4, true),
      duration: view.getUint32(36, true),
      dataOut: bufs[1].subarray(0, view.getUint32(12, true)),
      ctxOut: inPlace ? bufs[2] : bufs[3].subarray(0, view.getUint32(44, true)),
    };
  }

  progBindMap(attr: { progFd: Fd; mapFd: Fd; flags?: number }): void {
    this.#bpf(BPF_CMD.BPF_PROG_BIND_MAP, {
      fields: [u32(0, attr.progFd), u32(4, attr.mapFd), u32(8, attr.flags)],
    });
  }

  // links

  linkCreate(attr: LinkCreateAttr): Fd {
    const fields = [
      u32(0, attr.progFd),
      u32(4, attr.targetFd ?? attr.targetIfindex ?? 0),
      u32(8, attr.attachType),
      u32(12, attr.flags),
    ];
    if (attr.bpfCookie !== undefined) fields.push(u64(16, attr.bpfCookie));
    const { ret } = this.#bpf(BPF_CMD.BPF_LINK_CREATE, { fields });
    this.#kinds.set(ret, 'link');
    return ret;
  }
  linkUpdate(attr: LinkUpdateAttr): void {
    this.#bpf(BPF_CMD.BPF_LINK_UPDATE, {
      fields: [u32(0, attr.linkFd), u32(4, attr.newProgFd), u32(8, attr.flags), u32(12, attr.oldProgFd)],
    });
  }
  linkDetach(attr: { linkFd: Fd }): void {
    this.#bpf(BPF_CMD.BPF_LINK_DETACH, { fields: [u32(0, attr.linkFd)] });
  }
  rawTracepointOpen(attr: { name: string | null; progFd: Fd; cookie?: bigint }): Fd {
    const { ret } = this.#bpf(BPF_CMD.BPF_RAW_TRACEPOINT_OPEN, {
      fields: [u32(8, attr.progFd), u64(16, attr.cookie)],
      pointers: [[0, attr.name === null ? null : utf8(`${attr.name}\0`)]],
    });
    this.#kinds.set(ret, 'link');
    return ret;
  }

  // BTF, pins, ids

  btfLoad(attr: { btf: Uint8Array }): Fd {
    const { ret } = this.#bpf(BPF_CMD.BPF_BTF_LOAD, {
      fields: [u32(16, attr.btf.length)],
      pointers: [[0, attr.btf]],
    });
    this.#kinds.set(ret, 'btf');
    return ret;
  }
  objPin(attr: { pathname: string; bpfFd: Fd }): void {
    this.#bpf(BPF_CMD.BPF_OBJ_PIN, {
      fields: [u32(8, attr.bpfFd)],
      pointers: [[0, utf8(`${attr.pathname}\0`)]],
    });
  }
  objGet(attr: { pathname: string; fileFlags?: number }): Fd {
    const { ret } = this.#bpf(BPF_CMD.BPF_OBJ_GET, {
      fields: [u32(12, attr.fileFlags)],
      pointers: [[0, utf8(`${attr.pathname}\0`)]],
    });
    this.#kinds.delete(ret);
    return ret;
  }
  objGetNextId(attr: { kind: ObjectKind; startId: number }): number | null {
    const result = this.#find(NEXT_ID[attr.kind], { fields: [u32(0, attr.startId)] });
    return result === null ? null : result.view.getUint32(4, true);
  }
  objGetFdById(attr: { kind: ObjectKind; id: number; openFlags?: number }): Fd {
    const { ret } = this.#bpf(FD_BY_ID[attr.kind], { fields: [u32(0, attr.id), u32(8, attr.openFlags)] });
    this.#kinds.set(ret, attr.kind);
    return ret;
  }
  objGetInfoByFd(attr: { bpfFd: Fd }): ObjectInfo {
    const { bufs } = this.#bpf(BPF_CMD.BPF_OBJ_GET_INFO_BY_FD, {
      fields: [u32(0, attr.bpfFd), u32(4, INFO_SIZE)],
      pointers: [[8, new Uint8Array(INFO_SIZE)]],
    });
    const view = new DataView(bufs[0].buffer, bufs[0].byteOffset);
    const at = (offset: number) => view.getUint32(offset, true);
    const kind = this.#kinds.get(attr.bpfFd) ?? 'map';
    // Only what the suite compares is decoded.
    if (kind === 'prog') {
      const info: Partial<ProgInfo> = {
        type: at(0),
        id: at(4),
        tag: toHex(bufs[0].subarray(8, 16)),
        createdByUid: at(48),
        name: readCString(bufs[0], 64, 80),
        gplCompatible: (at(84) & 1) !== 0,
        btfId: at(128),
        verifiedInsns: at(216),
      };
      return { kind: 'prog', mapIds: this.#mapIds(attr.bpfFd, at(52)), ...info } as ObjectInfo;
    }
    if (kind === 'link') return { kind: 'link', type: at(0), id: at(4), progId: at(8), details: {} };
    if (kind === 'btf')
      return { kind: 'btf', id: at(12), name: '', kernelBtf: false, data: new Uint8Array(at(8)) };
    const info: Partial<MapInfoAttr> = {
      type: at(0),
      id: at(4),
      keySize: at(8),
      valueSize: at(12),
      maxEntries: at(16),
      mapFlags: at(20),
      name: readCString(bufs[0], 24, 40),
      btfId: at(64),
      btfKeyTypeId: at(68),
      btfValueTypeId: at(72),
      mapExtra: view.getBigUint64(80, true),
    };
    return { kind: 'map', ...info } as ObjectInfo;
  }

  // beside bpf(2)

  close(fd: Fd): void {
    this.#kinds.delete(fd);
    this.#maps.delete(fd);
    this.#plain({ close: fd }, 'close');
  }
  unlink(pathname: string): void {
    this.#plain({ unlink: pathname }, 'unlink');
  }
  mkdir(pathname: string): void {
    this.#plain({ mkdir: pathname }, 'mkdir');
  }
  link(existing: string, pathname: string): void {
    this.#plain({ link: [existing, pathname] }, 'link');
  }
  symlink(target: string, pathname: string): void {
    this.#plain({ symlink: [target, pathname] }, 'symlink');
  }
  readdir(pathname: string): string[] {
    return this.#plain({ readdir: pathname }, 'readdir').names ?? [];
  }
  socketAttach(attr: { progFd: Fd }): Fd {
    return this.#plain({ socketpair: attr.progFd }, 'SO_ATTACH_BPF').ret;
  }
  perfEventOpen(attr: PerfEventAttr): Fd {
    if (attr.kind !== 'bpf_output') throw new BpfError('EOPNOTSUPP', 'only rings');
    const bytes = new Uint8Array(112);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 1, true);
    view.setUint32(4, 112, true);
    view.setBigUint64(8, 10n, true);
    view.setBigUint64(24, 1n << 10n, true);
    return this.#plain({ perf: toHex(bytes), pid: -1, cpu: attr.cpu }, 'perf_event_open').ret;
  }
  features(): { kind: 'host'; release: string; possibleCpus: number } {
    return { kind: 'host', release: release(), possibleCpus: this.cpus };
  }

  #mapIds(fd: Fd, count: number): number[] {
    if (count === 0) return [];
    const info = new Uint8Array(INFO_SIZE);
    new DataView(info.buffer).setUint32(52, count, true);
    const ids = new Uint8Array(4 * count);
    const answer = this.#request({
      cmd: BPF_CMD.BPF_OBJ_GET_INFO_BY_FD,
      attr: toHex(pack([u32(0, fd), u32(4, INFO_SIZE)])),
      bufs: [toHex(info), toHex(ids)],
      ptrs: [[8, 0]],
      nested: [[0, 56, 1]],
    });
    const bytes = fromHex(answer.bufs[1])!;
    return Array.from({ length: count }, (_, i) => new DataView(bytes.buffer).getUint32(4 * i, true));
  }

  #elem(cmd: number, attr: MapElemAttr): Uint8Array | null {
    const { valueSize } = this.#shape(attr.mapFd);
    const result = this.#find(cmd, {
      fields: [u32(0, attr.mapFd), u64(24, attr.flags)],
      pointers: [
        [8, keyOf(attr.key)],
        [16, new Uint8Array(valueSize)],
      ],
    });
    return result === null ? null : result.bufs[1];
  }

  #batch(cmd: number, attr: MapBatchAttr): MapBatchResult {
    const { keySize, valueSize } = this.#shape(attr.mapFd);
    const token = Math.max(keySize, 4);
    const answer = this.#call(cmd, {
      fields: [u32(32, attr.count), u32(36, attr.mapFd), u64(40, attr.elemFlags), u64(48, attr.flags)],
      pointers: [
        [0, attr.inBatch ?? null],
        [8, new Uint8Array(token)],
        [16, new Uint8Array(keySize * attr.count)],
        [24, new Uint8Array(valueSize * attr.count)],
      ],
    });
    // ENOENT: the end; what there was has been delivered.
    if (answer.ret < 0 && answer.ret !== -2) throw BpfError.fromReturn(answer.ret, 'batch');
    const done = answer.view.getUint32(32, true);
    const part = (bytes: Uint8Array, size: number) =>
      Array.from({ length: done }, (_, i) => bytes.slice(i * size, (i + 1) * size));
    return {
      keys: part(answer.bufs[2], keySize),
      values: part(answer.bufs[3], valueSize),
      outBatch: answer.ret < 0 ? null : answer.bufs[1],
    };
  }

  #shape(fd: Fd): { keySize: number; valueSize: number } {
    let shape = this.#maps.get(fd);
    if (shape === undefined) {
      const info = this.objGetInfoByFd({ bpfFd: fd });
      if (info.kind !== 'map') throw new BpfError('EINVAL', 'not a map');
      const perCpu = [5, 6, 10, 21].includes(info.type);
      shape = {
        keySize: info.keySize,
        valueSize: perCpu ? alignUp(info.valueSize, 8) * this.cpus : info.valueSize,
      };
      this.#maps.set(fd, shape);
    }
    return shape;
  }

  #find(cmd: number, call: Call): Result | null {
    const result = this.#call(cmd, call);
    if (result.ret === -2) return null;
    if (result.ret < 0) throw BpfError.fromReturn(result.ret, `bpf command ${cmd}`);
    return result;
  }

  #bpf(cmd: number, call: Call): Result {
    const result = this.#call(cmd, call);
    if (result.ret < 0) throw BpfError.fromReturn(result.ret, `bpf command ${cmd}`);
    return result;
  }

  #call(cmd: number, call: Call): Result {
    const attr = pack(call.fields);
    if (call.text !== undefined) attr.set(utf8(call.text.text).subarray(0, 16), call.text.at);
    const bufs: string[] = [];
    const ptrs: [number, number][] = [];
    for (const [at, bytes] of call.pointers ?? []) {
      if (bytes !== null) ptrs.push([at, bufs.length]);
      bufs.push(toHex(bytes ?? new Uint8Array()));
    }
    const answer = this.#request({ cmd, attr: toHex(attr), bufs, ptrs });
    return {
      ret: answer.ret,
      view: new DataView(fromHex(answer.attr)!.buffer),
      bufs: answer.bufs.map((hex) => fromHex(hex)!),
    };
  }

  #plain(request: object, what: string): Answer {
    const answer = this.#request(request);
    if (answer.ret < 0) throw BpfError.fromReturn(answer.ret, what);
    return answer;
  }

  #request(request: object): Answer {
    writeSync(this.#requests, `${JSON.stringify(request)}\n`);
    return JSON.parse(this.#line());
  }

  #line(): string {
    const chunk = Buffer.alloc(1 << 16);
    for (;;) {
      const end = this.#pending.indexOf('\n');
      if (end >= 0) {
        const line = this.#pending.slice(0, end);
        this.#pending = this.#pending.slice(end + 1);
        return line;
      }
      const size = readSync(this.#answers, chunk);
      if (size === 0) throw new Error('bpf_raw.py died');
      this.#pending += chunk.toString('latin1', 0, size);
    }
  }
}

function pack(fields: readonly Field[]): Uint8Array {
  const bytes = new Uint8Array(ATTR_SIZE);
  const view = new DataView(bytes.buffer);
  for (const { at, size, value } of fields) {
    if (size === 4) view.setUint32(at, Number(value) >>> 0, true);
    else view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
  }
  return bytes;
}

function keyOf(key: Uint8Array): Uint8Array | null {
  return key.length === 0 ? null : key;
}

function join_(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
