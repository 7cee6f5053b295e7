/** Tokens, of which the embedded kernel has none, and BTF that is no module's. */
import { describe, expect, it } from 'vitest';
import { assemble, encodeProgram } from '../../src/asm/index.ts';
import { BtfBuilder } from '../../src/btf/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BPF_MAP_FLAGS, BPF_MAP_TYPE, BPF_PROG_TYPE } from '../../src/uapi/index.ts';

const TOKEN_FLAG = Number(BPF_MAP_FLAGS.BPF_F_TOKEN_FD);
const insns = encodeProgram(assemble('r0 = 0\nexit'));
const array = { mapType: BPF_MAP_TYPE.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 };

function errnoOf(deed: () => unknown): string | undefined {
  try {
    deed();
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

describe('tokens', () => {
  it('are descriptors that nobody can have', () => {
    const kernel = new EmbeddedKernel();
    const load = (progTokenFd: number): unknown =>
      kernel.progLoad({
        progType: BPF_PROG_TYPE.BPF_PROG_TYPE_XDP,
        insns,
        license: 'GPL',
        progFlags: TOKEN_FLAG,
        progTokenFd: progTokenFd as Fd,
      });
    const create = (mapTokenFd: number): unknown =>
      kernel.mapCreate({ ...array, mapFlags: TOKEN_FLAG, mapTokenFd: mapTokenFd as Fd });
    const map = kernel.mapCreate(array);
    expect(errnoOf(() => load(99))).toBe('EBADF');
    expect(errnoOf(() => load(map))).toBe('EINVAL');
    expect(errnoOf(() => create(99))).toBe('EBADF');
    expect(errnoOf(() => create(map))).toBe('EINVAL');
    const loadTypes = (btfTokenFd: number): unknown =>
      kernel.btfLoad({ btf: new BtfBuilder().bytes(), btfFlags: TOKEN_FLAG, btfTokenFd: btfTokenFd as Fd });
    expect(errnoOf(() => loadTypes(99))).toBe('EBADF');
    expect(errnoOf(() => loadTypes(map))).toBe('EINVAL');
  });

  it('came with 6.9', () => {
    const kernel = new EmbeddedKernel({ release: '6.1' });
    expect(errnoOf(() => kernel.mapCreate({ ...array, mapFlags: TOKEN_FLAG, mapTokenFd: 99 as Fd }))).toBe(
      'EINVAL',
    );
  });
});

describe('calls of functions of modules', () => {
  it('need BTF of a module in the array of descriptors', () => {
    const kernel = new EmbeddedKernel();
    const types = new BtfBuilder();
    types.add({ kind: 'func_proto', returnType: 0, params: [] });
    const btf = kernel.btfLoad({ btf: types.bytes() });
    const call = assemble('call kernel-function#1\nr0 = 0\nexit');
    call[0]!.off = 1;
    const load = (fdArray?: readonly Fd[]): string => {
      let log = '';
      try {
        kernel.progLoad({
          progType: BPF_PROG_TYPE.BPF_PROG_TYPE_XDP,
          insns: encodeProgram(call),
          license: 'GPL',
          logLevel: 1,
          ...(fdArray === undefined ? {} : { fdArray }),
        });
      } catch (error) {
        log = (error as { log?: string }).log ?? String(error);
      }
      return log;
    };
    expect(load()).toContain('kfunc offset > 0 without fd_array is invalid');
    expect(load([btf, 99 as Fd])).toContain('invalid module BTF fd specified');
    expect(load([btf, btf])).toContain('BTF fd for kfunc is not a module BTF');
  });
});
