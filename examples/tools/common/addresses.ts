/** Network addresses as text (RFC 5952 for IPv6). */

export const AF_INET = 2;
export const AF_INET6 = 10;

/** What makes a recording of the states of TCP sockets. */
export const RECORD_TCP = 'perf record -k CLOCK_MONOTONIC -a -o tcp.data -e sock:inet_sock_set_state COMMAND';

export function ipv4(bytes: ArrayLike<number>): string {
  return Array.from({ length: 4 }, (_, i) => bytes[i]).join('.');
}

export function ipv6(bytes: ArrayLike<number>): string {
  const words = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  if (words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff)
    return `::ffff:${ipv4(Array.from({ length: 4 }, (_, i) => bytes[12 + i]!))}`;
  // The longest run of zeros, if it has two words at least.
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && words[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const hex = (part: readonly number[]): string => part.map((word) => word.toString(16)).join(':');
  if (best.at < 0) return hex(words);
  return `${hex(words.slice(0, best.at))}::${hex(words.slice(best.at + best.length))}`;
}

/** Of an address family. */
export const address = (family: number, bytes: ArrayLike<number>): string =>
  family === AF_INET ? ipv4(bytes) : ipv6(bytes);
