/** A session on the host kernel: programs run as the machine makes their events, until somebody or something ends it. */
import type { CliEnv } from '../environment.ts';
import type { OutputReader } from './output.ts';
import type { Scope } from './scope.ts';

/** Milliseconds for what a command has caused to arrive: trace_pipe is looked at every 100. */
const LINGER = 300;

export interface LiveOptions {
  readonly env: CliEnv;
  readonly reader: OutputReader;
  readonly scope: Scope;
  /** Seconds. */
  readonly duration: number | undefined;
  /** A command's output goes to standard error where standard output is a document. */
  readonly json: boolean;
  readonly note: (text: string) => void;
  /** Attaches the programs; nothing is attached before somebody listens. */
  readonly attach: () => void;
}

/** Resolves when the command has ended, the time is over, or an interrupt came. */
export async function runLive(options: LiveOptions): Promise<void> {
  const { env, reader, scope, note } = options;
  const end = new AbortController();
  const release = env.onInterrupt(() => end.abort());
  const { duration } = options;
  const timer = duration === undefined ? undefined : setTimeout(() => end.abort(), duration * 1000);
  try {
    const followed = reader.follow(end.signal);
    // What readers throw while we wait for something else ends the session.
    followed.catch(() => end.abort());
    await reader.ready();
    options.attach();
    const command = scope.start?.({ stdout: options.json ? 2 : 'inherit' });
    command?.then(
      (code) => {
        if (code !== 0) note(`the command ended with status ${code}`);
        setTimeout(() => end.abort(), LINGER);
      },
      () => end.abort(),
    );
    if (command === undefined && duration === undefined && env.stderr.isTTY) note('Ctrl-C ends it');
    await followed;
    // A command that could not be started.
    if (command !== undefined) await Promise.race([command, Promise.resolve()]);
  } finally {
    end.abort();
    if (timer !== undefined) clearTimeout(timer);
    release();
  }
}
