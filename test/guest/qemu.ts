/**
 * Starts the guest, listens to it and sees to its end: the channel ends with `end`, or the run failed, and then the reason
 * names what was running and shows the console's last lines. qemu never outlives this process.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Packages } from './packages.ts';
import type { GuestMessage, GuestResult } from './protocol.ts';

export interface BootOptions {
  readonly packages: Packages;
  readonly initrd: string;
  /** Directory for the console's log. */
  readonly work: string;
  readonly only?: string;
  /** Further words of the kernel's command line. */
  readonly words?: string;
  /** Leaves the mitigations of the processor's weaknesses on; default off, which is faster. */
  readonly mitigations?: boolean;
  /** qemu's name of the processor; default max. */
  readonly cpu?: string;
  /** Processors; default 2. */
  readonly cpus?: number;
  readonly onMessage?: (message: GuestMessage) => void;
}

export interface Outcome {
  readonly results: readonly GuestResult[];
  /** Kernel release and Node version, null if no suite began. */
  readonly hello: (GuestMessage & { event: 'hello' }) | null;
  /** Every suite was run. */
  readonly ended: boolean;
  /** Why the run is not complete; null: it is. */
  readonly failure: string | null;
  /** The console of the guest's kernel. */
  readonly consoleLog: string;
  /** Seconds from the start of qemu to the agent, and to the end. */
  readonly bootSeconds: number;
  readonly totalSeconds: number;
}

/** Silence that counts as a hang, milliseconds. A case may take 60 s. */
const BOOT_LIMIT = 120_000;
const SILENCE_LIMIT = 150_000;
const TOTAL_LIMIT = 540_000;

const COMMAND_LINE = [
  'console=ttyS0',
  'quiet',
  'loglevel=4',
  // A guest that panics, oopses or is told to restart ends qemu at once.
  'panic=-1',
  'oops=panic',
  'lsm=lockdown,capability,yama,bpf',
  'cryptomgr.notests',
  'random.trust_cpu=on',
  'no_hash_pointers',
].join(' ');

/** Lines with which the kernel says that it has come to harm. */
const HARM =
  /Kernel panic|Oops:|BUG:|WARNING: CPU|Call Trace|general protection fault|soft lockup|hung task|Out of memory/;

function consoleText(path: string): string {
  return existsSync(path) ? readFileSync(path, 'latin1').replace(/\r/g, '') : '';
}

function tail(text: string, lines: number): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

const hasSetpriv = (): boolean => spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0;

export async function boot(options: BootOptions): Promise<Outcome> {
  const { packages, work } = options;
  const { qemu } = packages;
  const consoleFile = join(work, 'console.log');
  const only =
    options.only === undefined ? '' : ` tsbpf.only=${Buffer.from(options.only).toString('base64url')}`;
  const words = [
    COMMAND_LINE,
    options.mitigations === true ? '' : ' mitigations=off',
    options.words === undefined ? '' : ` ${options.words}`,
    only,
  ].join('');
  const args = [
    ...qemu.firmware,
    ...[
      '-machine',
      'pc',
      '-accel',
      'tcg,thread=multi',
      '-cpu',
      options.cpu ?? 'max',
      '-smp',
      String(options.cpus ?? 2),
      '-m',
      '1024',
    ],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', packages.kernel, '-initrd', options.initrd, '-append', words],
    ...['-serial', `file:${consoleFile}`, '-serial', 'stdio'],
  ];
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  // The kernel ends qemu with its parent, however that ends.
  const [program, ...before] = hasSetpriv()
    ? ['setpriv', '--pdeathsig', 'KILL', qemu.program]
    : [qemu.program];
  const child = spawn(program!, [...before, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...qemu.env },
  });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const interrupted = (signal: NodeJS.Signals): void => {
    kill();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);

  const results: GuestResult[] = [];
  let hello: Outcome['hello'] = null;
  let bootSeconds = Number.NaN;
  let running: string | null = null;
  let ended = false;
  let failure: string | null = null;
  let complaint = '';

  const stop = (reason: string): void => {
    failure ??= reason;
    kill();
  };
  const during = (): string => (running === null ? '' : ` in "${running}"`);
  let silence: NodeJS.Timeout | undefined;
  const listen = (): void => {
    clearTimeout(silence);
    const limit = hello === null ? BOOT_LIMIT : SILENCE_LIMIT;
    silence = setTimeout(() => stop(`the guest was silent for ${limit / 1000} s${during()}`), limit);
  };
  const total = setTimeout(
    () => stop(`the guest ran longer than ${TOTAL_LIMIT / 1000} s${during()}`),
    TOTAL_LIMIT,
  );
  listen();

  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    listen();
    let message: GuestMessage;
    try {
      message = JSON.parse(line) as GuestMessage;
    } catch {
      stop(`the guest said something that is no message${during()}: ${line.slice(0, 200)}`);
      return;
    }
    switch (message.event) {
      case 'hello':
        if (hello === null) bootSeconds = seconds();
        hello ??= message;
        break;
      case 'start':
        running = message.name;
        break;
      case 'result': {
        const { event: _, ...result } = message;
        results.push(result);
        running = null;
        break;
      }
      case 'note':
        break;
      case 'broken':
        results.push({
          name: running ?? message.suite,
          state: 'fail',
          time: 0,
          message: `${message.suite} ended with status ${message.status}; the console's log may say why`,
        });
        running = null;
        break;
      case 'end':
        ended = true;
        // What is left is switching off.
        setTimeout(kill, 5000).unref();
        break;
    }
    options.onMessage?.(message);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });

  const drained = new Promise<void>((resolve) => lines.once('close', resolve));
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      failure ??= `qemu does not start: ${error.message}`;
      resolve(null);
    });
    child.once('close', resolve);
  });
  if (child.pid !== undefined) await drained;
  clearTimeout(silence);
  clearTimeout(total);
  process.off('exit', kill);
  process.off('SIGINT', interrupted);
  process.off('SIGTERM', interrupted);

  const consoleLog = consoleText(consoleFile);
  const harm = consoleLog.split('\n').find((line) => HARM.test(line));
  if (!ended) {
    failure ??= `the guest ended${during()} before its suite did (qemu's status ${code})`;
    if (harm !== undefined) failure = `${harm.trim()}${during()}; ${failure}`;
    if (complaint !== '') failure += `\nqemu: ${complaint.trim()}`;
    failure += `\nconsole:\n${tail(consoleLog, 40)}`;
  } else if (results.length === 0 && options.only === undefined) {
    failure = 'the suite had no case';
  } else if (harm !== undefined) {
    failure = `the guest's kernel came to harm: ${harm.trim()}\nconsole:\n${tail(consoleLog, 60)}`;
  }
  return { results, hello, ended, failure, consoleLog, bootSeconds, totalSeconds: seconds() };
}
