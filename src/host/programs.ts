/** Program commands over bpf(2): loading with a log of whatever size it takes, test runs, attachments without links. */
import type { Fd, ProgLoadAttr, ProgTestRunAttr, ProgTestRunResult } from '../contracts/kernel.ts';
import { helperById, progTypeById } from '../spec/index.ts';
import { readCString } from '../util/bytes.ts';
import { ERRNO, errnoName } from '../util/errno.ts';
import { BpfError, type SourceLocation, UnsupportedFeatureError } from '../util/errors.ts';
import type { Frame } from './arena.ts';
import type { AttrValues } from './bpf.ts';
import type { Host } from './host.ts';
import { btfInfo } from './info.ts';
import { lackingInsn } from './lacking.ts';
import { viewOf } from './layout.ts';
import { checkName } from './maps.ts';
import { verifierError } from './verifier-log.ts';

const CALL = 0x85;
const FIRST_LOG = 1 << 16;
/** As large as kernels before 5.13 allow. */
const MAX_LOG = (1 << 24) - 1;
const ATTEMPTS = 5;
const FUNC_INFO_SIZE = 8;
const LINE_INFO_SIZE = 16;
/** More than a program may add to a packet. */
const PACKET_GROWTH = 4096;
/** More than the largest context that is given back (struct __sk_buff). */
const CTX_ROOM = 256;

/** PROG_LOAD. A program is first loaded without a log; only what is refused is verified again with one. */
export function progLoad(host: Host, attr: ProgLoadAttr): Fd {
  checkName(attr.progName);
  if (attr.insns.length % 8 !== 0)
    throw new BpfError('EINVAL', `${attr.insns.length} bytes are no whole number of instructions`);
  const wanted = attr.logLevel ?? 0;
  const plain = wanted === 0 ? attempt(host, attr, 0, 0) : undefined;
  const outcome = plain !== undefined && plain.ret >= 0 ? plain : withLog(host, attr, wanted || 1);
  if (outcome.log !== '') attr.onLog?.(outcome.log);
  if (outcome.ret >= 0) {
    for (const tracepoint of tracepointsOf(attr.insns)) host.tracefs.enable(tracepoint);
    return host.fds.own(outcome.ret, { kind: 'prog', progType: attr.progType });
  }
  // A log that does not fit is an error of its own and hides the verifier's; its end, with the reason, is there all the same.
  const hidden = outcome.ret === -ERRNO.ENOSPC && plain !== undefined;
  throw refusal(host, attr, hidden ? { ...outcome, ret: plain.ret } : outcome);
}

/**
 * Tracepoints through which a program writes. Linux turns them on at load, but newer kernels leave that to a work queue, some
 * time after PROG_LOAD has returned: what the program writes until then is lost.
 */
function tracepointsOf(insns: Uint8Array): Set<string> {
  const found = new Set<string>();
  const view = viewOf(insns);
  for (let at = 0; at < insns.length; at += 8) {
    // The source register says what is called: 0 is a helper.
    if (insns[at] !== CALL || insns[at + 1] >> 4 !== 0) continue;
    const tracepoint = helperById(view.getInt32(at + 4, true))?.tracepoint;
    if (tracepoint !== undefined) found.add(tracepoint);
  }
  return found;
}

interface Outcome {
  readonly ret: number;
  readonly log: string;
  /** Bytes that the log needs, 0 where the kernel does not tell (before 6.4). */
  readonly needed: number;
  readonly values: AttrValues;
}

/** Grows the buffer until the log fits, unless the caller says how large it is. */
function withLog(host: Host, attr: ProgLoadAttr, level: number): Outcome {
  if (attr.logSize !== undefined) return attempt(host, attr, level, attr.logSize);
  for (let size = FIRST_LOG; ; ) {
    const outcome = attempt(host, attr, level, size);
    if (outcome.ret !== -ERRNO.ENOSPC || size === MAX_LOG) return outcome;
    size = Math.min(MAX_LOG, outcome.needed > size ? outcome.needed : size * 8);
  }
}

/** The verifier gives up when a signal comes (EAGAIN): then it is asked again, as libbpf does. */
function attempt(host: Host, attr: ProgLoadAttr, level: number, size: number): Outcome {
  let outcome = attemptOnce(host, attr, level, size);
  for (let tries = 1; tries < ATTEMPTS && outcome.ret === -ERRNO.EAGAIN; tries++)
    outcome = attemptOnce(host, attr, level, size);
  return outcome;
}

function attemptOnce(host: Host, attr: ProgLoadAttr, level: number, size: number): Outcome {
  return host.bpf.scope((frame) => {
    const log = level === 0 ? undefined : frame.room(size);
    const values = loadValues(frame, attr, level, log?.address ?? 0, log === undefined ? 0 : size);
    const reply = host.bpf.try(frame, 'BPF_PROG_LOAD', values);
    return {
      ret: reply.ret,
      log: log === undefined ? '' : readCString(log.bytes),
      needed: reply.field('logTrueSize'),
      values,
    };
  });
}

function loadValues(
  frame: Frame,
  attr: ProgLoadAttr,
  logLevel: number,
  logBuf: number,
  logSize: number,
): AttrValues {
  const funcs = attr.funcInfo ?? new Uint8Array();
  const lines = attr.lineInfo ?? new Uint8Array();
  const funcSize = attr.funcInfoRecSize ?? FUNC_INFO_SIZE;
  const lineSize = attr.lineInfoRecSize ?? LINE_INFO_SIZE;
  const fds =
    attr.fdArray === undefined ? undefined : frame.put(new Uint8Array(Int32Array.from(attr.fdArray).buffer));
  const address = (bytes: Uint8Array | undefined) =>
    bytes === undefined || bytes.length === 0 ? 0 : frame.put(bytes).address;
  return {
    progType: attr.progType,
    insnCnt: Math.floor(attr.insns.length / 8),
    insns: address(attr.insns),
    license: frame.text(attr.license).address,
    logLevel,
    logSize,
    logBuf,
    kernVersion: attr.kernVersion,
    progFlags: attr.progFlags,
    progName: attr.progName,
    progIfindex: attr.progIfindex,
    expectedAttachType: attr.expectedAttachType,
    progBtfFd: attr.progBtfFd,
    funcInfoRecSize: funcs.length === 0 ? 0 : funcSize,
    funcInfo: address(funcs),
    funcInfoCnt: Math.floor(funcs.length / funcSize),
    lineInfoRecSize: lines.length === 0 ? 0 : lineSize,
    lineInfo: address(lines),
    lineInfoCnt: Math.floor(lines.length / lineSize),
    attachBtfId: attr.attachBtfId,
    ...(attr.attachProgFd === undefined ? {} : { attachProgFd: attr.attachProgFd }),
    ...(attr.attachBtfObjFd === undefined ? {} : { attachBtfObjFd: attr.attachBtfObjFd }),
    fdArray: fds?.address,
    fdArrayCnt: attr.fdArrayCnt,
    coreRelos: address(attr.coreRelos),
    coreReloCnt: Math.floor((attr.coreRelos?.length ?? 0) / (attr.coreReloRecSize ?? 16)),
    coreReloRecSize: attr.coreRelos === undefined ? 0 : (attr.coreReloRecSize ?? 16),
    progTokenFd: attr.progTokenFd,
    signature: address(attr.signature),
    signatureSize: attr.signature?.length,
    keyringId: attr.keyringId,
  };
}

/** The verifier's reason where it gave one, else what the command says; what the kernel is too old for, by name. */
function refusal(host: Host, attr: ProgLoadAttr, outcome: Outcome): Error {
  const code = errnoName(-outcome.ret);
  if (outcome.ret !== -ERRNO.ENOSPC) {
    const error = verifierError(code, outcome.log, (insn) => lineOf(host, attr, insn));
    if (error !== null) {
      const lacking = lackingInsn(host.native.release, attr, error.insn);
      return lacking === undefined
        ? error
        : new UnsupportedFeatureError(code, lacking, host.native.release, { cause: error });
    }
  }
  const type = progTypeById(attr.progType)?.name ?? `type ${attr.progType}`;
  const name = attr.progName ? `program '${attr.progName}'` : 'a program';
  return host.bpf.error('BPF_PROG_LOAD', outcome.ret, outcome.values, `${name} of ${type}`);
}

/** The C line of an instruction by the records that the program was loaded with: the log leaves out indentation and column. */
function lineOf(host: Host, attr: ProgLoadAttr, insn: number): SourceLocation | undefined {
  const { lineInfo, progBtfFd } = attr;
  const size = attr.lineInfoRecSize ?? LINE_INFO_SIZE;
  if (lineInfo === undefined || progBtfFd === undefined || size < LINE_INFO_SIZE) return undefined;
  const records = viewOf(lineInfo);
  let at = -1;
  for (let next = 0; next + size <= lineInfo.length && records.getUint32(next, true) <= insn; next += size)
    at = next;
  if (at < 0) return undefined;
  const { data } = btfInfo(host, progBtfFd);
  const btf = viewOf(data);
  const strings = btf.getUint32(4, true) + btf.getUint32(16, true);
  const position = records.getUint32(at + 12, true);
  return {
    file: readCString(data, strings + records.getUint32(at + 4, true)),
    text: readCString(data, strings + records.getUint32(at + 8, true)),
    line: position >>> 10,
    column: position & 0x3ff,
  };
}

export function progTestRun(host: Host, attr: ProgTestRunAttr): ProgTestRunResult {
  return host.bpf.scope((frame) => {
    const { dataIn, ctxIn } = attr;
    const data = frame.room(attr.dataSizeOut ?? (dataIn === undefined ? 0 : dataIn.length + PACKET_GROWTH));
    const ctx = frame.room(
      attr.ctxSizeOut ?? (ctxIn !== undefined && givesContext(host, attr.progFd) ? CTX_ROOM : 0),
    );
    const input = ctxIn === undefined ? undefined : frame.put(ctxIn);
    const values = {
      progFd: attr.progFd,
      dataSizeIn: dataIn?.length,
      dataIn: dataIn === undefined ? 0 : frame.put(dataIn).address,
      dataSizeOut: data.bytes.length,
      dataOut: data.bytes.length === 0 ? 0 : data.address,
      repeat: attr.repeat,
      ctxSizeIn: ctxIn?.length,
      ctxIn: input?.address,
      ctxSizeOut: ctx.bytes.length,
      ctxOut: ctx.bytes.length === 0 ? 0 : ctx.address,
      flags: attr.flags,
      cpu: attr.cpu,
      batchSize: attr.batchSize,
    };
    const reply = host.bpf.run(frame, 'BPF_PROG_TEST_RUN', values);
    const ctxOut = ctx.bytes.slice(0, reply.field('ctxSizeOut'));
    return {
      retval: reply.field('retval'),
      duration: reply.field('duration'),
      dataOut: data.bytes.slice(0, reply.field('dataSizeOut')),
      // BPF_PROG_TYPE_SYSCALL writes back to where its context came from.
      ctxOut: ctxOut.length === 0 && input !== undefined ? input.bytes.slice() : ctxOut,
    };
  });
}

/** Whether a test run gives a context back: the types with packets; the others refuse to be asked. */
function givesContext(host: Host, fd: Fd): boolean {
  const entry = host.fds.entry(fd);
  const type = entry?.progType ?? progTypeOf(host, fd);
  if (entry !== undefined && type !== undefined) entry.progType = type;
  return type !== undefined && progTypeById(type)?.testRun === 'packet';
}

function progTypeOf(host: Host, fd: Fd): number | undefined {
  return host.bpf.scope((frame) => {
    const type = frame.room(4);
    const { ret } = host.bpf.try(frame, 'BPF_OBJ_GET_INFO_BY_FD', {
      bpfFd: fd,
      infoLen: 4,
      info: type.address,
    });
    return ret < 0 ? undefined : viewOf(type.bytes).getUint32(0, true);
  });
}

export function progQuery(
  host: Host,
  attr: {
    readonly targetFd?: Fd;
    readonly targetIfindex?: number;
    readonly attachType: number;
    readonly queryFlags?: number;
  },
): ProgQueryResult {
  for (let room = 64; ; ) {
    const result = host.bpf.scope((frame) => {
      const ids = frame.room(4 * room);
      const values = { ...attr, progIds: ids.address, progCnt: room };
      const reply = host.bpf.try(frame, 'BPF_PROG_QUERY', values);
      const count = reply.field('progCnt');
      if (reply.ret === -ERRNO.ENOSPC && count > room) return count;
      if (reply.ret < 0) throw host.bpf.error('BPF_PROG_QUERY', reply.ret, values);
      const view = viewOf(ids.bytes);
      return {
        progIds: Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true)),
        attachFlags: reply.field('attachFlags'),
        revision: reply.wideField('revision'),
      };
    });
    if (typeof result !== 'number') return result;
    room = result;
  }
}

export interface ProgQueryResult {
  readonly progIds: number[];
  readonly attachFlags: number;
  /** Of the list of programs at this point (mprog); 0 before 6.6. */
  readonly revision: bigint;
}
