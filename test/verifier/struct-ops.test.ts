/** Members of structs of functions (struct_ops): helpers, fields, references and results, as the operations of each struct say. */
import { describe, expect, it } from 'vitest';
import { BtfBuilder, type BtfType, btfInt } from '../../src/btf/index.ts';
import { type Program, verdict } from './support.ts';

const types = new BtfBuilder();
const int = types.add(btfInt('int', 4, { signed: true }));
const pointer = (type: number): number => types.add({ kind: 'ptr', type });
const struct = (
  name: string,
  members: readonly (readonly [string, number, number])[],
  size: number,
): number =>
  types.add({
    kind: 'struct',
    name,
    size,
    members: members.map(([member, type, at]) => ({ name: member, type, bitOffset: at * 8, bitSize: 0 })),
  } as BtfType);
const proto = (returnType: number, params: readonly (readonly [string, number])[]): number =>
  types.add({ kind: 'func_proto', returnType, params: params.map(([name, type]) => ({ name, type })) });
const stub = (name: string, type: number): number =>
  types.add({ kind: 'func', name, type, linkage: 'static' });

const common = struct('sock_common', [['state', int, 0]], 16);
const sock = pointer(struct('sock', [['__sk_common', common, 0]], 16));
struct(
  'tcp_sock',
  [
    ['inet_conn', common, 0],
    ['snd_cwnd', int, 16],
    ['other', int, 20],
  ],
  24,
);
const state = pointer(struct('bpf_dummy_ops_state', [['val', int, 0]], 4));
const skb = pointer(struct('sk_buff', [['len', int, 0]], 8));
const ops = (name: string, members: readonly (readonly [string, number])[]): number => {
  const id = struct(
    name,
    members.map(([member, type], i) => [member, pointer(type), 8 * i] as const),
    8 * members.length,
  );
  struct(`bpf_struct_ops_${name}`, [], 8);
  return id;
};
const withSock = proto(0, [['sk', sock]]);
const TCP = ops('tcp_congestion_ops', [
  ['init', withSock],
  ['release', withSock],
  ['get_info', withSock],
]);
const DUMMY = ops('bpf_dummy_ops', [
  ['test_1', proto(int, [['cb', state]])],
  ['test_sleepable', proto(int, [['cb', state]])],
]);
const QDISC = ops('Qdisc_ops', [
  ['enqueue', proto(int, [['skb', skb]])],
  ['dequeue', proto(skb, [['skb', skb]])],
]);
stub('Qdisc_ops__enqueue', proto(int, [['skb__ref', skb]]));
stub('Qdisc_ops__dequeue', proto(skb, [['skb__ref', skb]]));
const OTHER = struct('file_operations', [['open', pointer(withSock), 0]], 8);
const BTF = types.build();

const member = (attachBtfId: number, expectedAttachType: number, rest: Program = {}): Program => ({
  type: 'struct_ops',
  kernelBtf: BTF,
  attachBtfId,
  expectedAttachType,
  ...rest,
});
const ZERO = 'r0 = 0\nexit';
const FIRST = 'r1 = *(u64 *)(r1 +0)\n';

describe('struct_ops', () => {
  it('must be a struct that programs may implement, and a member that has a stub', () => {
    expect(verdict(ZERO, member(OTHER, 0))).toMatch(
      /^ENOTSUPP: attach_btf_id \d+ is not a supported struct$/,
    );
    expect(verdict(ZERO, member(TCP, 0))).toBe('accept');
    expect(verdict(ZERO, member(TCP, 2))).toBe(
      'ENOTSUPP: attach to unsupported member get_info of struct tcp_congestion_ops',
    );
    expect(verdict(ZERO, member(TCP, 3))).toMatch(/^EINVAL: attach to invalid member idx 3/);
  });

  it('sleep where the member does', () => {
    const flags = 1 << 4;
    expect(verdict(ZERO, member(DUMMY, 1, { flags }))).toBe('accept');
    expect(verdict(ZERO, member(DUMMY, 0, { flags }))).toBe(
      'EINVAL: attach to unsupported member test_1 of struct bpf_dummy_ops',
    );
  });

  it('have the helpers of their struct', () => {
    const sockopt = `${FIRST}r2 = 1\nr3 = 2\nr4 = r10\nr4 += -8\nr5 = 4\nr7 = 0\n*(u64 *)(r10 -8) = r7\ncall 49\nr0 = 0\nexit`;
    expect(verdict(sockopt, member(TCP, 0))).toBe('accept');
    expect(verdict(sockopt, member(TCP, 1))).toBe(
      'EINVAL: program of this type cannot use helper bpf_setsockopt#49',
    );
    const clock = 'call 5\nr0 = 0\nexit';
    expect(verdict(clock, member(QDISC, 0))).not.toContain('cannot use');
    expect(verdict(clock, member(DUMMY, 0))).toBe(
      'EINVAL: program of this type cannot use helper bpf_ktime_get_ns#5',
    );
    expect(verdict(`${FIRST}r2 = 0\ncall 116\nr0 = 0\nexit`, member(TCP, 0))).toBe('accept');
  });

  it('write what their struct lets them', () => {
    const write = (off: number, size = 'u32'): string =>
      `${FIRST}r2 = 1\n*(${size} *)(r1 +${off}) = r2\nr0 = 0\nexit`;
    expect(verdict(write(16), member(TCP, 0))).toBe('accept');
    expect(verdict(write(20), member(TCP, 0))).toBe('EACCES: no write support to tcp_sock at off 20');
    expect(verdict(write(17, 'u8'), member(TCP, 0))).toBe('EACCES: no write support to tcp_sock at off 17');
    expect(verdict(write(2, 'u8'), member(DUMMY, 0))).toBe('accept');
    expect(verdict(write(0), member(QDISC, 1))).toContain('EACCES: no write support to sk_buff at off 0');
  });

  it('give the reference of an argument back, once, or as their result', () => {
    expect(verdict(ZERO, member(QDISC, 0))).toBe(
      'EINVAL: BPF_EXIT instruction in main prog would lead to reference leak',
    );
    expect(verdict('r0 = *(u64 *)(r1 +0)\nexit', member(QDISC, 1))).toBe('accept');
    expect(verdict('r0 = *(u64 *)(r1 +0)\nr0 += 4\nexit', member(QDISC, 1))).toMatch(
      /^EACCES: dereference of modified/,
    );
    expect(verdict('r2 = 0\nr3 = 0\ncall 12\nr0 = 0\nexit', member(QDISC, 0))).toBe(
      'EINVAL: program with __ref argument cannot tail call',
    );
  });

  it('give a pointer back or 0', () => {
    expect(verdict('r0 = 1\nexit', member(QDISC, 1))).toContain('EINVAL');
  });
});
