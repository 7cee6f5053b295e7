/**
 * Verification in another thread: a request as data that can be posted, and what was found out.
 *
 * Invariant: the thread's verifier sees what the kernel's own would see. What cannot be posted (types of other programs, structs that fields
 * of values are of) is not sent: the kernel verifies such a program itself. Objects of a request come back as the kernel's own.
 */
import { decodeProgram } from '../../asm/index.ts';
import { LD_IMM64, PSEUDO } from '../../asm/opcodes.ts';
import { type Btf, parseBtf } from '../../btf/index.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { MapInfo, SpecialField } from '../../contracts/maps.ts';
import type {
  InsnFacts,
  Rejection,
  VerifiedProgram,
  VerifyRequest,
  VerifyResult,
} from '../../contracts/verify.ts';
import { mapTypeByName, progTypeByName } from '../../spec/index.ts';
import { ERRNO } from '../../util/errno.ts';
import { verify } from '../../verifier/index.ts';

/** Values of constant maps beyond it are not sent. */
const MOST_CONSTANTS = 1 << 20;

/** Maps by number, in the order of the job; an inner map has one too. */
type MapShape = Omit<MapInfo, 'type' | 'inner' | 'specialFields' | 'constant'> & {
  readonly type: string;
  readonly inner?: number;
  readonly fields?: readonly SpecialField[];
  /** The value, where loads from it are known. */
  readonly constants?: Uint8Array;
};

export interface VerifyJob {
  readonly plain: Pick<
    VerifyRequest,
    | 'expectedAttachType'
    | 'gplCompatible'
    | 'credentials'
    | 'flags'
    | 'logLevel'
    | 'funcInfo'
    | 'lineInfo'
    | 'attachBtfId'
    | 'jitRequested'
    | 'release'
    | 'possibleCpus'
    | 'logLimit'
  >;
  readonly progType: string;
  /** As loaded. */
  readonly insns: Uint8Array;
  readonly btf?: Uint8Array;
  readonly maps: readonly MapShape[];
  /** Descriptor, or index in fd_array, to a number in `maps` or -errno. */
  readonly byFd: ReadonlyMap<number, number>;
  readonly byIndex: ReadonlyMap<number, number>;
  /** Indexes in fd_array that are BTF, of which none is a module's; absent: there is no fd_array. */
  readonly btfIndexes?: ReadonlySet<number>;
}

type FactsImage = Omit<InsnFacts, 'map' | 'callMap' | 'object'> & {
  readonly map?: number;
  readonly callMap?: number;
};

export type VerifyOutcome =
  | Rejection
  | (Pick<VerifiedProgram, 'verdict' | 'seen' | 'subprogs' | 'log' | 'stats'> & {
      readonly facts: readonly (readonly [number, FactsImage])[];
      readonly usedMaps: readonly number[];
    });

/** A job, and the maps by the numbers that it gives them. */
export interface PostedRequest {
  readonly job: VerifyJob;
  readonly maps: readonly MapInfo[];
}

/** `firstValue`: the first value of a map. Undefined: it must be verified here. */
export function verifyJob(
  request: VerifyRequest,
  insns: Uint8Array,
  {
    fdArray,
    firstValue,
  }: {
    readonly fdArray: readonly number[] | undefined;
    readonly firstValue: (map: MapInfo) => Uint8Array | number;
  },
): PostedRequest | undefined {
  if (request.target !== undefined || request.helpers !== undefined || request.btf?.base !== undefined)
    return undefined;
  const numbers = new Map<MapInfo, number>();
  const maps: MapShape[] = [];
  const shapeOf = (info: MapInfo): number => {
    const known = numbers.get(info);
    if (known !== undefined) return known;
    const { type, inner, specialFields, constant, ...plain } = info;
    const number = maps.length;
    numbers.set(info, number);
    maps.push({ ...plain, type: type.name });
    maps[number] = {
      ...plain,
      type: type.name,
      ...(inner === undefined ? {} : { inner: shapeOf(inner) }),
      ...(specialFields === undefined ? {} : { fields: specialFields }),
      ...(constant === undefined ? {} : { constants: constantsOf(info, firstValue) }),
    };
    return number;
  };
  const named = namedMaps(request.insns);
  const numberOf = (found: MapInfo | number) => (typeof found === 'number' ? found : shapeOf(found));
  const byFd = new Map([...named.fds].map((fd) => [fd, numberOf(request.mapByFd(fd))]));
  const byIndex = new Map(
    [...named.indexes].map((at) => [at, numberOf(request.mapByIndex?.(at) ?? -ERRNO.EBADF)]),
  );
  const isPostable = maps.every(
    ({ fields = [], constants }) =>
      fields.every(({ struct }) => struct === undefined) && (constants?.length ?? 0) <= MOST_CONSTANTS,
  );
  if (!isPostable) return undefined;
  const { btf, btfByIndex } = request;
  const btfIndexes = (fdArray ?? []).flatMap((_, at) => (btfByIndex?.(at) === 'not_module' ? [at] : []));
  const { expectedAttachType, gplCompatible, credentials, flags, logLevel } = request;
  const { funcInfo, lineInfo, attachBtfId, jitRequested, release, possibleCpus, logLimit } = request;
  const job: VerifyJob = {
    plain: {
      expectedAttachType,
      gplCompatible,
      credentials,
      flags,
      logLevel,
      ...(funcInfo === undefined ? {} : { funcInfo }),
      ...(lineInfo === undefined ? {} : { lineInfo }),
      ...(attachBtfId === undefined ? {} : { attachBtfId }),
      ...(jitRequested === undefined ? {} : { jitRequested }),
      ...(release === undefined ? {} : { release }),
      ...(possibleCpus === undefined ? {} : { possibleCpus }),
      ...(logLimit === undefined ? {} : { logLimit }),
    },
    progType: request.progType.name,
    insns,
    ...(btf === undefined ? {} : { btf: btf.bytes }),
    maps,
    byFd,
    byIndex,
    ...(btfByIndex === undefined ? {} : { btfIndexes: new Set(btfIndexes) }),
  };
  return { job, maps: [...numbers.keys()] };
}

function constantsOf(info: MapInfo, firstValue: (map: MapInfo) => Uint8Array | number): Uint8Array {
  const value = firstValue(info);
  // One that cannot be read is taken for too large.
  return typeof value === 'number' ? new Uint8Array(MOST_CONSTANTS + 1) : value;
}

/** Descriptors and indexes of maps that instructions name. */
export function namedMaps(insns: readonly Insn[]): { fds: Set<number>; indexes: Set<number> } {
  const fds = new Set<number>();
  const indexes = new Set<number>();
  for (const { code, src, imm } of insns) {
    if (code !== LD_IMM64) continue;
    if (src === PSEUDO.MAP_FD || src === PSEUDO.MAP_VALUE) fds.add(imm);
    else if (src === PSEUDO.MAP_IDX || src === PSEUDO.MAP_IDX_VALUE) indexes.add(imm);
  }
  return { fds, indexes };
}

/** What the other thread does. Undefined: what was found out cannot be posted. */
export function runVerifyJob(job: VerifyJob, kernelBtf: () => Btf): VerifyOutcome | undefined {
  const maps = mapsOf(job.maps);
  const find = (known: ReadonlyMap<number, number>, key: number): MapInfo | number => {
    const found = known.get(key) ?? -ERRNO.EBADF;
    return found < 0 ? found : maps[found]!;
  };
  const { btfIndexes } = job;
  const request: VerifyRequest = {
    ...job.plain,
    progType: progTypeByName(job.progType)!,
    insns: decodeProgram(job.insns),
    mapByFd: (fd) => find(job.byFd, fd),
    mapByIndex: (index) => find(job.byIndex, index),
    ...(btfIndexes === undefined
      ? {}
      : { btfByIndex: (index) => (btfIndexes.has(index) ? 'not_module' : undefined) }),
    get kernelBtf() {
      return kernelBtf();
    },
    ...(job.btf === undefined ? {} : { btf: parseBtf(job.btf) }),
  };
  const result = verify(request);
  if (result.verdict === 'reject') return result;
  const numbers = new Map(maps.map((info, number) => [info, number]));
  const facts: [number, FactsImage][] = [];
  for (const [at, known] of result.facts.entries()) {
    if (known === undefined) continue;
    const { map, callMap, object, ...plain } = known;
    if (object !== undefined) return undefined;
    const image: FactsImage = {
      ...plain,
      ...(map === undefined ? {} : { map: numbers.get(map)! }),
      ...(callMap === undefined ? {} : { callMap: numbers.get(callMap)! }),
    };
    for (const _ in image) {
      facts.push([at, image]);
      break;
    }
  }
  const { verdict, seen, subprogs, log, stats } = result;
  return {
    verdict,
    seen,
    subprogs,
    log,
    stats,
    facts,
    usedMaps: result.usedMaps.map((map) => numbers.get(map)!),
  };
}

function mapsOf(shapes: readonly MapShape[]): MapInfo[] {
  type Open = { -readonly [K in keyof MapInfo]: MapInfo[K] };
  const maps = shapes.map(
    ({ type, inner: _, fields, constants, ...plain }): Open => ({
      ...plain,
      type: mapTypeByName(type)!,
      ...(fields === undefined ? {} : { specialFields: fields }),
      ...(constants === undefined ? {} : { constant: (offset, size) => constantAt(constants, offset, size) }),
    }),
  );
  shapes.forEach(({ inner }, i) => {
    if (inner !== undefined) maps[i]!.inner = maps[inner]!;
  });
  return maps;
}

function constantAt(value: Uint8Array, offset: number, size: number): bigint | undefined {
  if (offset < 0 || offset + size > value.length) return undefined;
  let constant = 0n;
  for (let i = size - 1; i >= 0; i--) constant = (constant << 8n) | BigInt(value[offset + i]!);
  return constant;
}

/** The result as if the request had been verified here. */
export function resultOf(
  outcome: VerifyOutcome,
  request: VerifyRequest,
  maps: readonly MapInfo[],
): VerifyResult {
  if (outcome.verdict === 'reject') return outcome;
  const facts = new Array<InsnFacts | undefined>(request.insns.length).fill(undefined);
  for (const [at, { map, callMap, ...plain }] of outcome.facts) {
    facts[at] = {
      ...plain,
      ...(map === undefined ? {} : { map: maps[map]! }),
      ...(callMap === undefined ? {} : { callMap: maps[callMap]! }),
    };
  }
  const { verdict, seen, subprogs, log, stats } = outcome;
  return {
    verdict,
    request,
    facts,
    seen,
    subprogs,
    usedMaps: outcome.usedMaps.map((map) => maps[map]!),
    log,
    stats,
  };
}
