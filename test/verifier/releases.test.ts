/** What came with a release: kernel functions, private stacks. */
import { describe, expect, it } from 'vitest';
import { BtfBuilder, btfInt } from '../../src/btf/index.ts';
import { attachTypeByName, KFUNCS, kfuncSince, releaseOf } from '../../src/spec/index.ts';
import { check } from './support.ts';

describe('kernel functions', () => {
  it('have a release each', () => {
    for (const { name } of KFUNCS) expect(() => releaseOf(kfuncSince(name)), name).not.toThrow();
  });

  it('are refused for a release that has not registered them, whatever the types say', () => {
    const types = new BtfBuilder();
    const proto = types.add({ kind: 'func_proto', returnType: 0, params: [] });
    const id = (name: string): number => types.add({ kind: 'func', name, type: proto, linkage: 'static' });
    const lock = id('bpf_rcu_read_lock');
    const unlock = id('bpf_rcu_read_unlock');
    const kernelBtf = types.build();
    const text = `call kernel-function#${lock}\ncall kernel-function#${unlock}\nr0 = 0\nexit`;
    const load = (release: string) => check(text, { type: 'tracepoint', kernelBtf, release });
    expect(load('6.2').verdict).toBe('accept');
    expect(load('6.1')).toMatchObject({
      errno: 'EACCES',
      message: 'calling kernel function bpf_rcu_read_lock is not allowed',
      reason: { needs: { what: 'kernel function bpf_rcu_read_lock', since: '6.2' } },
    });
  });
});

describe('private stacks', () => {
  /** Two frames of 320 bytes: more than 512 together. */
  const text = `
*(u64 *)(r10 -320) = 0
call pc+2
r0 = 0
exit
*(u64 *)(r10 -320) = 0
r0 = 0
exit`;
  it.each([
    ['kprobe', undefined, '6.18', 'accept'],
    ['kprobe', undefined, '6.12', 'reject'],
    ['tracepoint', undefined, '6.13', 'accept'],
    ['raw_tracepoint', undefined, '6.18', 'accept'],
    ['raw_tracepoint_writable', undefined, '6.18', 'reject'],
    ['xdp', undefined, '6.18', 'reject'],
    ['tracing', 'TRACE_FENTRY', '6.18', 'accept'],
    ['tracing', 'TRACE_ITER', '6.18', 'reject'],
  ] as const)('%s %s of %s: %s', (type, attachType, release, verdict) => {
    const types = new BtfBuilder();
    const proto = types.add({ kind: 'func_proto', returnType: 0, params: [] });
    const attachBtfId = types.add({ kind: 'func', name: 'bpf_iter_task', type: proto, linkage: 'static' });
    const result = check(text, {
      type,
      release,
      ...(attachType === undefined
        ? {}
        : {
            kernelBtf: types.build(),
            attachBtfId,
            expectedAttachType: attachTypeByName(attachType)!.id,
          }),
    });
    expect(result.verdict).toBe(verdict);
    if (result.verdict === 'reject')
      expect(result.message).toBe('combined stack size of 2 calls is 640. Too large');
  });
});

describe('global functions', () => {
  it('take pointers to memory since 5.12', () => {
    const types = new BtfBuilder();
    const int = types.add(btfInt('int', 4, { signed: true }));
    const pointer = types.add({ kind: 'ptr', type: int });
    const main = types.add({ kind: 'func_proto', returnType: int, params: [] });
    const other = types.add({ kind: 'func_proto', returnType: int, params: [{ name: 'p', type: pointer }] });
    const funcInfo = [
      { insn: 0, typeId: types.add({ kind: 'func', name: 'main', type: main, linkage: 'global' }) },
      { insn: 5, typeId: types.add({ kind: 'func', name: 'other', type: other, linkage: 'global' }) },
    ];
    const text = `
*(u64 *)(r10 -8) = 0
r1 = r10
r1 += -8
call pc+1
exit
r0 = 0
exit`;
    const load = (release: string) => check(text, { type: 'xdp', btf: types.build(), funcInfo, release });
    expect(load('5.15').verdict).toBe('accept');
    const result = load('5.10');
    expect(result).toMatchObject({ verdict: 'reject', errno: 'EINVAL', reason: { kind: 'global_function' } });
  });
});
