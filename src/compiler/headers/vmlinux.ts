/**
 * `vmlinux.h` from a kernel's BTF: every type of that kernel, relocatable (what `bpftool btf dump … format c` writes), or what a program
 * asks for. Without a Linux's BTF it is made from the embedded kernel's own types, on top of the built-in UAPI headers.
 */
import { type Btf, type BtfType, dumpC, parseBtf } from '../../btf/index.ts';
import { UAPI_RECORDS } from './generated/records.ts';
import { ownKernelBtf } from './own-types.ts';

/** What stands in for the UAPI's part of a Linux's BTF. */
const UAPI_HEADERS = [
  ...[
    'types',
    'bpf',
    'btf',
    'if_ether',
    'if_arp',
    'ip',
    'ipv6',
    'tcp',
    'udp',
    'icmp',
    'icmpv6',
    'in',
    'in6',
    'socket',
    'un',
    'uio',
  ],
  ...['perf_event', 'time_types', 'filter', 'seccomp'],
].map((name) => `linux/${name}.h`);

/** Enumerators of Linux's BTF (of `linux/stddef.h`, `linux/sched.h`, `net/tcp_states.h`) that programs count on vmlinux.h for. */
const ENUMERATORS = `#ifndef true
enum { false = 0, true = 1 };
#endif
#ifndef TASK_COMM_LEN
enum { TASK_COMM_LEN = 16 };
#endif
#ifndef TCP_ESTABLISHED
enum {
${[
  ...['TCP_ESTABLISHED', 'TCP_SYN_SENT', 'TCP_SYN_RECV', 'TCP_FIN_WAIT1', 'TCP_FIN_WAIT2', 'TCP_TIME_WAIT'],
  ...['TCP_CLOSE', 'TCP_CLOSE_WAIT', 'TCP_LAST_ACK', 'TCP_LISTEN', 'TCP_CLOSING', 'TCP_NEW_SYN_RECV'],
]
  .map((name, i) => `\t${name} = ${i + 1},\n`)
  .join('')}};
#endif
`;

/** `vmlinux.h` of the embedded kernel. */
export function ownVmlinuxHeader(): string {
  const includes = UAPI_HEADERS.map((name) => `#include <${name}>\n`).join('');
  const declared = (name: string): boolean => Object.hasOwn(UAPI_RECORDS, name);
  return `#ifndef __VMLINUX_H__\n${includes}${ENUMERATORS}#endif\n${dumpC(ownKernelBtf(), { header: true, declared })}`;
}

/** Errors: EINVAL for bytes that are no BTF. */
export function vmlinuxHeader(btf: Btf | Uint8Array): string {
  return dumpC(btf instanceof Uint8Array ? parseBtf(btf) : btf, { header: true });
}

/**
 * The part of `vmlinux.h` that a program can mean which has only these identifiers in it: the types of those names, the enums with
 * such members, and what is reached from there through members of such names. Everything else could not be told from its absence.
 * Records in `without` are the program's own.
 */
export function vmlinuxHeaderFor(
  btf: Btf,
  identifiers: ReadonlySet<string>,
  without: ReadonlySet<string> = new Set(),
): string {
  const wanted = new Set<number>();
  const queue: number[] = [];
  const want = (id: number): void => {
    if (wanted.has(id)) return;
    wanted.add(id);
    queue.push(id);
  };
  for (let id = 1; id < btf.typeCount; id++) if (isNamed(btf, id, identifiers)) want(id);
  for (let id = queue.pop(); id !== undefined; id = queue.pop()) follow(btf, id, identifiers, want);
  const roots = [...wanted].filter((id) => DECLARED.has(btf.type(id).kind)).sort((a, b) => a - b);
  const absent = withHolders(btf, without);
  return dumpC(btf, { header: true, roots, declared: (name) => absent.has(name) });
}

/** Those names, and the records that have one of those records as a member: without it they cannot be defined. */
function withHolders(btf: Btf, names: ReadonlySet<string>): ReadonlySet<string> {
  if (names.size === 0) return names;
  const absent = new Set(names);
  const lacks = (id: number): boolean => {
    const type = btf.type(id);
    switch (type.kind) {
      case 'struct':
      case 'union':
        return type.name === '' ? type.members.some((member) => lacks(member.type)) : absent.has(type.name);
      case 'array':
      case 'typedef':
      case 'const':
      case 'volatile':
      case 'type_tag':
        return lacks(type.type);
      default:
        return false;
    }
  };
  for (let before = -1; before !== absent.size; ) {
    before = absent.size;
    for (let id = 1; id < btf.typeCount; id++) {
      const type = btf.type(id);
      if (type.kind !== 'struct' && type.kind !== 'union') continue;
      if (type.name !== '' && !absent.has(type.name) && type.members.some((member) => lacks(member.type)))
        absent.add(type.name);
    }
  }
  return absent;
}

/** Kinds that are declared by themselves; the others are part of a declaration. */
const DECLARED: ReadonlySet<BtfType['kind']> = new Set([
  'struct',
  'union',
  'enum',
  'enum64',
  'typedef',
  'fwd',
]);

/** Most types are not, and stay encoded: a kernel has some hundred thousand. */
function isNamed(btf: Btf, id: number, identifiers: ReadonlySet<string>): boolean {
  switch (btf.kind(id)) {
    case 'struct':
    case 'union':
    case 'typedef':
      return identifiers.has(btf.name(id));
    case 'enum':
    case 'enum64': {
      const type = btf.type(id) as BtfType & { readonly values: readonly { readonly name: string }[] };
      return identifiers.has(btf.name(id)) || type.values.some(({ name }) => identifiers.has(name));
    }
    default:
      return false;
  }
}

/** The types that an expression with these identifiers can get to from type `id`. */
function follow(btf: Btf, id: number, identifiers: ReadonlySet<string>, want: (id: number) => void): void {
  const type = btf.type(id);
  switch (type.kind) {
    case 'struct':
    case 'union':
      for (const member of type.members)
        if (member.name === '' || identifiers.has(member.name)) want(member.type);
      return;
    case 'array':
      want(type.type);
      return;
    case 'ptr':
    case 'typedef':
    case 'const':
    case 'volatile':
    case 'restrict':
    case 'type_tag':
      want(type.type);
      return;
    default:
      return;
  }
}
