/** A hash of a packet's flow: addresses, protocol and ports of IPv4 and IPv6; the same for both directions, never 0. */

const PORTS = new Set([6, 17, 33, 132, 136]); // TCP, UDP, DCCP, SCTP, UDP-Lite

function mix(hash: number, bytes: Uint8Array): number {
  let h = hash;
  for (const byte of bytes) h = Math.imul(h ^ byte, 0x0100_0193);
  return h;
}

/** Both ends in an order that does not depend on the direction. */
function sorted(a: Uint8Array, b: Uint8Array): Uint8Array[] {
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return a[i] < b[i] ? [a, b] : [b, a];
  }
  return [a, b];
}

/** `packet`: from the network header on. Anything but IP hashes as its first bytes. */
export function flowHash(packet: Uint8Array): number {
  const version = packet.length > 0 ? packet[0] >> 4 : 0;
  const isV4 = version === 4 && packet.length >= 20;
  const isV6 = version === 6 && packet.length >= 40;
  let hash = 0x811c_9dc5;
  if (isV4 || isV6) {
    const protocol = isV4 ? packet[9] : packet[6];
    const [first, size] = isV4 ? [12, 4] : [8, 16];
    const transport = isV4 ? (packet[0] & 15) * 4 : 40;
    const fragment = isV4 && (((packet[6] << 8) | packet[7]) & 0x3fff) !== 0;
    const withPorts = PORTS.has(protocol) && !fragment && packet.length >= transport + 4;
    const end = (address: number, port: number): Uint8Array => {
      const bytes = new Uint8Array(size + 2);
      bytes.set(packet.subarray(address, address + size));
      if (withPorts) bytes.set(packet.subarray(transport + port, transport + port + 2), size);
      return bytes;
    };
    for (const part of sorted(end(first, 0), end(first + size, 2))) hash = mix(hash, part);
    hash = Math.imul(hash ^ protocol, 0x0100_0193);
  } else hash = mix(hash, packet.subarray(0, 32));
  hash = Math.imul(hash ^ (hash >>> 15), 0x85eb_ca6b);
  return (hash ^ (hash >>> 13)) >>> 0 || 1;
}
