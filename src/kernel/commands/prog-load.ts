/**
 * PROG_LOAD, in the seven steps of the kernel's bpf_prog_load: allocate, copy, pick the type's operations, verify, resolve
 * helper ids to functions, compile, hand out a descriptor. Nothing is left behind when one of them refuses.
 */
import { decodeProgram, encodeProgram } from '../../asm/index.ts';
import type { Btf } from '../../btf/index.ts';
import { ownKernelBtf } from '../../compiler/headers/own-types.ts';
import type { ExecutableProgram } from '../../contracts/engine.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { Fd, LoadStages, ProgLoadAttr } from '../../contracts/kernel.ts';
import type { MapInfo } from '../../contracts/maps.ts';
import type {
  Credentials,
  FuncInfo,
  LineInfo,
  Rejection,
  VerifiedProgram,
  VerifyRequest,
  VerifyResult,
} from '../../contracts/verify.ts';
import { moveFunctions, moveLines, rewrite, withArguments } from '../../rewrite/index.ts';
import { attachTypeById, attachTypeByName, type ProgTypeRow, progTypeById } from '../../spec/index.ts';
import { BPF_CMD, BPF_MACROS } from '../../uapi/index.ts';
import { ERRNO } from '../../util/errno.ts';
import { BpfError, InternalError, VerifierError } from '../../util/errors.ts';
import { Annotator, explain, traces, verify } from '../../verifier/index.ts';
import { type Contents, findInput } from '../counterexample/index.ts';
import { holds } from '../credentials.ts';
import type { Machine } from '../machine.ts';
import { ownerAccepts } from '../map-resolver.ts';
import { checkObjectName } from '../names.ts';
import { BtfObject, MapObject, ProgObject } from '../objects.ts';
import { jitRequested, type Prepared, prepare } from '../prepare.ts';
import { requireNothing } from '../release.ts';
import { programTag } from '../tag.ts';
import { credentialsWith, TOKEN_FLAG } from '../token.ts';
import {
  argumentsOf,
  attachProto,
  describeTarget,
  functionsOf,
  type LoadTarget,
  taken,
  tracedFunction,
} from './program-target.ts';

/** BPF_MAXINSNS without CAP_BPF, BPF_COMPLEXITY_LIMIT_INSNS with it. */
const MAX_INSNS_UNPRIVILEGED = 4096;
const MAX_INSNS = 1_000_000;
const FUNC_INFO_SIZE = 8;
const LINE_INFO_SIZE = 16;
/** Sections of global variables that are kept for explanations. */
const MAX_GLOBALS = 1 << 20;

/** Licences that count as GPL-compatible (include/linux/license.h). */
const GPL_COMPATIBLE = new Set([
  'GPL',
  'GPL v2',
  'GPL and additional rights',
  'Dual BSD/GPL',
  'Dual MIT/GPL',
  'Dual MPL/GPL',
]);

const PROG_FLAGS =
  BPF_MACROS.BPF_F_STRICT_ALIGNMENT |
  BPF_MACROS.BPF_F_ANY_ALIGNMENT |
  BPF_MACROS.BPF_F_TEST_RND_HI32 |
  BPF_MACROS.BPF_F_TEST_STATE_FREQ |
  BPF_MACROS.BPF_F_SLEEPABLE |
  BPF_MACROS.BPF_F_XDP_HAS_FRAGS |
  BPF_MACROS.BPF_F_TEST_REG_INVARIANTS |
  TOKEN_FLAG;

/** What a load begins with: the command checked, its descriptors looked up. Nothing of it is held. */
export interface Opened {
  readonly attr: ProgLoadAttr;
  readonly who: Credentials;
  readonly uid: number;
  readonly type: ProgTypeRow;
  readonly expectedAttachType: number;
  readonly name: string;
  readonly insns: readonly Insn[];
  readonly gplCompatible: boolean;
  readonly funcInfo: Uint8Array;
  readonly lineInfo: Uint8Array;
  readonly btf: BtfObject | undefined;
  readonly lines: LineInfo[] | undefined;
  readonly target: LoadTarget | undefined;
}

/** Microseconds. */
type Taken = Pick<LoadStages, 'verify' | 'rewrite'>;

/** A program that was rewritten for this machine and is to be made ready to run. */
export interface Rewriting {
  readonly opened: Opened;
  readonly verified: VerifiedProgram;
  readonly maps: ReadonlyMap<MapInfo, MapObject>;
  readonly program: ExecutableProgram;
  readonly xlated: Uint8Array;
  readonly entryArguments: number;
  /** What the engine gets. */
  readonly runnable: ExecutableProgram;
  readonly taken: Taken;
}

export function progLoad(machine: Machine, attr: ProgLoadAttr): Fd {
  const opened = openLoad(machine, attr);
  const started = performance.now();
  const asked = verifyRequest(machine, opened);
  const verified = verifiedBy(machine, opened, asked, verifyHere(machine, opened, asked.request));
  const rewriting = rewriteLoad(machine, opened, verified, performance.now() - started);
  const began = performance.now();
  const prepared = prepare(machine, rewriting.runnable, opened.who);
  return installProgram(machine, rewriting, prepared, performance.now() - began);
}

export function openLoad(machine: Machine, attr: ProgLoadAttr): Opened {
  const who = credentialsOf(machine, attr);
  const type = checkAttributes(machine, attr, who);
  const expectedAttachType = checkAttachType(type, attr.expectedAttachType ?? 0);
  const asked = {
    progType: type,
    expectedAttachType: attr.expectedAttachType ?? 0,
    flags: attr.progFlags ?? 0,
  };
  requireNothing(machine.release, machine.release.loadNeeds(asked));
  const name = checkObjectName(attr.progName ?? '');
  const insns = decodeProgram(attr.insns);
  const gplCompatible = GPL_COMPATIBLE.has(attr.license);
  const funcInfo = checkRecords(attr.funcInfo, attr.funcInfoRecSize, FUNC_INFO_SIZE, 'function');
  const lineInfo = checkRecords(attr.lineInfo, attr.lineInfoRecSize, LINE_INFO_SIZE, 'line');
  // Without records nobody looks at the descriptor.
  const described = funcInfo.length > 0 || lineInfo.length > 0;
  const btf = described ? machine.fds.expect(attr.progBtfFd ?? 0, BtfObject, 'BTF') : undefined;
  const lines = btf === undefined ? undefined : decodeLines(btf, lineInfo);
  const target = findProgram(machine, attr, type);
  const { uid } = machine.credentials;
  return {
    attr,
    who,
    uid,
    type,
    expectedAttachType,
    name,
    insns,
    gplCompatible,
    funcInfo,
    lineInfo,
    btf,
    lines,
    target,
  };
}

/** `verifyMs`: what verification has taken. */
export function rewriteLoad(
  machine: Machine,
  opened: Opened,
  verified: VerifiedProgram,
  verifyMs: number,
): Rewriting {
  const { type, name, btf } = opened;
  const maps = new Map<MapInfo, MapObject>();
  for (const info of verified.usedMaps) maps.set(info, mapOf(machine, info));
  const started = performance.now();
  const { program, xlated } = rewrite(verified, {
    name: name || type.name,
    helpers: machine.helpers,
    kfuncs: machine.kfuncs,
    packetLoads: machine.packetLoads,
    budgeted: machine.budgeted,
    map: (info) => (maps.get(info) ?? mapOf(machine, info)).map,
  });
  const taken = { verify: verifyMs * 1000, rewrite: (performance.now() - started) * 1000 };
  const entryArguments = type.replacesFunctions ? argumentsOf(btf?.btf, verified.subprogs[0]!) : -1;
  const runnable = entryArguments < 0 ? program : withArguments(program, entryArguments);
  return { opened, verified, maps, program, xlated, entryArguments, runnable, taken };
}

/** The last step: the program gets its id and a descriptor. */
export function installProgram(
  machine: Machine,
  { opened, verified, maps, program, xlated, entryArguments, runnable, taken: times }: Rewriting,
  prepared: Prepared,
  prepareMs: number,
): Fd {
  const { attr, type, expectedAttachType, name, insns, funcInfo, lineInfo, btf, lines, target } = opened;
  const { executable, blinded } = prepared;
  // As in Linux, which keeps the functions of a program apart from the program that is shown.
  const shown =
    blinded === undefined || program.subprogs.length > 1
      ? program
      : { insns: blinded.insns, origin: blinded.origin, subprogs: [{ start: 0, end: blinded.insns.length }] };
  attr.onStages?.({
    ...times,
    prepare: prepareMs * 1000,
    ...(executable.stages === undefined
      ? {}
      : { translate: executable.stages.translate * 1000, compile: executable.stages.compile * 1000 }),
    ...(executable.cached === undefined ? {} : { cached: executable.cached }),
  });
  const announce = (executable: ExecutableProgram): void =>
    machine.observer?.onLoad?.({
      name,
      type,
      insns,
      executable,
      btf: btf?.btf,
      funcs: decodeFuncs(funcInfo) ?? [],
      lines: lines ?? [],
      maps: [...maps.values()].map(({ map, parts }) => ({
        map,
        ...(parts.btf === undefined ? {} : { btf: { ...parts.btf, btf: parts.btf.object.btf } }),
      })),
    });
  const parts = {
    type,
    expectedAttachType,
    name,
    tag: programTag(attr.insns),
    gplCompatible: opened.gplCompatible,
    sleepable: ((attr.progFlags ?? 0) & BPF_MACROS.BPF_F_SLEEPABLE) !== 0,
    xlated: shown === program ? xlated : encodeProgram(shown.insns),
    ...prepared,
    code: runnable,
    program,
    entryArguments,
    functions: functionsOf(verified, program, btf?.btf),
    replaces: type.replacesFunctions ? target?.program.parts : undefined,
    tracesTracing: traces(type) && target !== undefined && traces(target.program.type),
    stats: verified.stats,
    btf,
    funcInfo: moveFunctions(shown, funcInfo, FUNC_INFO_SIZE),
    lineInfo: moveLines(shown, lineInfo, LINE_INFO_SIZE),
    lines: lines ?? [],
    attachBtfId: attr.attachBtfId ?? 0,
    attachProto: attachProto(verified.request, type, target),
    traced: tracedFunction(verified.request, target),
    xdpFrags: ((attr.progFlags ?? 0) & BPF_MACROS.BPF_F_XDP_HAS_FRAGS) !== 0,
    forProgram: target !== undefined,
    maxCtxOffset: maxCtxOffset(verified),
    movesPacket: movesPacket(program) || verified.subprogs.some(({ changesPacket }) => changesPacket),
    loadTime: machine.clock.boottime(),
    uid: opened.uid,
    announce,
  };
  for (const map of maps.values()) {
    if (map.map.info.type.holds === 'prog' && !ownerAccepts(map, { parts })) {
      executable.release();
      throw new BpfError(
        'EINVAL',
        `the program array '${map.map.info.name}' holds programs of another type: ${map.owner?.type.name}`,
      );
    }
  }
  for (const map of maps.values()) map.get();
  btf?.get();
  announce(runnable);
  const object = new ProgObject(parts, [...maps.values()], machine.programs, taken(target));
  try {
    machine.cpus?.publish(object);
  } catch (error) {
    object.put();
    throw error;
  }
  return machine.fds.install(object);
}

/** Whose capabilities count: those of the caller, with the token that is named. */
function credentialsOf(machine: Machine, attr: ProgLoadAttr): Credentials {
  const flags = attr.progFlags ?? 0;
  if ((flags & ~PROG_FLAGS) !== 0)
    throw new BpfError('EINVAL', `unknown program flags 0x${(flags & ~PROG_FLAGS).toString(16)}`);
  const known = machine.release.isSince('6.9') ? flags : flags & ~TOKEN_FLAG;
  const { progType, expectedAttachType: asked = 0 } = attr;
  const fallback = progTypeById(progType)?.defaultAttachType;
  const attachType = asked === 0 && fallback !== undefined ? attachTypeByName(fallback)!.id : asked;
  return credentialsWith(machine, known, attr.progTokenFd, {
    command: BPF_CMD.BPF_PROG_LOAD,
    progType,
    attachType,
  });
}

function checkAttributes(machine: Machine, attr: ProgLoadAttr, who: Credentials): ProgTypeRow {
  if (machine.sysctls.get('kernel.unprivileged_bpf_disabled') !== 0 && !holds(who, 'bpf')) {
    throw new BpfError(
      'EPERM',
      'loading programs needs CAP_BPF while kernel.unprivileged_bpf_disabled is set',
    );
  }
  const count = attr.insns.length / 8;
  const limit = holds(who, 'bpf') ? MAX_INSNS : MAX_INSNS_UNPRIVILEGED;
  if (count === 0 || count > limit) {
    throw new BpfError('E2BIG', `a program has 1 to ${limit} instructions, this one has ${count}`);
  }
  const type = progTypeById(attr.progType);
  if (type === undefined) {
    const errno = holds(who, 'bpf') ? 'EINVAL' : 'EPERM';
    throw new BpfError(errno, `there is no program type ${attr.progType}`);
  }
  if (!type.unprivileged && !holds(who, 'bpf'))
    throw new BpfError('EPERM', `loading a ${type.name} program needs CAP_BPF`);
  if (!type.unprivileged && !holds(who, type.capability)) {
    throw new BpfError('EPERM', `loading a ${type.name} program needs CAP_${type.capability.toUpperCase()}`);
  }
  if (attr.progIfindex)
    throw new BpfError('EINVAL', 'no device of the embedded kernel takes offloaded programs');
  return type;
}

/** The attach type that the program is verified for: 0 stands for the type's default (kernel: bpf_prog_load_check_attach). */
function checkAttachType(type: ProgTypeRow, asked: number): number {
  const { attachTypes, defaultAttachType, noAttachType } = type;
  if (noAttachType && asked !== 0)
    throw new BpfError('EINVAL', `a ${type.name} program has no expected attach type, not ${asked}`);
  if (attachTypes === undefined) return asked;
  const name = attachTypeById(asked)?.name;
  if (name !== undefined && attachTypes.includes(name)) return asked;
  if (asked === 0 && defaultAttachType !== undefined) return attachTypeByName(defaultAttachType)!.id;
  throw new BpfError(
    'EINVAL',
    `expected attach type ${asked} (${name ?? 'unknown'}) is none of a ${type.name} program`,
    {
      hint: `it may be ${attachTypes.join(', ')}`,
    },
  );
}

/** attach_prog_fd: a program, for the types that attach to one (kernel: bpf_prog_load_check_attach). */
function findProgram(machine: Machine, attr: ProgLoadAttr, type: ProgTypeRow): LoadTarget | undefined {
  const { attachProgFd, attachBtfId = 0 } = attr;
  if (attachBtfId !== 0 && !type.needsAttachBtf)
    throw new BpfError('EINVAL', `a ${type.name} program attaches to no function: attach_btf_id must be 0`);
  if (!attachProgFd) return undefined;
  const program = machine.fds.object(attachProgFd);
  if (!(program instanceof ProgObject))
    throw new BpfError('EINVAL', `attach_prog_fd ${attachProgFd} is no program`);
  if (!type.replacesFunctions && !traces(type))
    throw new BpfError('EINVAL', `a ${type.name} program does not attach to functions of programs`);
  return { program, btfId: attachBtfId };
}

/** What the program is verified against. */
function kernelTypes(machine: Machine): Btf {
  return machine.kernelBtf ?? ownKernelBtf();
}

/** A request, and the maps that it was given by descriptor: they may have been closed when an explanation is asked for. */
export interface Asked {
  readonly request: VerifyRequest;
  readonly maps: ReadonlyMap<number, MapInfo | number>;
}

export function verifyRequest(machine: Machine, opened: Opened): Asked {
  const { attr, btf, lines, target } = opened;
  const maps = new Map<number, MapInfo | number>();
  const mapByFd = (fd: number): MapInfo | number => {
    const info = maps.get(fd) ?? infoByFd(machine, fd);
    maps.set(fd, info);
    return info;
  };
  const funcs = decodeFuncs(opened.funcInfo);
  const request: VerifyRequest = {
    progType: opened.type,
    expectedAttachType: opened.expectedAttachType,
    insns: opened.insns,
    gplCompatible: opened.gplCompatible,
    mapByFd,
    mapByIndex: (index) => mapByFd(attr.fdArray?.[index] ?? -1),
    ...(attr.fdArray === undefined ? {} : { btfByIndex: (index) => btfAt(machine, attr, index) }),
    credentials: opened.who,
    release: machine.release.name,
    flags: attr.progFlags ?? 0,
    logLevel: attr.logLevel ?? 0,
    possibleCpus: machine.possibleCpus,
    // Most programs need none; the kernel's own are made when somebody asks.
    get kernelBtf() {
      return kernelTypes(machine);
    },
    ...(target === undefined ? {} : { target: describeTarget(target.program) }),
    jitRequested: jitRequested(machine),
    ...(btf === undefined ? {} : { btf: btf.btf }),
    ...(funcs === undefined ? {} : { funcInfo: funcs }),
    ...(lines === undefined ? {} : { lineInfo: lines }),
    ...(attr.attachBtfId === undefined ? {} : { attachBtfId: attr.attachBtfId }),
    ...(attr.logSize === undefined ? {} : { logLimit: attr.logSize }),
  };
  return { request, maps };
}

export function verifyHere(machine: Machine, { attr }: Opened, request: VerifyRequest): VerifyResult {
  const annotator = attr.onAnnotations === undefined ? null : new Annotator(request);
  const result = (machine.verify ?? verify)(request, annotator);
  if (annotator !== null) attr.onAnnotations?.(annotator.result());
  return result;
}

/** Hands out the log. Throws VerifierError for what was refused. */
export function verifiedBy(
  machine: Machine,
  { attr }: Opened,
  { request, maps }: Asked,
  result: VerifyResult,
): VerifiedProgram {
  attr.onLog?.(result.log);
  if (result.verdict === 'reject') throw rejectionError(request, result, globalsOf(machine, maps));
  return result;
}

/** Bytes behind an access at an offset, by the size bits of its opcode: W, H, B, DW. */
const ACCESS_BYTES = [4, 2, 1, 8];

function movesPacket({ calls }: ExecutableProgram): boolean {
  return calls.some(
    (call) => call?.kind === 'tail_call' || (call?.kind === 'function' && call.row?.changesPacket === true),
  );
}

function maxCtxOffset({ facts, request }: VerifiedProgram): number {
  let most = 0;
  facts.forEach((fact, i) => {
    if (fact?.ctxOffset === undefined) return;
    most = Math.max(most, fact.ctxOffset + ACCESS_BYTES[(request.insns[i].code >> 3) & 3]);
  });
  return most;
}

/** The values of global variables, as they are now: what a run of the refused program starts from. */
function globalsOf(machine: Machine, maps: ReadonlyMap<number, MapInfo | number>): Contents {
  const values = new Map<MapInfo, Uint8Array>();
  for (const info of maps.values()) {
    if (typeof info === 'number' || !info.type.directValue || info.valueSize > MAX_GLOBALS) continue;
    const value = mapOf(machine, info).map.lookup(new Uint8Array(info.keySize));
    if (typeof value !== 'number') values.set(info, value);
  }
  return { values };
}

function rejectionError(request: VerifyRequest, result: Rejection, contents: Contents): VerifierError {
  return new VerifierError(result.errno, result.message, {
    log: result.log,
    insn: result.insn,
    source: result.source,
    registers: result.registers,
    path: result.path,
    insnsProcessed: result.stats.insnsProcessed,
    kind: result.reason.kind,
    needs: result.reason.needs,
    explain: () => explain(request, result),
    findInput: (options) => findInput(request, result, contents, options),
  });
}

function infoByFd(machine: Machine, fd: number): MapInfo | number {
  const object = machine.fds.object(fd);
  if (object === undefined) return -ERRNO.EBADF;
  if (!(object instanceof MapObject)) return -ERRNO.EINVAL;
  return object.map.info;
}

/** BTF in fd_array: programs may load theirs, but modules have none here. */
function btfAt(machine: Machine, attr: ProgLoadAttr, index: number): 'not_module' | undefined {
  const object = machine.fds.object(attr.fdArray?.[index] ?? -1);
  return object instanceof BtfObject ? 'not_module' : undefined;
}

export function mapOf(machine: Machine, info: MapInfo): MapObject {
  const map = machine.maps.find(info.id);
  if (map === undefined) throw new InternalError(`map id ${info.id} vanished during load`);
  return map;
}

function checkRecords(
  records: Uint8Array | undefined,
  size: number | undefined,
  expected: number,
  what: string,
): Uint8Array {
  if (records === undefined || records.length === 0) return new Uint8Array();
  const actual = size ?? expected;
  if (actual !== expected || records.length % expected !== 0) {
    throw new BpfError(
      'EINVAL',
      `${what} info has ${records.length} bytes in records of ${actual}; records of ${expected} are expected`,
    );
  }
  return records;
}

function decodeFuncs(records: Uint8Array): FuncInfo[] | undefined {
  if (records.length === 0) return undefined;
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const funcs: FuncInfo[] = [];
  for (let at = 0; at < records.length; at += FUNC_INFO_SIZE) {
    funcs.push({ insn: view.getUint32(at, true), typeId: view.getUint32(at + 4, true) });
  }
  return funcs;
}

/** struct bpf_line_info: instruction, file name, text of the line, line << 10 | column. */
function decodeLines(btf: BtfObject, records: Uint8Array): LineInfo[] | undefined {
  if (records.length === 0) return undefined;
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const lines: LineInfo[] = [];
  for (let at = 0; at < records.length; at += LINE_INFO_SIZE) {
    const place = view.getUint32(at + 12, true);
    lines.push({
      insn: view.getUint32(at, true),
      file: btf.btf.string(view.getUint32(at + 4, true)),
      text: btf.btf.string(view.getUint32(at + 8, true)),
      line: place >>> 10,
      column: place & 0x3ff,
    });
  }
  return lines;
}
