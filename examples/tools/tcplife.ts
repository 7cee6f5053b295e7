/** tcplife: TCP connections when they end: whose they were, how long they lasted, what went through them. */
import { Option } from 'commander';
import {
  AF_INET,
  AF_INET6,
  address,
  type Column,
  header,
  main,
  ports,
  printable,
  RECORD_TCP,
  row,
  type Tool,
  whole,
} from './common/index.ts';

interface Options {
  readonly time?: true;
  readonly wide?: true;
  readonly pid?: number;
  readonly ipv4?: true;
  readonly ipv6?: true;
  readonly localport?: readonly number[];
  readonly remoteport?: readonly number[];
}

interface Life {
  readonly time: number;
  readonly start: number;
  readonly received: number;
  readonly sent: number;
  readonly counted: number;
  readonly pid: number;
  readonly family: number;
  readonly sport: number;
  readonly dport: number;
  readonly comm: string;
  readonly saddr: readonly number[];
  readonly daddr: readonly number[];
}

export const tcplife: Tool<Options> = {
  name: 'tcplife',
  summary:
    'Traces TCP connections until they are closed, with their life times and the bytes that went each way.',
  examples: [
    ['tcplife', 'all connections that end'],
    ['tcplife -p 181 -T', 'of one process, with the time'],
    ['tcplife -L 80,443', 'only with these local ports'],
    ['tcplife --input tcp.data --json', 'a recording'],
  ],
  record: RECORD_TCP,
  configure: (command) =>
    command
      .option('-T, --time', 'time of the day')
      .option('-w, --wide', 'wide columns, for IPv6')
      .option('-p, --pid <pid>', 'only of this process', whole(1))
      .option('-4, --ipv4', 'only IPv4')
      .addOption(new Option('-6, --ipv6', 'only IPv6').conflicts('ipv4'))
      .option('-L, --localport <ports>', 'only these local ports, separated by commas', ports)
      .option('-D, --remoteport <ports>', 'only these remote ports', ports),
  async run(session, options) {
    session.require('sock/inet_sock_set_state');
    const object = session.open('tcplife');
    object.globals.only_pid = options.pid ?? 0;
    object.globals.only_family = options.ipv4 ? AF_INET : options.ipv6 ? AF_INET6 : 0;
    object.load(session.kernel).attach();

    const wide = options.wide ? 39 : 15;
    const kilobytes = (e: Life, bytes: number): string =>
      e.counted ? String(Math.floor(bytes / 1024)) : '-';
    const columns: Column<Life>[] = [
      ...(options.time ? [{ title: 'TIME', width: 8, value: (e: Life) => session.clock(e.time) }] : []),
      { title: 'PID', width: 7, value: (e) => e.pid },
      { title: 'COMM', width: 10, value: (e) => printable(e.comm).slice(0, 10) },
      { title: 'LADDR', width: wide, value: (e) => address(e.family, e.saddr) },
      { title: 'LPORT', width: 5, value: (e) => e.sport },
      { title: 'RADDR', width: wide, value: (e) => address(e.family, e.daddr) },
      { title: 'RPORT', width: 5, value: (e) => e.dport },
      { title: 'TX_KB', width: -5, value: (e) => kilobytes(e, e.sent) },
      { title: 'RX_KB', width: -5, value: (e) => kilobytes(e, e.received) },
      { title: 'MS', value: (e) => ((e.time - e.start) / 1e6).toFixed(2) },
    ];
    session.text(header(columns));
    session.ringEvents<Life>(object, 'events', 'life', (life) => {
      if (options.localport !== undefined && !options.localport.includes(life.sport)) return;
      if (options.remoteport !== undefined && !options.remoteport.includes(life.dport)) return;
      session.text(row(columns, life));
      const { time, start, family, pid, comm, counted } = life;
      session.object({
        time: session.iso(time),
        pid,
        comm,
        local: { address: address(family, life.saddr), port: life.sport },
        remote: { address: address(family, life.daddr), port: life.dport },
        sent: counted ? life.sent : null,
        received: counted ? life.received : null,
        ms: (time - start) / 1e6,
      });
    });
    await session.run();
  },
};

await main(import.meta.url, tcplife);
