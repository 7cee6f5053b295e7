/**
 * PROG_LOAD that lets its caller go on: the steps are those of `prog-load.ts`; verification and compilation are done by threads where there
 * are any, rewriting and the last step here.
 *
 * Invariant: the load sees the kernel as it was at the call. What its descriptors stood for is held until it ends, what the caller handed
 * over is copied, and who called counts. Nothing is left behind when the kernel is shut down or the caller gives up meanwhile.
 */
import type { Fd, ProgLoadAttr } from '../../contracts/kernel.ts';
import type { MapInfo } from '../../contracts/maps.ts';
import type { VerifyResult } from '../../contracts/verify.ts';
import { BpfError } from '../../util/errors.ts';
import { namedMaps, resultOf, type VerifyOutcome, verifyJob } from '../background/verify-job.ts';
import type { KernelObject } from '../fd-table.ts';
import type { Machine } from '../machine.ts';
import { type Prepared, prepareLater } from '../prepare.ts';
import {
  type Asked,
  installProgram,
  mapOf,
  type Opened,
  openLoad,
  progLoad,
  rewriteLoad,
  verifiedBy,
  verifyHere,
  verifyRequest,
} from './prog-load.ts';

export async function progLoadAsync(
  machine: Machine,
  given: ProgLoadAttr,
  signal?: AbortSignal,
): Promise<Fd> {
  if (signal?.aborted) throw aborted(signal);
  const { background } = machine;
  if (background === undefined || !background.usable || given.insns.length / 8 < background.fromInsns)
    return progLoad(machine, given);
  const attr = copied(given);
  const opened = openLoad(machine, attr);
  const asked = verifyRequest(machine, opened);
  const held = hold(machine, opened, asked);
  try {
    const started = performance.now();
    const result = await unlessAborted(verifyElsewhere(machine, opened, asked), signal);
    checkOpen(machine);
    const verified = verifiedBy(machine, opened, asked, result);
    const rewriting = rewriteLoad(machine, opened, verified, performance.now() - started);
    // Rewriting and what comes next take a while each.
    await unlessAborted(turn(), signal);
    checkOpen(machine);
    const began = performance.now();
    const compile = async (job: unknown) => {
      const code = await background.ask({ kind: 'compile', job });
      // Nobody is left to compile for.
      if (code === undefined) checkOpen(machine);
      return code;
    };
    const preparing = prepareLater(machine, rewriting.runnable, opened.who, compile);
    let prepared: Prepared;
    try {
      prepared = await unlessAborted(preparing, signal);
      checkOpen(machine);
    } catch (error) {
      // The code that nobody waits for any more.
      preparing.then(
        ({ executable }) => executable.release(),
        () => {},
      );
      throw error;
    }
    return installProgram(machine, rewriting, prepared, performance.now() - began);
  } finally {
    for (const object of held) object.put();
  }
}

/** The caller may go on to write into what it has handed over. */
function copied(attr: ProgLoadAttr): ProgLoadAttr {
  const { insns, funcInfo, lineInfo, fdArray } = attr;
  return {
    ...attr,
    insns: insns.slice(),
    ...(funcInfo === undefined ? {} : { funcInfo: funcInfo.slice() }),
    ...(lineInfo === undefined ? {} : { lineInfo: lineInfo.slice() }),
    ...(fdArray === undefined ? {} : { fdArray: [...fdArray] }),
  };
}

/** References to all that the load may come to use. Maps are looked up by this: later look-ups find the same ones. */
function hold(machine: Machine, { btf, target }: Opened, { request, maps }: Asked): KernelObject[] {
  const { fds, indexes } = namedMaps(request.insns);
  for (const fd of fds) request.mapByFd(fd);
  for (const index of indexes) request.mapByIndex?.(index);
  const infos = [...maps.values()].filter((info): info is MapInfo => typeof info !== 'number');
  const objects: KernelObject[] = [...new Set(infos)].map((info) => mapOf(machine, info));
  if (btf !== undefined) objects.push(btf);
  if (target !== undefined) objects.push(target.program);
  for (const object of objects) object.get();
  return objects;
}

async function verifyElsewhere(machine: Machine, opened: Opened, { request }: Asked): Promise<VerifyResult> {
  const { attr } = opened;
  const here = () => verifyHere(machine, opened, request);
  // Who listens, or has put in a verifier of its own, is in this thread.
  if (attr.onAnnotations !== undefined || machine.verify !== undefined) return here();
  const firstValue = (info: MapInfo) => mapOf(machine, info).map.lookup(new Uint8Array(info.keySize));
  const posted = verifyJob(request, attr.insns, { fdArray: attr.fdArray, firstValue });
  if (posted === undefined) return here();
  const outcome = await machine.background!.ask({ kind: 'verify', job: posted.job });
  if (outcome === undefined) return here();
  return resultOf(outcome as VerifyOutcome, request, posted.maps);
}

/** Others in this thread have their turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

function checkOpen(machine: Machine): void {
  if (machine.closed)
    throw new BpfError('ESHUTDOWN', 'the kernel was shut down while the program was being loaded');
}

function aborted(signal: AbortSignal): BpfError {
  return new BpfError('ECANCELED', 'the load was given up by its caller', { cause: signal.reason });
}

async function unlessAborted<T>(step: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return step;
  let stop = () => {};
  const given = new Promise<never>((_, reject) => {
    stop = () => reject(aborted(signal));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([step, given]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
