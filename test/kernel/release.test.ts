/** An embedded kernel of an older release: what it answers to probes and loads. */
import { describe, expect, it } from 'vitest';
import { assemble, encodeProgram } from '../../src/asm/index.ts';
import { BtfBuilder } from '../../src/btf/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { helperByName, mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { BpfError, UnsupportedFeatureError, VerifierError } from '../../src/util/errors.ts';

function thrown(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

const ringbuf = (kernel: EmbeddedKernel) =>
  kernel.mapCreate({ mapType: mapTypeByName('ringbuf')!.id, keySize: 0, valueSize: 0, maxEntries: 4096 });
const load = (kernel: EmbeddedKernel, type: string, text: string, more: object = {}) =>
  kernel.progLoad({
    progType: progTypeByName(type)!.id,
    insns: encodeProgram(assemble(text)),
    license: 'GPL',
    ...more,
  });

describe('an embedded kernel of an older release', () => {
  it('says what it is and what it has', () => {
    const old = new EmbeddedKernel({ release: '5.4' }).features();
    const now = new EmbeddedKernel().features();
    expect([old.release, now.release]).toEqual(['5.4', '6.18']);
    const id = mapTypeByName('ringbuf')!.id;
    expect([old.mapTypes.has(id), now.mapTypes.has(id)]).toEqual([false, true]);
    const loop = helperByName('bpf_loop')!.id;
    expect([old.helpers.has(loop), now.helpers.has(loop)]).toEqual([false, true]);
  });

  it('refuses maps, flags, types and commands by name and release', () => {
    const kernel = new EmbeddedKernel({ release: '5.4' });
    expect(thrown(() => ringbuf(kernel))).toMatchObject({
      name: 'UnsupportedFeatureError',
      code: 'EINVAL',
      feature: 'map type ringbuf',
      since: '5.8',
      release: '5.4',
    });
    expect(thrown(() => load(kernel, 'sk_lookup', 'r0 = 1\nexit', { expectedAttachType: 36 }))).toMatchObject(
      {
        since: '5.9',
      },
    );
    expect(thrown(() => kernel.linkCreate({} as never))).toBeInstanceOf(UnsupportedFeatureError);
    expect(thrown(() => kernel.mapLookupBatch({} as never))).toMatchObject({ since: '5.6' });
    expect(() => ringbuf(new EmbeddedKernel({ release: '5.10' }))).not.toThrow();
  });

  it('refuses kinds of BTF, so that loaders rewrite them', () => {
    const builder = new BtfBuilder();
    builder.add({ kind: 'float', name: 'double', size: 8 });
    const btf = builder.bytes();
    expect(thrown(() => new EmbeddedKernel({ release: '5.10' }).btfLoad({ btf }))).toMatchObject({
      since: '5.13',
    });
    expect(new EmbeddedKernel({ release: '5.15' }).btfLoad({ btf })).toBeGreaterThanOrEqual(0);
  });

  it('verifies by its rules, and says since when they are others', () => {
    const text = 'call bpf_ktime_get_tai_ns\nr0 = 0\nexit';
    const error = thrown(() => load(new EmbeddedKernel({ release: '5.15' }), 'socket_filter', text));
    expect(error).toBeInstanceOf(VerifierError);
    expect(error).toMatchObject({ needs: { what: 'helper bpf_ktime_get_tai_ns', since: '6.1' } });
    expect(load(new EmbeddedKernel({ release: '6.1' }), 'socket_filter', text)).toBeGreaterThanOrEqual(0);
  });

  it('a release that is none is refused', () => {
    expect(thrown(() => new EmbeddedKernel({ release: 'new' }))).toBeInstanceOf(BpfError);
  });
});
