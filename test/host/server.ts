/** A conversation with the kernel that the tests run on, through bpf_server.py: commands in, results out, in order. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export type HostCommand =
  | {
      readonly op: 'create';
      readonly type: number;
      readonly key: number;
      readonly value: number;
      readonly max: number;
      readonly flags?: number;
      readonly inner?: number;
    }
  | {
      readonly op: 'elem';
      readonly cmd: number;
      readonly fd: number;
      readonly key: string | null;
      readonly value?: string;
      readonly out?: number;
      readonly flags?: number;
    }
  | { readonly op: 'close'; readonly fd: number }
  | {
      readonly op: 'snprintf';
      readonly fmt: string;
      readonly args: readonly (string | { readonly str: string })[];
      readonly size: number;
    }
  /** Calls one helper from a program of `type`; buffers lie in a map value. */
  | {
      readonly op: 'helper';
      readonly type: number;
      readonly id: number;
      readonly args: readonly HostArg[];
      readonly data: string;
    }
  /** Maps a ring buffer, moves its consumer where `consume` says, and reads positions and data. */
  | { readonly op: 'ring'; readonly fd: number; readonly size: number; readonly consume?: number };

export type HostArg =
  | number
  | { readonly fd: number }
  | { readonly buf: string }
  /** A constant string in a frozen map. */
  | { readonly const: string }
  | { readonly ctx: true };

export interface HostResult {
  readonly ret: number;
  readonly out: string;
  /** Set where a program was refused: -errno. */
  readonly load?: number;
  readonly log?: string;
  readonly producer?: number;
  readonly consumer?: number;
  /** The buffers after the call of a helper. */
  readonly bufs?: readonly string[];
}

export class HostBpf {
  readonly cpus: number;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  private constructor(
    child: ChildProcessWithoutNullStreams,
    reader: Interface,
    lines: AsyncIterator<string>,
    cpus: number,
  ) {
    this.#child = child;
    this.#reader = reader;
    this.#lines = lines;
    this.cpus = cpus;
  }

  static async open(): Promise<HostBpf> {
    const script = fileURLToPath(new URL('./bpf_server.py', import.meta.url));
    const child = spawn('python3', [script], { stdio: 'pipe' });
    const reader = createInterface({ input: child.stdout });
    const lines = reader[Symbol.asyncIterator]();
    const first = await lines.next();
    const hello = first.done ? {} : JSON.parse(first.value);
    if (hello.cpus === undefined) {
      child.kill();
      throw new Error(hello.unavailable ?? 'bpf_server.py did not start');
    }
    return new HostBpf(child, reader, lines, hello.cpus);
  }

  async run(commands: readonly HostCommand[]): Promise<HostResult[]> {
    this.#child.stdin.write(`${JSON.stringify(commands)}\n`);
    const line = await this.#lines.next();
    if (line.done) throw new Error('bpf_server.py died');
    return JSON.parse(line.value);
  }

  close(): void {
    this.#reader.close();
    this.#child.stdin.end();
    this.#child.kill();
  }
}
