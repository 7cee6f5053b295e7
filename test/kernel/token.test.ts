/** Tokens: what a bpffs of a user namespace delegates; and BTF that is no module's. */
import { describe, expect, it } from 'vitest';
import { assemble, encodeProgram } from '../../src/asm/index.ts';
import { BtfBuilder } from '../../src/btf/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel, ROOT, UNPRIVILEGED } from '../../src/kernel/index.ts';
import { BPF_MAP_FLAGS, BPF_MAP_TYPE, BPF_PROG_TYPE } from '../../src/uapi/index.ts';

const TOKEN_FLAG = Number(BPF_MAP_FLAGS.BPF_F_TOKEN_FD);
const insns = encodeProgram(assemble('r0 = 0\nexit'));
const array = { mapType: BPF_MAP_TYPE.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 };

/** BTF with one type. */
function types(): Uint8Array {
  const builder = new BtfBuilder();
  builder.add({ kind: 'func_proto', returnType: 0, params: [] });
  return builder.bytes();
}

function errnoOf(deed: () => unknown): string | undefined {
  try {
    deed();
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

const NAMESPACE = 7;
/** Root of a container: all capabilities, in a user namespace of its own. */
const CONTAINED = { ...ROOT, userNamespace: NAMESPACE };
const DELEGATED = {
  userNamespace: NAMESPACE,
  delegateCmds: 'map_create:PROG_LOAD',
  delegateMaps: 'array:lpm_trie',
  delegateProgs: 'xdp:kprobe:0x40',
  delegateAttachs: 'any',
};
const XDP = BPF_PROG_TYPE.BPF_PROG_TYPE_XDP;
const token = (fd: Fd | number) => ({ progFlags: TOKEN_FLAG, progTokenFd: fd as Fd });

describe('tokens', () => {
  const contained = (options: Parameters<EmbeddedKernel['mountBpffs']>[1] = DELEGATED) => {
    const kernel = new EmbeddedKernel();
    kernel.simulator.setSysctl('kernel.unprivileged_bpf_disabled', 2);
    kernel.mountBpffs('/container', options);
    const load = (progType: number, rest: object = {}, code = insns): unknown =>
      kernel.as(CONTAINED, () => kernel.progLoad({ progType, insns: code, license: 'GPL', ...rest }));
    const create = (mapType: number, mapTokenFd?: Fd): unknown =>
      kernel.as(CONTAINED, () =>
        kernel.mapCreate({
          ...array,
          mapType,
          ...(mapType === BPF_MAP_TYPE.BPF_MAP_TYPE_LPM_TRIE ? { keySize: 8 } : {}),
          mapFlags: (mapTokenFd === undefined ? 0 : TOKEN_FLAG) | (mapType === 11 ? 1 : 0),
          ...(mapTokenFd === undefined ? {} : { mapTokenFd }),
        }),
      );
    const make = (): Fd =>
      kernel.as(CONTAINED, () => kernel.tokenCreate({ bpffsFd: kernel.openDirectory('/container') }));
    return { kernel, load, create, make };
  };

  it('make the capabilities of a user namespace count, for what is delegated', () => {
    const { kernel, load, create, make } = contained();
    const fd = make();
    expect(errnoOf(() => load(XDP))).toBe('EPERM');
    expect(errnoOf(() => load(XDP, token(fd)))).toBeUndefined();
    expect(errnoOf(() => load(BPF_PROG_TYPE.BPF_PROG_TYPE_TRACEPOINT, token(fd)))).toBe('EPERM');
    expect(errnoOf(() => create(BPF_MAP_TYPE.BPF_MAP_TYPE_LPM_TRIE))).toBe('EPERM');
    expect(errnoOf(() => create(BPF_MAP_TYPE.BPF_MAP_TYPE_ARRAY, fd))).toBeUndefined();
    expect(errnoOf(() => create(BPF_MAP_TYPE.BPF_MAP_TYPE_HASH, fd))).toBe('EPERM');
    const btf = types();
    const attr = { btf, btfFlags: TOKEN_FLAG, btfTokenFd: fd };
    expect(errnoOf(() => kernel.as(CONTAINED, () => kernel.btfLoad(attr)))).toBe('EPERM');
    expect(errnoOf(() => kernel.btfLoad(attr))).toBeUndefined();
    // Nobody outside gains by it, and the holder no more than it has in its namespace.
    const other = { ...CONTAINED, userNamespace: NAMESPACE + 1 };
    expect(
      errnoOf(() =>
        kernel.as(other, () => kernel.progLoad({ progType: XDP, insns, license: 'GPL', ...token(fd) })),
      ),
    ).toBe('EPERM');
    const weak = { ...UNPRIVILEGED, userNamespace: NAMESPACE, capBpf: true };
    expect(
      errnoOf(() =>
        kernel.as(weak, () => kernel.progLoad({ progType: XDP, insns, license: 'GPL', ...token(fd) })),
      ),
    ).toBe('EPERM');
  });

  it('are what the verifier goes by', () => {
    const { kernel, make } = contained({ ...DELEGATED, delegateProgs: 'socket_filter' });
    const fd = make();
    const leak = encodeProgram(
      assemble('r1 = r10\nif r1 == 0 goto +1\nr2 = *(u64 *)(r10 - 8)\nr0 = 0\nexit'),
    );
    const filter = { progType: BPF_PROG_TYPE.BPF_PROG_TYPE_SOCKET_FILTER, license: 'GPL', insns: leak };
    const load = (who: typeof CONTAINED): string | undefined =>
      errnoOf(() => kernel.as(who, () => kernel.progLoad({ ...filter, ...token(fd) })));
    expect(load(CONTAINED)).toBeUndefined();
    expect(load({ ...CONTAINED, capPerfmon: false, capSysAdmin: false })).toBe('EACCES');
  });

  it('are made at the root of a bpffs that delegates, by whom it was mounted for', () => {
    const { kernel, make } = contained();
    const create = (path: string, who = CONTAINED): string | undefined =>
      errnoOf(() => kernel.as(who, () => kernel.tokenCreate({ bpffsFd: kernel.openDirectory(path) })));
    kernel.mkdir('/container/below');
    kernel.mountBpffs('/plain', { userNamespace: NAMESPACE });
    expect(create('/container/below')).toBe('EINVAL');
    expect(create('/sys/fs/bpf')).toBe('EPERM');
    expect(create('/sys/fs/bpf', ROOT as typeof CONTAINED)).toBe('EOPNOTSUPP');
    expect(create('/container', ROOT as typeof CONTAINED)).toBe('EPERM');
    expect(create('/container', { ...CONTAINED, capBpf: false, capSysAdmin: false })).toBe('EPERM');
    expect(create('/plain')).toBe('ENOENT');
    expect(errnoOf(() => kernel.as(CONTAINED, () => kernel.tokenCreate({ bpffsFd: 99 as Fd })))).toBe(
      'EBADF',
    );
    const info = kernel.objGetInfoByFd({ bpfFd: make() });
    expect(info).toEqual({
      kind: 'token',
      id: 0,
      allowedCmds: (1n << 0n) | (1n << 5n),
      allowedMaps: (1n << 2n) | (1n << 11n),
      // A number takes the place of what came before it.
      allowedProgs: 0x40n,
      allowedAttachs: (1n << 64n) - 1n,
    });
  });

  it('delegation is for the administrator of the machine', () => {
    const kernel = new EmbeddedKernel();
    const mount = (options: object) =>
      errnoOf(() => kernel.as(CONTAINED, () => kernel.mountBpffs('/mine', options)));
    expect(mount({ delegateCmds: 'any' })).toBe('EPERM');
    expect(mount({ delegateCmds: 'everything' })).toBe('EINVAL');
    expect(mount({})).toBeUndefined();
  });

  it('are told from other descriptors', () => {
    const { kernel } = contained();
    const load = (fd: number): unknown =>
      kernel.progLoad({ progType: XDP, insns, license: 'GPL', ...token(fd) });
    const create = (mapTokenFd: number): unknown =>
      kernel.mapCreate({ ...array, mapFlags: TOKEN_FLAG, mapTokenFd: mapTokenFd as Fd });
    const map = kernel.mapCreate(array);
    expect(errnoOf(() => load(99))).toBe('EBADF');
    expect(errnoOf(() => load(map))).toBe('EINVAL');
    expect(errnoOf(() => create(99))).toBe('EBADF');
    expect(errnoOf(() => create(map))).toBe('EINVAL');
    const loadTypes = (btfTokenFd: number): unknown =>
      kernel.btfLoad({ btf: types(), btfFlags: TOKEN_FLAG, btfTokenFd: btfTokenFd as Fd });
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
    const btf = kernel.btfLoad({ btf: types() });
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
