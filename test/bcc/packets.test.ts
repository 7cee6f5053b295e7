/** Packets in the BCC dialect: `cursor_advance` and the headers of bcc/proto.h, read and written, on both engines. */
import { describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';

/** Ethernet, IPv4 with TTL 64, DF, fragment offset 5, TCP from 10.0.0.1:4660 to 192.168.1.2:80 with SYN and ACK. */
const PACKET = Uint8Array.from([
  ...[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0],
  ...[0x45, 0x10, 0, 40, 0x12, 0x34, 0x40, 5, 64, 6, 0xab, 0xcd, 10, 0, 0, 1, 192, 168, 1, 2],
  ...[0x12, 0x34, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x12, 0x20, 0, 0, 0, 0, 0],
]);

const PARSER = `
#include <bcc/proto.h>
BPF_HASH(seen, u32, u64);
static void note(u32 key, u64 value) { seen.update(&key, &value); }
int parse(struct __sk_buff *skb) {
  u8 *cursor = 0;
  struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
  if (!(ethernet->type == 0x0800)) return 0;
  struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
  if (ip->nextp != 6) return 0;
  struct tcp_t *tcp = cursor_advance(cursor, sizeof(*tcp));
  note(0, ethernet->dst); note(1, ethernet->src);
  note(2, ip->ver); note(3, ip->hlen); note(4, ip->tlen); note(5, ip->df); note(6, ip->foffset);
  note(7, ip->ttl); note(8, ip->src); note(9, ip->dst); note(10, ip->hchecksum);
  note(11, tcp->src_port); note(12, tcp->dst_port); note(13, tcp->seq_num); note(14, tcp->offset);
  note(15, tcp->flag_syn | tcp->flag_ack << 1 | tcp->flag_fin << 2); note(16, tcp->rcv_wnd);
  note(17, sizeof(*ethernet) << 16 | sizeof(*ip) << 8 | sizeof(*tcp)); note(18, (u64)&ip->hchecksum);
  return -1;
}`;

for (const jit of [1, 0])
  describe(`bpf_jit_enable = ${jit}`, () => {
    const open = (text: string) => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      return { kernel, b: new BPF({ text, kernel }) };
    };

    it('reads fields in the order of the network, bit by bit', () => {
      const { kernel, b } = open(PARSER);
      const ifindex = kernel.simulator.addInterface('eth0');
      b.attachRawSocket(b.loadFunc('parse', BPF.SOCKET_FILTER));
      expect(kernel.simulator.receive({ ifindex, data: PACKET }).filters).toEqual([PACKET.length]);
      const seen = [...b.get('seen')].sort(([x], [y]) => Number(x) - Number(y)).map(([, value]) => value);
      expect(seen).toEqual([
        ...[0x020000000001, 0x020000000002, 4, 5, 40, 1, 5, 64, 0x0a000001, 0xc0a80102, 0xabcd],
        ...[0x1234, 80, 0x01020304, 5, 3, 0x2000, (14 << 16) | (20 << 8) | 20, 24],
      ]);
      // A packet that ends before a field ends the program with 0.
      expect(kernel.simulator.receive({ ifindex, data: PACKET.subarray(0, 20) }).filters).toEqual([0]);
    });

    it('writes fields, and mends checksums by the difference', () => {
      const { b } = open(`
        #include <bcc/proto.h>
        int rewrite(struct __sk_buff *skb) {
          u8 *cursor = 0;
          struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
          struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
          u32 old = ip->dst, new = 0x0a000063;
          ip->tos = 0x28;
          ip->foffset = 0x123;
          ethernet->src = 0x0a0b0c0d0e0fULL;
          incr_cksum_l3(&ip->hchecksum, old, new);
          ip->dst = new;
          return 0;
        }`);
      const { program } = b.loadFunc('rewrite', BPF.SCHED_CLS);
      const out = program.testRun({ dataIn: PACKET }).dataOut;
      const expected = PACKET.slice();
      expected.set([0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f], 6);
      expected[15] = 0x28;
      expected.set([0x41, 0x23], 20);
      expected.set([10, 0, 0, 0x63], 30);
      // RFC 1624: the sum without the old words, with the new ones.
      let sum = ~0xabcd & 0xffff;
      for (const [before, after] of [
        [0xc0a8, 0x0a00],
        [0x0102, 0x0063],
      ] as const)
        sum += (~before & 0xffff) + after;
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      expected.set([(~sum >>> 8) & 0xff, ~sum & 0xff], 24);
      expect([...out]).toEqual([...expected]);
    });

    it('has load_byte and the like, and headers of the program’s own', () => {
      const { b } = open(`
        struct tag_t { unsigned int low:12; unsigned int high:20; unsigned short rest; } BPF_PACKET_HEADER;
        int f(struct __sk_buff *skb) {
          struct tag_t *tag = (struct tag_t *)14;
          if (load_half(skb, 12) != 0x0800 || load_byte(skb, 14) != 0x45 || load_word(skb, 26) != 0x0a000001) return 1;
          if (load_dword(skb, 26) != 0x0a000001c0a80102ULL) return 2;
          if (tag->low != 0x451 || tag->high != 0x28 || tag->rest != 0x1234) return 3;
          return 9;
        }`);
      const { program } = b.loadFunc('f', BPF.SCHED_CLS);
      expect(program.testRun({ dataIn: PACKET }).retval).toBe(9);
    });

    it('refuses compound assignments to a field of a packet, with the line', () => {
      expect(() =>
        open(
          '#include <bcc/proto.h>\nint f(struct __sk_buff *skb) {\n  struct ip_t *ip = 0;\n  ip->ttl += 1;\n  return 0;\n}',
        ),
      ).toThrow(/main\.c:4:11: error: '\+=' on a field of a packet/);
    });
  });
