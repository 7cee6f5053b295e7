/** Loads through socket pointers: the facades bpf_sock, bpf_tcp_sock, bpf_xdp_sock. Kernel 6.18: check_sock_access. */
import { ctxAccess, SOCK_FACADE, TCP_SOCK_FACADE } from '../../spec/index.ts';
import type { CtxLayout } from '../../spec/types.ts';
import type { Env } from '../env.ts';
import {
  PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  typeName,
  UNKNOWN_REG,
} from '../registers.ts';
import { failNegativeIndex } from './pointer-checks.ts';

const XDP_SOCK_FACADE: CtxLayout = {
  struct: 'bpf_xdp_sock',
  size: 4,
  access: 'fields',
  fields: [{ name: 'queue_id', offset: 0, size: 4, read: true, write: false }],
};

const FACADES: Readonly<Record<number, CtxLayout>> = {
  [PTR_TO_SOCKET]: SOCK_FACADE,
  [PTR_TO_SOCK_COMMON]: SOCK_FACADE,
  [PTR_TO_TCP_SOCK]: TCP_SOCK_FACADE,
  [PTR_TO_XDP_SOCK]: XDP_SOCK_FACADE,
};

/** Fields of bpf_sock that exist only in full sockets. */
const FULL_SOCKET_ONLY = ['type', 'protocol', 'mark', 'priority'];

export function accessSock(
  env: Env,
  n: number,
  off: number,
  size: number,
  write: boolean,
  value: number,
): void {
  const reg = env.reg(n);
  if (write)
    env.fail('EACCES', `R${n} cannot write into ${typeName(reg.type)}`, {
      kind: 'read_only',
      register: n,
      given: typeName(reg.type),
      write: true,
    });
  if (reg.v.sminHi < 0) failNegativeIndex(env, n);
  const layout = FACADES[reg.type]!;
  const access = ctxAccess(layout, { offset: off, size, write: false });
  const fullOnly = reg.type === PTR_TO_SOCK_COMMON && FULL_SOCKET_ONLY.includes(access?.field?.name ?? '');
  if (access === null || fullOnly) {
    env.fail('EACCES', `R${n} invalid ${typeName(reg.type)} access off=${off} size=${size}`, {
      kind: 'context_access',
      register: n,
      given: typeName(reg.type),
      offset: off,
      size,
      struct: layout.struct,
    });
  }
  env.factsOf(env.insn).facade = { struct: layout.struct, offset: off };
  if (value >= 0) env.setReg(value, UNKNOWN_REG);
}
