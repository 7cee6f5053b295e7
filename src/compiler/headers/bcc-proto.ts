/**
 * `bcc/proto.h`: headers of packets as BCC's programs name them, field by field as the RFCs draw them (Ethernet and 802.1Q, RFC 826, 791, 792,
 * 8200, 4443, 768, 9293, 7348). A row: struct, then `field:bits` in the order of the wire.
 */
import { guarded } from './text.ts';

const HEADERS: Readonly<Record<string, string>> = {
  ethernet_t: 'dst:48 src:48 type:16',
  dot1q_t: 'pri:3 cfi:1 vlanid:12 type:16',
  arp_t: 'htype:16 ptype:16 hlen:8 plen:8 oper:16 sha:48 spa:32 tha:48 tpa:32',
  ip_t: 'ver:4 hlen:4 tos:8 tlen:16 identification:16 ffo_unused:1 df:1 mf:1 foffset:13 ttl:8 nextp:8 hchecksum:16 src:32 dst:32',
  icmp_t: 'type:8 code:8 checksum:16',
  ip6_t:
    'ver:4 priority:8 flow_label:20 payload_len:16 next_header:8 hop_limit:8 src_hi:64 src_lo:64 dst_hi:64 dst_lo:64',
  ip6_opt_t: 'next_header:8 ext_len:8 pad:8*6',
  icmp6_t: 'type:8 code:8 checksum:16',
  udp_t: 'sport:16 dport:16 length:16 crc:16',
  tcp_t:
    'src_port:16 dst_port:16 seq_num:32 ack_num:32 offset:4 reserved:4 flag_cwr:1 flag_ece:1 flag_urg:1 flag_ack:1 flag_psh:1 flag_rst:1 flag_syn:1 flag_fin:1 rcv_wnd:16 cksum:16 urg_ptr:16',
  vxlan_t: 'rsv1:4 iflag:1 rsv2:3 rsv3:24 key:24 rsv4:8',
  vxlan_gbp_t: 'gflag:1 rsv1:3 iflag:1 rsv2:3 rsv3:1 dflag:1 rsv4:1 aflag:1 rsv5:3 tag:16 key:24 rsv6:8',
};

const PLAIN: Readonly<Record<number, string>> = {
  8: 'unsigned char',
  16: 'unsigned short',
  32: 'unsigned int',
  64: 'unsigned long long',
};

/** A field that fills a type where it lies is one of that type: its address can be taken. Others are bit-fields of the smallest type. */
function field(text: string, at: number): { readonly c: string; readonly bits: number } {
  const [name = '', size = ''] = text.split(':');
  const [bits = 0, times = 1] = size.split('*').map(Number);
  const type = PLAIN[bits];
  if (type !== undefined && at % 8 === 0)
    return { c: `\t${type} ${name}${times > 1 ? `[${times}]` : ''};\n`, bits: bits * times };
  const holder = [8, 16, 32, 64].find((width) => width >= bits) ?? 64;
  return { c: `\t${PLAIN[holder]} ${name} : ${bits};\n`, bits };
}

let made: string | undefined;

export function protoHeader(): string {
  if (made !== undefined) return made;
  let text = '#include <linux/if_ether.h>\n';
  for (const [tag, fields] of Object.entries(HEADERS)) {
    let at = 0;
    text += `struct ${tag} {\n`;
    for (const one of fields.split(' ')) {
      const { c, bits } = field(one, at);
      text += c;
      at += bits;
    }
    text += '} BPF_PACKET_HEADER;\n';
  }
  made = guarded('__BCC_PROTO_H', text);
  return made;
}
