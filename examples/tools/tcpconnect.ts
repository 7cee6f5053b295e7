/** tcpconnect: connections that processes of this machine begin. */
import {
  AF_INET,
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

const PROGRAM = `
#define TCP_SYN_SENT 2

struct connect_t {
  u64 time;
  u32 pid;
  u32 uid;
  u16 family;
  u16 dport;
  char comm[16];
  u8 saddr[16];
  u8 daddr[16];
};
struct flow_t {
  u16 family;
  u16 dport;
  u8 saddr[16];
  u8 daddr[16];
};
BPF_PERF_OUTPUT(events);
BPF_HASH(counts, struct flow_t);

TRACEPOINT_PROBE(sock, inet_sock_set_state)
{
  u64 id = bpf_get_current_pid_tgid();

  // This state is entered by the process itself, in connect(2).
  if (args->protocol != 6 || args->newstate != TCP_SYN_SENT)
    return 0;
#ifdef ONLY_PID
  if (id >> 32 != ONLY_PID)
    return 0;
#endif
#ifdef ONLY_UID
  if ((u32)bpf_get_current_uid_gid() != ONLY_UID)
    return 0;
#endif
#ifdef OTHER_PORT
  if (OTHER_PORT)
    return 0;
#endif
#ifdef COUNT
  struct flow_t flow = {};
  flow.family = args->family;
  flow.dport = args->dport;
  __builtin_memcpy(flow.saddr, args->saddr_v6, 16);
  __builtin_memcpy(flow.daddr, args->daddr_v6, 16);
  counts.increment(flow);
#else
  struct connect_t event = {};
  event.time = bpf_ktime_get_ns();
  event.pid = id >> 32;
  event.uid = bpf_get_current_uid_gid();
  event.family = args->family;
  event.dport = args->dport;
  bpf_get_current_comm(&event.comm, sizeof(event.comm));
  // IPv4 addresses stand here, too, as ::ffff:a.b.c.d.
  __builtin_memcpy(event.saddr, args->saddr_v6, 16);
  __builtin_memcpy(event.daddr, args->daddr_v6, 16);
  events.perf_submit(args, &event, sizeof(event));
#endif
  return 0;
}
`;

interface Options {
  readonly time?: true;
  readonly count?: true;
  readonly printUid?: true;
  readonly pid?: number;
  readonly uid?: number;
  readonly port?: readonly number[];
}

interface Flow {
  readonly family: number;
  readonly dport: number;
  readonly saddr: readonly number[];
  readonly daddr: readonly number[];
}

interface ConnectEvent extends Flow {
  readonly time: number;
  readonly pid: number;
  readonly uid: number;
  readonly comm: string;
}

const shown = (family: number, bytes: readonly number[]): string =>
  family === AF_INET ? address(family, bytes.slice(12)) : address(family, bytes);

export const tcpconnect: Tool<Options> = {
  name: 'tcpconnect',
  summary: 'Traces TCP connections that are begun with connect(2).',
  examples: [
    ['tcpconnect', 'all of them'],
    ['tcpconnect -P 443 -U', 'to one port, with the user'],
    ['tcpconnect -c -d 10', 'counts by address and port, for ten seconds'],
    ['tcpconnect --input tcp.data', 'a recording'],
  ],
  record: RECORD_TCP,
  configure: (command) =>
    command
      .option('-T, --time', 'time of the day')
      .option('-U, --print-uid', 'user id')
      .option('-c, --count', 'count by source, destination and port')
      .option('-p, --pid <pid>', 'only this process', whole(1))
      .option('-u, --uid <uid>', 'only this user', whole())
      .option('-P, --port <ports>', 'only to these ports, separated by commas', ports),
  async run(session, options) {
    session.require('sock/inet_sock_set_state');
    const { pid, uid, port, count } = options;
    const b = session.bcc(PROGRAM, {
      ONLY_PID: pid,
      ONLY_UID: uid,
      OTHER_PORT: port?.map((one) => `args->dport != ${one}`).join(' && '),
      COUNT: count,
    });
    const places: Column<Flow>[] = [
      { title: 'SADDR', width: 16, value: (e) => shown(e.family, e.saddr) },
      { title: 'DADDR', width: 16, value: (e) => shown(e.family, e.daddr) },
      { title: 'DPORT', width: -5, value: (e) => e.dport },
    ];
    if (count) {
      const columns: Column<Flow & { readonly connects: number }>[] = [
        ...places,
        { title: 'CONNECTS', width: -8, value: (e) => e.connects },
      ];
      await session.run({
        onInterval: () => {
          const flows = b.get('counts').items() as unknown as [Flow, number][];
          session.text(header(columns));
          for (const [flow, connects] of flows.sort((a, b) => b[1] - a[1])) {
            session.text(row(columns, { ...flow, connects }));
            const { family, dport } = flow;
            const [source, destination] = [shown(family, flow.saddr), shown(family, flow.daddr)];
            session.object({ source, destination, port: dport, connects });
          }
        },
      });
      return;
    }
    const columns: Column<ConnectEvent>[] = [
      ...(options.time
        ? [{ title: 'TIME', width: 8, value: (e: ConnectEvent) => session.clock(e.time) }]
        : []),
      ...(options.printUid ? [{ title: 'UID', width: 6, value: (e: ConnectEvent) => e.uid }] : []),
      { title: 'PID', width: 7, value: (e) => e.pid },
      { title: 'COMM', width: 12, value: (e) => printable(e.comm) },
      { title: 'IP', width: 2, value: (e) => (e.family === AF_INET ? 4 : 6) },
      ...places,
    ];
    session.text(header(columns));
    session.perfEvents<ConnectEvent>(b, 'events', (event) => {
      session.text(row(columns, event));
      const { time, family, comm, dport } = event;
      const [source, destination] = [shown(family, event.saddr), shown(family, event.daddr)];
      const who = { pid: event.pid, uid: event.uid, comm };
      session.object({ time: session.iso(time), ...who, source, destination, port: dport });
    });
    await session.run();
  },
};

await main(import.meta.url, tcpconnect);
