/** What test/guest/progs/token.c would print if its kernel were the embedded one. */
import { assemble, encodeProgram } from '../../src/asm/index.ts';
import { BtfBuilder } from '../../src/btf/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel, ROOT, UNPRIVILEGED } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { BPF_MAP_FLAGS } from '../../src/uapi/index.ts';
import { BpfError } from '../../src/util/index.ts';

const NAMESPACE = 1;
const TOKEN = Number(BPF_MAP_FLAGS.BPF_F_TOKEN_FD);
const ZERO = encodeProgram(assemble('r0 = 0\nexit'));
const LEAK = encodeProgram(assemble('r1 = r10\nif r1 == 0 goto +1\nr2 = *(u64 *)(r10 - 8)\nr0 = 0\nexit'));

/** What bpffs are mounted with, and `caps=bpf`. */
export const TOKEN_CASES: readonly (readonly string[])[] = [
  [],
  ['delegate_cmds=any', 'delegate_maps=any', 'delegate_progs=any', 'delegate_attachs=any'],
  ['delegate_cmds=any', 'delegate_maps=any', 'delegate_progs=any', 'delegate_attachs=any', 'caps=bpf'],
  [
    'delegate_cmds=map_create:PROG_LOAD',
    'delegate_maps=array:lpm_trie',
    'delegate_progs=xdp',
    'delegate_attachs=any',
  ],
  ['delegate_cmds=map_create', 'delegate_maps=0x4'],
  [
    'delegate_cmds=0x40021',
    'delegate_maps=hash:0x800',
    'delegate_progs=socket_filter:kprobe',
    'delegate_attachs=cgroup_inet_ingress',
  ],
  ['delegate_cmds=prog_load', 'delegate_progs=xdp:tracepoint', 'delegate_attachs=xdp'],
  ['delegate_cmds=btf_load'],
  ['delegate_maps=nothing_of_the_kind'],
];

function errno(deed: () => unknown): number {
  try {
    deed();
    return 0;
  } catch (error) {
    if (error instanceof BpfError) return -error.errno;
    throw error;
  }
}

export function tokenAnswers(options: readonly string[], release: string): string[] {
  const kernel = new EmbeddedKernel({ release });
  kernel.simulator.setSysctl('kernel.unprivileged_bpf_disabled', 2);
  const given = new Map(options.map((option) => option.split('=', 2) as [string, string]));
  const who = {
    ...(given.get('caps') === 'bpf' ? { ...UNPRIVILEGED, uid: 0, capBpf: true } : ROOT),
    userNamespace: NAMESPACE,
  };
  given.delete('caps');
  const lines: string[] = [];
  const say = (name: string, deed: () => unknown): number => {
    const result = errno(() => kernel.as(who, deed));
    lines.push(`${name}: ${result}`);
    return result;
  };
  // Each option is set by itself: one that is refused does nothing.
  const accepted: Record<string, string> = {};
  for (const [name, value] of given) {
    const key = name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    const result = errno(() => kernel.mountBpffs(`/try_${name}`, { [key]: value, userNamespace: NAMESPACE }));
    lines.push(`option ${name}: ${result}`);
    if (result === 0) accepted[key] = value;
  }
  kernel.mountBpffs('/mnt', { ...accepted, userNamespace: NAMESPACE });
  const mount = kernel.openDirectory('/mnt');
  say('token with flags', () => kernel.tokenCreate({ bpffsFd: mount, flags: 1 }));
  say('token of nothing', () => kernel.tokenCreate({ bpffsFd: 99 as Fd }));
  const other = kernel.mapCreate({
    mapType: mapTypeByName('array')!.id,
    keySize: 4,
    valueSize: 4,
    maxEntries: 1,
  });
  say('token of another file system', () => kernel.tokenCreate({ bpffsFd: other }));
  const first = kernel.openDirectory('/sys/fs/bpf');
  say('token of the first namespace', () => kernel.tokenCreate({ bpffsFd: first }));
  let token: Fd | undefined;
  say('token', () => {
    token = kernel.tokenCreate({ bpffsFd: mount });
  });
  const map = (name: string, type: string, keySize: number, mapFlags: number): void => {
    const attr = { mapType: mapTypeByName(type)!.id, keySize, valueSize: 8, maxEntries: 1 };
    say(`map ${name}`, () => kernel.mapCreate({ ...attr, mapFlags }));
    if (token === undefined) return;
    say(`map ${name} token`, () =>
      kernel.mapCreate({ ...attr, mapFlags: mapFlags | TOKEN, mapTokenFd: token! }),
    );
  };
  map('array', 'array', 4, 0);
  map('hash', 'hash', 4, 0);
  map('lpm_trie', 'lpm_trie', 8, 1);
  map('devmap', 'devmap', 4, 0);
  const program = (name: string, type: string, insns = ZERO, expectedAttachType = 0): void => {
    const attr = { progType: progTypeByName(type)!.id, insns, license: 'GPL', expectedAttachType };
    say(`program ${name}`, () => kernel.progLoad(attr));
    if (token === undefined) return;
    say(`program ${name} token`, () => kernel.progLoad({ ...attr, progFlags: TOKEN, progTokenFd: token! }));
  };
  program('socket_filter', 'socket_filter');
  program('xdp', 'xdp');
  program('xdp for a device', 'xdp', ZERO, 37);
  program('kprobe', 'kprobe');
  program('tracepoint', 'tracepoint');
  program('leak', 'socket_filter', LEAK);
  const types = new BtfBuilder();
  types.add({
    kind: 'int',
    name: 'int',
    size: 4,
    signed: true,
    char: false,
    bool: false,
    bitOffset: 0,
    bits: 32,
  });
  const btf = types.bytes();
  say('types', () => kernel.btfLoad({ btf }));
  if (token !== undefined)
    say('types token', () => kernel.btfLoad({ btf, btfFlags: TOKEN, btfTokenFd: token! }));
  const plain = {
    mapType: mapTypeByName('array')!.id,
    keySize: 4,
    valueSize: 8,
    maxEntries: 1,
    mapFlags: TOKEN,
  };
  say('map with a directory for a token', () => kernel.mapCreate({ ...plain, mapTokenFd: mount }));
  say('map with nothing for a token', () => kernel.mapCreate({ ...plain, mapTokenFd: 99 as Fd }));
  kernel.shutdown();
  return lines;
}
