/** The thread's side: does what it is sent, one job after the other. It has no kernel, only the verifier and the translator. */
import { type Btf, parseBtf } from '../../btf/index.ts';
import { ownKernelBtf } from '../../compiler/headers/own-types.ts';
import type { CpuPort } from '../../contracts/cpus.ts';
import { type CompileJob, runCompileJob } from '../../jit/elsewhere.ts';
import { BpfError } from '../../util/errors.ts';
import type { Failure, FromThread, ToThread, Work } from './protocol.ts';
import { runVerifyJob } from './verify-job.ts';

/** Serves a kernel on a thread's channel: what the entry file of a thread calls, and all it does. */
export function serveBackground(port: CpuPort): void {
  let kernelBtf: Btf | undefined;
  const post = (message: FromThread) => port.post(message);
  port.listen((message) => {
    const said = message as ToThread;
    if (said.kind === 'types') {
      kernelBtf = said.btf && parseBtf(said.btf);
      return;
    }
    const { id } = said;
    try {
      post({ id, result: done(said, () => kernelBtf ?? ownKernelBtf()) });
    } catch (error) {
      post({ id, failure: failureOf(error) });
    }
  });
}

function done(work: Work, kernelBtf: () => Btf): unknown {
  return work.kind === 'verify' ? runVerifyJob(work.job, kernelBtf) : runCompileJob(work.job as CompileJob);
}

function failureOf(error: unknown): Failure {
  if (error instanceof BpfError) return { code: error.code, message: error.message, hint: error.hint };
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: undefined, message, hint: undefined };
}
