/**
 * What tests of the host kernel share: why they cannot run here, a network namespace and a bpffs of the test's own, and what
 * bpftool shows before and after.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createHostKernel, type HostKernel, whyNoHostKernel } from '../../src/host/index.ts';
import { loadNative, type Native } from '../../src/host/native.ts';
import { mountDetached } from '../../src/host/tracefs.ts';

const CLONE_NEWNET = 0x4000_0000;

/** The kernel of the machine, or why there is none. */
export async function openHost(): Promise<HostKernel | string> {
  return (await whyNoHostKernel()) ?? createHostKernel();
}

/** Prints the reason once, for the log of the run. */
export function skipReason(suite: string, why: string): string {
  console.log(`skipped: ${suite}: ${why}`);
  return why;
}

/** Moves this thread, and the processes it starts from now on, to an empty network namespace. */
export function ownNetwork(): void {
  const koffi = createRequire(import.meta.url)('koffi');
  if (koffi.load(null).func('int unshare(int flags)')(CLONE_NEWNET) !== 0)
    throw new Error('no network namespace of our own');
}

/** A veth pair in the namespace of this thread; both ends up. */
export function vethPair(name: string, peer: string): void {
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peer);
  for (const end of [name, peer]) ip('link', 'set', end, 'up');
}

export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}

/** A bpffs that no directory shows; it goes with the process. Its path, and how many pins are left is nobody's business. */
export async function ownBpffs(): Promise<string> {
  const native: Native = await loadNative();
  const fd = mountDetached(native, 'bpf');
  if (fd < 0) throw new Error(`no bpffs of our own: errno ${-fd}`);
  return `/proc/self/fd/${fd}`;
}

/** Ids of all programs, maps and links of the machine. */
export function loadedIds(): Record<'prog' | 'map' | 'link', number[]> {
  const ids = (kind: string): number[] => {
    const text = execFileSync('bpftool', [kind, 'show', '-j'], { encoding: 'utf8' });
    return (JSON.parse(text || '[]') as { id: number }[]).map((one) => one.id).sort((a, b) => a - b);
  };
  return { prog: ids('prog'), map: ids('map'), link: ids('link') };
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Until `check` no longer throws; Linux frees some things a moment after their last user. */
export function eventually(check: () => void): void {
  for (let tries = 0; ; tries++) {
    try {
      check();
      return;
    } catch (error) {
      if (tries === 100) throw error;
      Atomics.wait(PAUSE, 0, 0, 20);
    }
  }
}

/** A process of the test's own that waits for a line and then becomes `/bin/true`. */
export class WaitingChild {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(command = 'exec /bin/true') {
    this.#child = spawn('/bin/sh', ['-c', `read line; ${command}`], { stdio: ['pipe', 'ignore', 'ignore'] });
    this.pid = this.#child.pid!;
    this.#ended = new Promise((resolve) => this.#child.once('exit', resolve));
  }

  /** Lets it go on, and waits until it has ended. */
  async run(): Promise<void> {
    this.#child.stdin!.end('\n');
    await this.#ended;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** Sends frames out of an interface of the thread's namespace. */
export function sendFrames(device: string, frames: readonly Uint8Array[]): void {
  const script = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for frame in sys.argv[2:]:
    s.send(bytes.fromhex(frame))
`;
  const hex = frames.map((frame) => Buffer.from(frame).toString('hex'));
  execFileSync('python3', ['-c', script, device, ...hex]);
}

/** An Ethernet frame with an IPv4 packet of a protocol, from an address. */
export function ipFrame(protocol: number, source: readonly number[], length = 80): Uint8Array {
  const frame = new Uint8Array(length);
  frame.fill(0xff, 0, 6);
  frame.set([2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, length - 14], 6);
  frame.set([64, protocol], 22);
  frame.set(source, 26);
  frame.set([10, 0, 0, 2], 30);
  return frame;
}
