/** PROG_TEST_RUN of raw tracepoint programs: the context is the array of their arguments (bpf_prog_test_run_raw_tp). */
import type { Hook, HookEnv, LiveContext, TestRunInput } from '../contracts/hooks.ts';
import { BpfError } from '../util/errors.ts';

/** MAX_BPF_FUNC_ARGS */
const MAX_ARGS = 12;

function testRun({ data, ctx, cpu, repeat, batchSize }: TestRunInput, env: HookEnv): LiveContext {
  if (data.length > 0 || repeat !== 0 || batchSize !== 0)
    throw new BpfError(
      'EINVAL',
      'a raw tracepoint has no data, no repeat count and no batch: only a context',
    );
  if (ctx.length < env.maxCtxOffset || ctx.length > MAX_ARGS * 8)
    throw new BpfError(
      'EINVAL',
      `the program reads ${env.maxCtxOffset} bytes of arguments, a raw tracepoint has at most ${MAX_ARGS * 8}; given are ${ctx.length}`,
    );
  if (cpu !== 0) throw new BpfError('EINVAL', 'a processor is named together with BPF_F_TEST_RUN_ON_CPU');
  const address = env.memory.allocate(MAX_ARGS * 8, 'raw tracepoint arguments');
  env.memory.write(address, ctx);
  return {
    address,
    packet: () => new Uint8Array(),
    userContext: () => new Uint8Array(),
    release: () => env.memory.free(address),
  };
}

export const RAW_TRACEPOINT_HOOK: Hook = {
  progTypes: ['raw_tracepoint', 'raw_tracepoint_writable'],
  testRun,
};
