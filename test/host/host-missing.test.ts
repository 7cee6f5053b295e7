/** Where Linux cannot be reached: another platform, no koffi, no privilege. Each says what is missing; input that cannot be, too. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Fd } from '../../src/contracts/kernel.ts';
import { createHostKernel, type HostKernel } from '../../src/host/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { code, makeMap, u32 } from '../kernel/subject.ts';
import { openHost, skipReason } from './host-support.ts';

async function refusal(action: () => Promise<unknown>): Promise<BpfError> {
  const error = await action().then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(BpfError);
  return error as BpfError;
}

describe('what is missing', () => {
  afterEach(() => {
    vi.doUnmock('koffi');
    vi.resetModules();
    vi.unstubAllGlobals();
  });

  it('is another platform', async () => {
    for (const [values, words] of [
      [{ platform: 'darwin' }, /needs Linux/],
      [{ arch: 'riscv64' }, /x86-64 and aarch64, not on riscv64/],
    ] as const) {
      vi.resetModules();
      vi.unstubAllGlobals();
      vi.stubGlobal(
        'process',
        Object.create(
          process,
          Object.fromEntries(Object.entries(values).map(([key, value]) => [key, { value }])),
        ),
      );
      const { createHostKernel: create, whyNoHostKernel: why } = await import('../../src/host/index.ts');
      expect(await create().catch((error) => error)).toMatchObject({
        code: 'ENOSYS',
        message: expect.stringMatching(words),
      });
      expect(await why()).toMatch(words);
    }
  });

  it('is koffi', async () => {
    vi.resetModules();
    vi.doMock('koffi', () => {
      throw new Error('Cannot find package');
    });
    const { createHostKernel: create, whyNoHostKernel: why } = await import('../../src/host/index.ts');
    expect(await create().catch((error) => error)).toMatchObject({
      code: 'ENOENT',
      message: 'the host kernel is reached through the npm package koffi, which is missing',
      hint: expect.stringMatching(/npm install koffi/),
    });
    expect(await why()).toMatch(/koffi/);
  });

  it.skipIf(process.getuid?.() !== 0)('is a privilege', () => {
    const script = `
      import('${fileURLToPath(new URL('../../src/host/index.ts', import.meta.url))}')
        .then(({ whyNoHostKernel }) => whyNoHostKernel())
        .then((why) => console.log(why));`;
    const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', '-e', script], {
      cwd: fileURLToPath(new URL('../../', import.meta.url)),
      encoding: 'utf8',
      uid: 65_534,
      gid: 65_534,
      env: { ...process.env, HOME: '/tmp', TSX_DISABLE_CACHE: '1' },
    });
    expect(stdout.trim()).toMatch(
      /^BPF_MAP_CREATE: a map of array: operation not permitted \(EPERM\): run as root/,
    );
  });
});

const host = await openHost();
if (typeof host === 'string') {
  describe.skip(`host kernel: ${skipReason('hostile input of the host kernel', host)}`, () =>
    it('cannot be reached here', () => {}));
} else describe('what cannot be', () => hostile(host));

/** Numbers that do not fit, names and paths with NULs, sizes that no memory has: refused, never taken for something else. */
function hostile(kernel: HostKernel): void {
  afterEach(() => kernel.shutdown());
  const hash = () => makeMap(kernel, 'hash');

  it('is refused in numbers', () => {
    for (const maxEntries of [2 ** 32 + 4, -(2 ** 31) - 1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect([maxEntries, code(() => makeMap(kernel, 'hash', { maxEntries }))]).toEqual([
        maxEntries,
        'EINVAL',
      ]);
    for (const mapExtra of [2n ** 64n, -(2n ** 64n)])
      expect(code(() => makeMap(kernel, 'hash', { mapExtra }))).toBe('EINVAL');
    for (const flags of [2 ** 60, 0.5])
      expect(code(() => kernel.mapUpdateElem({ mapFd: hash(), key: u32(0), value: u32(0), flags }))).toBe(
        'EINVAL',
      );
  });

  it('is refused in sizes', () => {
    const mapFd = hash();
    for (const count of [2 ** 40, -1, 0.5])
      expect(code(() => kernel.mapLookupBatch({ mapFd, count }))).toMatch(/EINVAL|ENOMEM/);
    const insns = new Uint8Array(12);
    expect(code(() => kernel.progLoad({ progType: 1, insns, license: 'GPL' }))).toBe('EINVAL');
    expect(code(() => kernel.progLoad({ progType: 1, insns: new Uint8Array(), license: 'GPL' }))).toBe(
      'E2BIG',
    );
    expect(code(() => kernel.mapLookupElem({ mapFd, key: new Uint8Array(5) }))).toBe('EINVAL');
    expect(code(() => kernel.mapUpdateBatch({ mapFd, keys: [u32(0)], values: [] }))).toBe('EINVAL');
    expect(code(() => kernel.btfLoad({ btf: new Uint8Array(1 << 20).fill(0xff) }))).toBe('EINVAL');
  });

  it('is refused in text', () => {
    const bpfFd = hash();
    expect(code(() => kernel.objPin({ pathname: '/sys/fs/bpf/x\0y', bpfFd }))).toBe('EINVAL');
    expect(code(() => kernel.objGet({ pathname: '' }))).toBe('ENOENT');
    expect(code(() => kernel.objGet({ pathname: `/${'x'.repeat(5000)}` }))).toBe('ENAMETOOLONG');
    expect(code(() => makeMap(kernel, 'hash', { mapName: 'a\0b' }))).toBe('EINVAL');
    expect(code(() => kernel.unlink('/no\0thing'))).toBe('EINVAL');
    expect(code(() => kernel.readdir('/no/thing'))).toBe('ENOENT');
    const uprobe = { kind: 'uprobe', path: '/bin/true\0', offset: 0n } as const;
    expect(code(() => kernel.perfEventOpen(uprobe))).toBe('EINVAL');
    expect(kernel.ifNameToIndex('x'.repeat(1000))).toBeNull();
  });

  it('is refused in descriptors', () => {
    for (const fd of [-1, 2 ** 31, 1_000_000] as Fd[]) {
      expect(code(() => kernel.close(fd))).toBe('EBADF');
      expect(code(() => kernel.mapFreeze({ mapFd: fd }))).toBe('EBADF');
      expect(code(() => kernel.mapRing(fd))).toBe('EBADF');
      expect(code(() => kernel.linkDetach({ linkFd: fd }))).toBe('EBADF');
    }
  });

  it('a kernel that was shut down may be used again', async () => {
    kernel.shutdown();
    kernel.shutdown();
    const other = await createHostKernel();
    const mapFd = makeMap(other, 'array');
    expect(code(() => kernel.close(mapFd))).toBe('EBADF');
    expect(hash()).toBeGreaterThan(2);
    other.shutdown();
    expect(await refusal(async () => other.mapFreeze({ mapFd }))).toMatchObject({ code: 'EBADF' });
  });
}
