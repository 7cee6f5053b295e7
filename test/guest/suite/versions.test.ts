/** Where 6.1 differs from the newest kernel: tags, and what it is too old for. */
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeProgram } from '../../../src/asm/index.ts';
import { attachTypeByName, mapTypeByName, progTypeByName } from '../../../src/spec/index.ts';
import { UnsupportedFeatureError, VerifierError } from '../../../src/util/errors.ts';
import { failure, kernel, load, ProgramBuilder, R0, R1, reg } from './support.ts';

// What is said of another release would be of that one.
describe.skipIf(kernel.features().release !== '6.1')('Linux 6.1', () => {
  afterEach(() => kernel.shutdown());

  const returns = (value: number) => new ProgramBuilder().mov64(R0, value).exit();

  it('says what it is', () => {
    const features = kernel.features();
    expect(features).toMatchObject({ kind: 'host', release: '6.1', arch: 'x86_64', possibleCpus: 1 });
    const has = (name: string) => features.mapTypes.has(mapTypeByName(name)!.id);
    expect([has('hash'), has('ringbuf'), has('user_ringbuf'), has('arena')]).toEqual([
      true,
      true,
      true,
      false,
    ]);
    const loads = (name: string) => features.progTypes.has(progTypeByName(name)!.id);
    expect([loads('kprobe'), loads('tracing'), loads('lsm'), loads('netfilter')]).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  it('tags programs with SHA-1', () => {
    const program = returns(7);
    const info = kernel.objGetInfoByFd({ bpfFd: load('socket_filter', program) });
    const sha1 = createHash('sha1').update(encodeProgram(program.build())).digest('hex');
    expect(info).toMatchObject({ kind: 'prog', tag: sha1.slice(0, 16) });
  });

  it('runs test programs', () => {
    const progFd = load('socket_filter', returns(42));
    expect(kernel.progTestRun({ progFd, dataIn: new Uint8Array(64) }).retval).toBe(42);
  });

  it.each([
    [
      'a map type',
      () =>
        kernel.mapCreate({
          mapType: mapTypeByName('arena')!.id,
          keySize: 0,
          valueSize: 0,
          maxEntries: 1,
          mapFlags: 1 << 10,
        }),
      '6.9',
    ],
    ['a command', () => kernel.tokenCreate({ bpffsFd: 0 as never }), '6.9'],
    [
      'a program type',
      () => load('netfilter', returns(0), { expectedAttachType: attachTypeByName('netfilter')!.id }),
      '6.4',
    ],
  ] as const)('%s that it has not is refused by name and release', (_what, action, since) => {
    const error = failure(action);
    expect(error).toBeInstanceOf(UnsupportedFeatureError);
    expect(error).toMatchObject({ since });
    expect((error as UnsupportedFeatureError).release).toMatch(/^6\.1\./);
  });

  it('a helper that it has not is refused by name, with the refusal of the verifier as its cause', () => {
    const error = failure(() =>
      load('kprobe', new ProgramBuilder().callHelper('bpf_cgrp_storage_get').mov64(R0, 0).exit()),
    );
    expect(error).toBeInstanceOf(UnsupportedFeatureError);
    expect(error).toMatchObject({ feature: 'helper bpf_cgrp_storage_get', since: '6.2' });
    expect(error.cause).toBeInstanceOf(VerifierError);
  });

  it('an instruction that it has not is refused by name', () => {
    // r0 = (s8)r1, of the newer instructions (cpu v4)
    const insns = new Uint8Array([0xbf, 0x10, 8, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
    const progType = progTypeByName('socket_filter')!.id;
    const error = failure(() => kernel.progLoad({ progType, insns, license: 'GPL' }));
    expect(error).toBeInstanceOf(UnsupportedFeatureError);
    expect(error).toMatchObject({ since: '6.6' });
  });

  it('attach types that it has not are refused by name: at PROG_LOAD and at LINK_CREATE', () => {
    const connect = attachTypeByName('cgroup_unix_connect')!.id;
    const loaded = failure(() => load('cgroup_sock_addr', returns(1), { expectedAttachType: connect }));
    const classifier = load('sched_cls', returns(0));
    const linked = failure(() =>
      kernel.linkCreate({
        progFd: classifier,
        targetIfindex: kernel.ifNameToIndex('lo')!,
        attachType: attachTypeByName('tcx_ingress')!.id,
      }),
    );
    for (const [error, feature, since] of [
      [loaded, 'attach type CGROUP_UNIX_CONNECT', '6.7'],
      [linked, 'attach type TCX_INGRESS', '6.6'],
    ] as const) {
      expect(error).toBeInstanceOf(UnsupportedFeatureError);
      expect(error).toMatchObject({ feature, since });
    }
  });

  it('a field that it does not know is refused by name', () => {
    const program = load('kprobe', returns(0), {
      expectedAttachType: attachTypeByName('trace_uprobe_multi')!.id,
    });
    const error = failure(() =>
      kernel.linkCreate({
        progFd: program,
        attachType: attachTypeByName('trace_uprobe_multi')!.id,
        uprobeMulti: { path: '/bin/node', offsets: [0x1000n] },
      }),
    );
    expect(error).toBeInstanceOf(UnsupportedFeatureError);
  });

  it('rejections are verifier errors with its log', () => {
    const error = failure(() =>
      load('socket_filter', new ProgramBuilder().ldx('dw', R0, R1, 4096).mov64(R1, reg(R0)).exit()),
    );
    expect(error).toBeInstanceOf(VerifierError);
    expect(error).toMatchObject({
      code: 'EACCES',
      insn: 0,
      message: 'invalid bpf_context access off=4096 size=8',
    });
  });
});
