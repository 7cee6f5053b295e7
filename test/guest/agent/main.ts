/** The program that the guest's init starts for each suite: runs what was bundled with it and reports over the serial line. */
import { openSync, readFileSync, writeSync } from 'node:fs';
import { release } from 'node:os';
import { CHANNEL, type GuestMessage } from '../protocol.ts';
import { runAll } from './vitest.ts';

const CASE_TIMEOUT = 60_000;

/** A word of the kernel's command line: `tsbpf.only=PATTERN`. */
function option(name: string): string | undefined {
  const words = readFileSync('/proc/cmdline', 'utf8').trim().split(' ');
  return words.find((word) => word.startsWith(`tsbpf.${name}=`))?.slice(`tsbpf.${name}=`.length);
}

export async function main(): Promise<void> {
  const channel = openSync(CHANNEL, 'w');
  const say = (message: GuestMessage): void => {
    let rest = Buffer.from(`${JSON.stringify(message)}\n`);
    while (rest.length > 0) rest = rest.subarray(writeSync(channel, rest));
  };
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  say({ event: 'hello', release: release(), node: process.version, uptime });
  console.log = (...words: unknown[]) => say({ event: 'note', text: words.map(String).join(' ') });
  const report = (what: string) => (error: unknown) => {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    say({ event: 'result', name: what, state: 'fail', time: 0, message });
  };
  process.on('uncaughtException', report('an exception outside any case'));
  process.on('unhandledRejection', report('a rejection outside any case'));
  const only = option('only');
  await runAll({
    ...(only === undefined ? {} : { only: new RegExp(Buffer.from(only, 'base64url').toString()) }),
    timeout: CASE_TIMEOUT,
    onStart: (name) => say({ event: 'start', name }),
    onResult: (result) => say({ event: 'result', ...result }),
  });
  process.exit(0);
}
