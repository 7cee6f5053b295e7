/**
 * PROG_TEST_RUN of syscall programs, which is the way to run them (kernel/bpf: bpf_prog_test_run_syscall). The context is memory of
 * the caller: copied in, and what the program made of it is copied back.
 */
import type { Hook, HookEnv, LiveContext, TestRunInput } from '../contracts/hooks.ts';
import { BpfError } from '../util/errors.ts';

/** U16_MAX */
const MAX_CONTEXT = 0xffff;
const EMPTY = new Uint8Array();

function testRun({ data, ctx, flags, cpu, repeat, batchSize }: TestRunInput, env: HookEnv): LiveContext {
  if (data.length > 0 || repeat !== 0 || batchSize !== 0 || flags !== 0 || cpu !== 0)
    throw new BpfError(
      'EINVAL',
      'a syscall program takes a context, and no data, repeat count, flags or batch',
    );
  if (ctx.length < env.maxCtxOffset || ctx.length > MAX_CONTEXT)
    throw new BpfError(
      'EINVAL',
      `the program uses ${env.maxCtxOffset} bytes of its context, which has at most ${MAX_CONTEXT}; given are ${ctx.length}`,
    );
  const { memory } = env;
  const address = ctx.length === 0 ? 0 : memory.allocate(ctx.length, 'context of a syscall program');
  memory.write(address, ctx);
  return {
    address,
    packet: () => EMPTY,
    userContext: () => memory.read(address, ctx.length),
    release: () => {
      if (address !== 0) memory.free(address);
    },
  };
}

export const SYSCALL_HOOK: Hook = { progTypes: ['syscall'], testRun };
