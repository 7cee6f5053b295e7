/** Frames for test runs: the same sequence for every kernel. Checksums are right where a program may look at them. */

const ETH_P = { ip: 0x0800, ipv6: 0x86dd, arp: 0x0806, vlan: 0x8100, qinq: 0x88a8 } as const;
const PROTO = { icmp: 1, ipip: 4, tcp: 6, udp: 17, icmpv6: 58 } as const;

const u16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];
const bytes = (count: number, first = 0): number[] =>
  Array.from({ length: count }, (_, i) => (first + i) & 0xff);

function checksum(...parts: readonly (readonly number[])[]): number {
  let sum = 0;
  for (const part of parts)
    for (let i = 0; i < part.length; i += 2) sum += (part[i]! << 8) | (part[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const MACS = [0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
const ethernet = (proto: number, payload: readonly number[]): number[] => [
  ...MACS,
  ...u16(proto),
  ...payload,
];
const vlan = (id: number, proto: number, payload: readonly number[]): number[] => [
  ...u16(id),
  ...u16(proto),
  ...payload,
];

const IPV4 = [10, 0, 0, 1, 10, 0, 0, 2];
const IPV6 = [0xfd, ...new Array(14).fill(0), 1, 0xfd, ...new Array(14).fill(0), 2];

function ipv4(proto: number, payload: readonly number[], options: readonly number[] = []): number[] {
  const length = 20 + options.length + payload.length;
  const head = [0x40 | (5 + options.length / 4), 0, ...u16(length), 0x12, 0x34, 0x40, 0, 64, proto];
  const sum = checksum([...head, 0, 0, ...IPV4, ...options]);
  return [...head, ...u16(sum), ...IPV4, ...options, ...payload];
}

const ipv6 = (next: number, payload: readonly number[]): number[] => [
  0x60,
  0,
  0,
  0,
  ...u16(payload.length),
  next,
  64,
  ...IPV6,
  ...payload,
];

/** `addresses`: of the pseudo header. */
function udp(addresses: readonly number[], port: number, payload: readonly number[]): number[] {
  const length = 8 + payload.length;
  const head = [...u16(40000), ...u16(port), ...u16(length)];
  const sum = checksum(addresses, u32(length), [0, PROTO.udp], head, [0, 0], payload);
  return [...head, ...u16(sum), ...payload];
}

function tcp(
  addresses: readonly number[],
  port: number,
  flags: number,
  payload: readonly number[],
): number[] {
  const options = (flags & 2) !== 0 ? [2, 4, 5, 0xb4, 1, 3, 3, 7] : [];
  const head = [...u16(40001), ...u16(port), ...u32(1000), ...u32(2000)];
  const rest = [(5 + options.length / 4) << 4, flags, ...u16(65535)];
  const length = head.length + rest.length + 4 + options.length + payload.length;
  const sum = checksum(addresses, u32(length), [0, PROTO.tcp], head, rest, [0, 0, 0, 0], options, payload);
  return [...head, ...rest, ...u16(sum), 0, 0, ...options, ...payload];
}

function echo(type: number, pseudo: readonly number[], payload: readonly number[]): number[] {
  const head = [type, 0];
  const rest = [0, 7, 0, 1, ...payload];
  return [...head, ...u16(checksum(pseudo, head, [0, 0], rest)), ...rest];
}

/** Valid frames, then cut and odd ones. */
export function testFrames(): Uint8Array[] {
  const dns = [
    ...u16(0xbeef),
    1,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    7,
    ...bytes(7, 97),
    3,
    99,
    111,
    109,
    0,
    0,
    1,
    0,
    1,
  ];
  const text = [...'GET / HTTP/1.1\r\nHost: example.org\r\n\r\n'].map((c) => c.charCodeAt(0));
  const v6echo = echo(128, [...IPV6, ...u32(40), 0, PROTO.icmpv6], bytes(32));
  const frames = [
    ethernet(ETH_P.ip, ipv4(PROTO.tcp, tcp(IPV4, 80, 0x02, []))),
    ethernet(ETH_P.ip, ipv4(PROTO.tcp, tcp(IPV4, 80, 0x18, text))),
    ethernet(ETH_P.ip, ipv4(PROTO.udp, udp(IPV4, 53, dns))),
    ethernet(ETH_P.ip, ipv4(PROTO.udp, udp(IPV4, 6080, ipv4(PROTO.udp, udp(IPV4, 9999, bytes(64)))))),
    ethernet(ETH_P.ip, ipv4(PROTO.icmp, echo(8, [], bytes(56)))),
    ethernet(ETH_P.ip, ipv4(PROTO.ipip, ipv4(PROTO.tcp, tcp(IPV4, 443, 0x10, bytes(20))))),
    ethernet(ETH_P.ip, ipv4(PROTO.udp, udp(IPV4, 1234, bytes(16)), [1, 1, 1, 0])),
    ethernet(ETH_P.ipv6, ipv6(PROTO.tcp, tcp(IPV6, 80, 0x02, []))),
    ethernet(ETH_P.ipv6, ipv6(PROTO.udp, udp(IPV6, 53, dns))),
    ethernet(ETH_P.ipv6, ipv6(PROTO.icmpv6, v6echo)),
    ethernet(ETH_P.vlan, vlan(5, ETH_P.ip, ipv4(PROTO.udp, udp(IPV4, 53, dns)))),
    ethernet(ETH_P.qinq, vlan(5, ETH_P.vlan, vlan(6, ETH_P.ipv6, ipv6(PROTO.udp, udp(IPV6, 7, bytes(8)))))),
    ethernet(ETH_P.arp, [0, 1, 8, 0, 6, 4, 0, 1, ...bytes(20)]),
    ethernet(0x1234, bytes(60)),
    ethernet(ETH_P.ip, ipv4(PROTO.udp, udp(IPV4, 53, bytes(1400)))),
    ethernet(ETH_P.ip, ipv4(PROTO.tcp, tcp(IPV4, 80, 0x18, text))).slice(0, 30),
    ethernet(ETH_P.ipv6, ipv6(PROTO.udp, [])),
    bytes(64, 200),
  ];
  return frames.map((frame) => Uint8Array.from(frame));
}
