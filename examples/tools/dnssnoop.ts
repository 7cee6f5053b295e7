/** dnssnoop: questions and answers of DNS as they come by, with the time that answers took. */
import {
  address,
  type Column,
  type DnsMessage,
  header,
  main,
  parseDns,
  row,
  type Tool,
  whole,
} from './common/index.ts';

interface Options {
  readonly time?: true;
  readonly port: number;
  readonly interface?: string;
  readonly name?: string;
  readonly questions?: true;
}

interface DnsEvent {
  readonly time: number;
  readonly ifindex: number;
  readonly family: number;
  readonly sport: number;
  readonly dport: number;
  readonly size: number;
  readonly saddr: readonly number[];
  readonly daddr: readonly number[];
}

interface Shown extends DnsEvent {
  readonly dns: DnsMessage;
  readonly ms: number | undefined;
}

/** offsetof(struct dns_event, payload) */
const PAYLOAD_AT = 54;
/** Questions that wait for their answer. */
const MOST_PENDING = 4096;

export const dnssnoop: Tool<Options> = {
  name: 'dnssnoop',
  summary: 'Shows DNS messages over UDP, seen by a socket filter, and how long answers take.',
  examples: [
    ['dnssnoop', 'all interfaces'],
    ['dnssnoop -i eth0 -T', 'one interface, with the time'],
    ['dnssnoop -n example', 'only names with "example" in them'],
    ['dnssnoop -p 5353', 'another port'],
    ['dnssnoop --input dns.pcap --json', 'a capture'],
  ],
  record: 'tcpdump -w dns.pcap udp port 53',
  configure: (command) =>
    command
      .option('-T, --time', 'time of the day')
      .option('-p, --port <port>', 'port of the servers', whole(1), 53)
      .option('-i, --interface <name>', 'only this interface')
      .option('-n, --name <text>', 'only names with this in them')
      .option('-q, --questions', 'only questions'),
  async run(session, options) {
    const { recording } = session;
    if (recording !== undefined && recording.kind !== 'packet capture')
      throw session.failure(
        'EINVAL',
        `the recording (${recording.kind}) has no packets`,
        'make one with tcpdump -w',
      );
    let ifindex = 0;
    if (options.interface !== undefined && recording === undefined) {
      ifindex = session.kernel.ifNameToIndex(options.interface) ?? 0;
      if (ifindex === 0) throw session.failure('ENODEV', `there is no interface '${options.interface}'`);
    }
    const object = session.open('dnssnoop');
    object.globals.port = options.port;
    object.globals.only_ifindex = ifindex;
    object.load(session.kernel);
    const socket = object.findProgram('dns').attachSocket();

    const columns: Column<Shown>[] = [
      ...(options.time ? [{ title: 'TIME', width: 8, value: (e: Shown) => session.clock(e.time) }] : []),
      { title: 'FROM', width: 21, value: (e) => endpoint(e.family, e.saddr, e.sport) },
      { title: 'TO', width: 21, value: (e) => endpoint(e.family, e.daddr, e.dport) },
      { title: 'ID', width: -5, value: (e) => e.dns.id },
      { title: 'QR', width: 2, value: (e) => (e.dns.response ? 'R' : 'Q') },
      { title: 'TYPE', width: 5, value: (e) => e.dns.type },
      { title: 'NAME', width: 24, value: (e) => e.dns.name },
      { title: 'MS', width: -8, value: (e) => (e.ms === undefined ? '' : e.ms.toFixed(3)) },
      { title: 'ANSWER', value: ({ dns }) => (dns.response ? [dns.rcode, ...dns.answers].join(' ') : '') },
    ];
    const asked = new Map<string, number>();
    session.text(header(columns));
    session.ringEvents<DnsEvent>(object, 'events', 'dns_event', (event, bytes) => {
      const dns = parseDns(bytes.subarray(PAYLOAD_AT, PAYLOAD_AT + event.size));
      if (dns === undefined) return;
      const { family, time } = event;
      const [source, destination] = [
        endpoint(family, event.saddr, event.sport),
        endpoint(family, event.daddr, event.dport),
      ];
      // The answer comes from where the question went.
      const key = dns.response ? `${destination} ${source} ${dns.id}` : `${source} ${destination} ${dns.id}`;
      let ms: number | undefined;
      if (dns.response) {
        const since = asked.get(key);
        ms = since === undefined ? undefined : (time - since) / 1e6;
        asked.delete(key);
      } else {
        if (asked.size >= MOST_PENDING) asked.delete(asked.keys().next().value!);
        asked.set(key, time);
      }
      if (options.name !== undefined && !dns.name.includes(options.name)) return;
      if (options.questions && dns.response) return;
      session.text(row(columns, { ...event, dns, ms }));
      const latency = ms === undefined ? {} : { ms };
      session.object({ time: session.iso(time), source, destination, ...dns, ...latency });
    });
    try {
      await session.run();
    } finally {
      session.kernel.close(socket);
    }
  },
};

function endpoint(family: number, bytes: readonly number[], port: number): string {
  const text = address(family, bytes);
  return family === 2 ? `${text}:${port}` : `[${text}]:${port}`;
}

await main(import.meta.url, dnssnoop);
