/**
 * `npm run demo`: what tsbpf does, on the examples of this repository, through its own command line. Needs Node and nothing else:
 * the objects and the recordings are committed. Leave a step out or add one in STEPS.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pc from 'picocolors';
import { readPackets } from '../src/capture/index.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BIN = fileURLToPath(new URL('../dist/bin.js', import.meta.url));

interface Step {
  readonly title: string;
  readonly before: string;
  readonly commands: readonly string[];
  readonly after?: string;
  /** Exit code that the last command is expected to have. */
  readonly exit?: number;
}

const STEPS: readonly Step[] = [
  {
    title: 'An XDP firewall on recorded traffic',
    before:
      'A C program, compiled by clang, counts packets per protocol and drops what comes from blocked networks.\n' +
      'It is verified, compiled to WebAssembly, and sees 95 packets of a capture.',
    commands: [
      'run examples/objects/xdp_filter.bpf.o --pcap examples/inputs/traffic.pcap --set blocked:10.66.0.0/16=1',
    ],
    after: 'Protocols by their IP numbers: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6, 0 IPv6 hop-by-hop options.',
  },
  {
    title: 'Tracing: which programs did a shell run?',
    before:
      'The same kind of program that traces execve on a live machine, here on a recording that strace -f -ttt made.\n' +
      'Its events come through a ring buffer and are decoded by the types in the object.',
    commands: ['run examples/objects/exec_ringbuf.bpf.o --replay examples/inputs/commands.strace'],
  },
  {
    title: 'What the verifier says to a mistake',
    before: 'Two of these programs would be refused by Linux, and are here, for the same reason.',
    commands: ['verify examples/objects/unchecked.bpf.o'],
    exit: 1,
  },
  {
    title: 'JIT and interpreter',
    before: 'The XDP program again, on one TCP packet of the capture many times, by both engines.',
    commands: [
      'prog run examples/objects/xdp_filter.bpf.o --engine jit --repeat 5000000 --data @PACKET --data-out PACKET.out',
      'prog run examples/objects/xdp_filter.bpf.o --engine interp --repeat 200000 --data @PACKET --data-out PACKET.out',
    ],
  },
];

const work = mkdtempSync(join(tmpdir(), 'tsbpf-demo-'));
const packet = join(work, 'packet.bin');
writeFileSync(packet, firstTcpPacket());
const start = performance.now();
let failed = false;
STEPS.forEach(({ title, before, commands, after, exit = 0 }, i) => {
  console.log(`\n${pc.bold(pc.cyan(`${i + 1}. ${title}`))}\n${before}\n`);
  for (const command of commands) {
    console.log(pc.dim(`$ tsbpf ${command.replaceAll('PACKET', 'packet.bin')}`));
    const { status, error } = spawnSync(
      process.execPath,
      [BIN, ...command.replaceAll('PACKET', packet).split(' ')],
      {
        cwd: ROOT,
        stdio: 'inherit',
      },
    );
    if (error !== undefined) throw error;
    if (status !== exit) {
      console.error(pc.red(`expected exit code ${exit}, not ${status}`));
      failed = true;
    }
  }
  if (after !== undefined) console.log(after);
});
console.log(
  `\n${pc.bold(`Done in ${((performance.now() - start) / 1000).toFixed(1)} s.`)} Next: npx tsbpf --help, README.md`,
);
rmSync(work, { recursive: true });
process.exitCode = failed ? 1 : 0;

function firstTcpPacket(): Uint8Array {
  const TCP = 6;
  const capture = readFileSync(join(ROOT, 'examples/inputs/traffic.pcap'));
  for (const { data } of readPackets(capture))
    if (data[12] === 8 && data[13] === 0 && data[23] === TCP) return data;
  throw new Error('the capture has no TCP packet');
}
