/**
 * Functions and macros of the kernel's own headers that BCC's programs call, where types alone do not bring them: what each of them means
 * in terms of the types. They come with the header that has them, unless the program defines them itself.
 */
import { guarded, macro } from './text.ts';

const SOCKETS: readonly (readonly [head: string, body: string])[] = [
  ['inet_sk(sk)', '((struct inet_sock *)(sk))'],
  ['tcp_sk(sk)', '((struct tcp_sock *)(sk))'],
  ['udp_sk(sk)', '((struct udp_sock *)(sk))'],
  ['unix_sk(sk)', '((struct unix_sock *)(sk))'],
  ['inet_csk(sk)', '((struct inet_connection_sock *)(sk))'],
  ['inet6_sk(sk)', '(((struct inet_sock *)(sk))->pinet6)'],
  ['sock_net(sk)', '((sk)->__sk_common.skc_net.net)'],
];

const PACKETS: readonly (readonly [head: string, body: string])[] = [
  ['skb_transport_header(skb)', '((skb)->head + (skb)->transport_header)'],
  ['skb_network_header(skb)', '((skb)->head + (skb)->network_header)'],
  ['skb_mac_header(skb)', '((skb)->head + (skb)->mac_header)'],
  ['skb_shinfo(skb)', '((struct skb_shared_info *)((skb)->head + (skb)->end))'],
  ['skb_get_queue_mapping(skb)', '((skb)->queue_mapping)'],
  ['skb_rx_queue_recorded(skb)', '((skb)->queue_mapping != 0)'],
  ['skb_get_rx_queue(skb)', '((skb)->queue_mapping - 1)'],
];

/** By header, under the names that programs include. */
const BY_HEADER: Readonly<Record<string, readonly (readonly [head: string, body: string])[]>> = {
  'net/sock.h': SOCKETS,
  'net/inet_sock.h': SOCKETS,
  'linux/tcp.h': [
    ...SOCKETS,
    ['tcp_hdr(skb)', '((struct tcphdr *)((skb)->head + (skb)->transport_header))'],
    ['tcp_flag_byte(th)', '(((u_int8_t *)(th))[13])'],
  ],
  'net/tcp.h': [
    ...SOCKETS,
    ['tcp_hdr(skb)', '((struct tcphdr *)((skb)->head + (skb)->transport_header))'],
    ['TCP_SKB_CB(skb)', '((struct tcp_skb_cb *)&((skb)->cb[0]))'],
  ],
  'linux/udp.h': [['udp_hdr(skb)', '((struct udphdr *)((skb)->head + (skb)->transport_header))']],
  'linux/ip.h': [['ip_hdr(skb)', '((struct iphdr *)((skb)->head + (skb)->network_header))']],
  'linux/ipv6.h': [['ipv6_hdr(skb)', '((struct ipv6hdr *)((skb)->head + (skb)->network_header))']],
  'linux/skbuff.h': PACKETS,
  'linux/netdevice.h': PACKETS,
  'linux/scatterlist.h': [
    ['sg_is_chain(sg)', '((sg)->page_link & 1UL)'],
    ['sg_is_last(sg)', '((sg)->page_link & 2UL)'],
    ['sg_chain_ptr(sg)', '((struct scatterlist *)((sg)->page_link & ~3UL))'],
    ['sg_dma_len(sg)', '((sg)->length)'],
  ],
  'linux/mm.h': [['folio_page(folio, n)', '(&(folio)->page + (n))']],
  'linux/mm_types.h': [['folio_page(folio, n)', '(&(folio)->page + (n))']],
  'linux/fs.h': [
    ['file_inode(f)', '((f)->f_inode)'],
    ['d_inode(d)', '((d)->d_inode)'],
  ],
};

/** A program that includes these gets what all of the kernel's headers below them bring, too. */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  'linux/virtio.h': ['linux/scatterlist.h'],
  'linux/blkdev.h': ['linux/scatterlist.h', 'linux/mm.h', 'linux/fs.h'],
  'net/net_namespace.h': ['linux/netdevice.h', 'linux/skbuff.h'],
  'linux/if_ether.h': ['linux/skbuff.h'],
};

/** What a header of the kernel's sources brings besides types; '' for most. */
export function kernelFunctions(name: string): string {
  const rows = [name, ...(ALSO[name] ?? [])].flatMap((one) =>
    Object.hasOwn(BY_HEADER, one) ? BY_HEADER[one]! : [],
  );
  if (rows.length === 0) return '';
  const text = rows.map(([head, body]) => {
    const word = head.replace(/\(.*/, '');
    return `#ifndef ${word}\n${macro(head, body)}#endif\n`;
  });
  return guarded(`__BCC_FUNCTIONS_${name.replace(/\W/g, '_')}`, text.join(''));
}
