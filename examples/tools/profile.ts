/** profile: where processors spend their time: call stacks, sampled by time, as text, folded, or as a flame graph. */
import { writeFileSync } from 'node:fs';
import { flameGraph, main, printable, type Session, seconds, type Tool, whole } from './common/index.ts';
import { type BPF, Symbolizer } from './tsbpf.ts';

const PROGRAM = `
#include <uapi/linux/bpf_perf_event.h>

struct key_t {
  u32 pid;
  u32 tid;
  int user;
  int kernel;
  char comm[16];
};
BPF_HASH(counts, struct key_t, u64, STACKS);
BPF_STACK_TRACE(stacks, STACKS);
BPF_ARRAY(collisions, u64, 1);

int sample(struct bpf_perf_event_data *ctx)
{
  u64 id = bpf_get_current_pid_tgid();
  struct key_t key = {};
  int zero = 0;

  key.pid = id >> 32;
  key.tid = id;
#ifndef IDLE
  if (key.tid == 0)
    return 0;
#endif
#ifdef ONLY_PID
  if (key.pid != ONLY_PID)
    return 0;
#endif
  bpf_get_current_comm(&key.comm, sizeof(key.comm));
  key.user = -1;
  key.kernel = -1;
#ifndef KERNEL_ONLY
  key.user = stacks.get_stackid(&ctx->regs, BPF_F_USER_STACK);
#endif
#ifndef USER_ONLY
  key.kernel = stacks.get_stackid(&ctx->regs, 0);
#endif
  // Another stack has the same place (EEXIST).
  if (key.user == -17 || key.kernel == -17)
    collisions.increment(zero);
  counts.increment(key);
  return 0;
}
`;

interface Options {
  readonly seconds?: number;
  readonly frequency: number;
  readonly pid?: number;
  readonly userOnly?: true;
  readonly kernelOnly?: true;
  readonly idle?: true;
  readonly annotate?: true;
  readonly delimited?: true;
  readonly folded?: true;
  readonly svg?: string;
  readonly stackStorageSize: number;
}

interface Key {
  readonly pid: number;
  readonly tid: number;
  readonly user: number;
  readonly kernel: number;
  readonly comm: string;
}

interface Stack {
  readonly pid: number;
  readonly comm: string;
  /** Innermost first. */
  readonly kernel: readonly string[];
  readonly user: readonly string[];
  count: number;
}

/** PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK */
const CPU_CLOCK = { type: 1, config: 0n };
/** Names of processes that end soon are looked up while they are there. */
const LOOK_EVERY = 0.5;

export const profile: Tool<Options> = {
  name: 'profile',
  summary: 'Samples call stacks of the kernel and of processes, by time.',
  examples: [
    ['profile', 'all processors, until Ctrl-C'],
    ['profile 5', 'for five seconds'],
    ['profile -F 99 -p 185 5', 'one process, 99 times a second'],
    ['profile -f 5 > out.folded', 'folded stacks, for flame graph tools'],
    ['profile --svg flame.svg 5', 'a flame graph'],
    ['profile -K', 'only stacks of the kernel'],
    ['profile --input samples.txt --svg flame.svg', 'a recording'],
  ],
  record: 'perf record -F 99 -g -o samples.data COMMAND; perf script -i samples.data > samples.txt',
  configure: (command) =>
    command
      .argument('[seconds]', 'end after this time', seconds)
      .option('-F, --frequency <hertz>', 'samples a second, of each processor', whole(1), 49)
      .option('-p, --pid <pid>', 'only this process', whole(1))
      .option('-U, --user-only', 'only stacks of user space')
      .option('-K, --kernel-only', 'only stacks of the kernel')
      .option('-I, --idle', 'processors at rest, too')
      .option('-a, --annotate', '_[k] behind names of the kernel')
      .option('-D, --delimited', '-- between kernel and user stacks')
      .option('-f, --folded', 'one line a stack: comm;root;…;leaf count')
      .option('--svg <file>', 'write a flame graph')
      .option('--stack-storage-size <count>', 'stacks that there is room for', whole(16), 16384),
  async run(session, options) {
    const { recording } = session;
    const event = recording === undefined ? CPU_CLOCK : recording.sampled;
    if (event === undefined)
      throw session.failure('ENOENT', `the recording (${recording?.kind}) has no samples`);
    const b = session.bcc(PROGRAM, {
      STACKS: options.stackStorageSize,
      ONLY_PID: options.pid,
      USER_ONLY: options.userOnly,
      KERNEL_ONLY: options.kernelOnly,
      IDLE: options.idle,
    });
    b.attachPerfEvent({
      evType: event.type,
      evConfig: event.config,
      fnName: 'sample',
      sampleFreq: options.frequency,
    });
    const names = new Names(session, b, options.annotate === true);
    const target = options.pid === undefined ? 'all threads' : `process ${options.pid}`;
    if (!options.folded)
      session.text(
        session.embedded
          ? 'Sampling a recording...'
          : `Sampling at ${options.frequency} Hertz of ${target} by user and kernel stack${options.seconds === undefined ? '... Hit Ctrl-C to end.' : ` for ${options.seconds} secs.`}`,
      );
    await session.run({
      interval: LOOK_EVERY,
      duration: options.seconds,
      onInterval: () => names.look(),
    });
    b.detachPerfEvent(event.type, event.config);
    const stacks = names.stacks();
    show(session, stacks, options);
    if (options.svg !== undefined) {
      const samples = stacks.reduce((sum, { count }) => sum + count, 0);
      const svg = flameGraph(fold(stacks, options), {
        title: `CPU profile of ${options.pid === undefined ? 'all processes' : target}`,
        subtitle: `${samples} samples`,
      });
      try {
        writeFileSync(options.svg, svg);
      } catch (error) {
        throw session.failure('EINVAL', `the flame graph cannot be written: ${(error as Error).message}`);
      }
      session.note(`${samples} samples in ${options.svg}`);
    }
    const collisions = Number(b.get('collisions').get(0) ?? 0);
    if (collisions > 0)
      session.note(`${collisions} stacks had no room and are missing: try a larger --stack-storage-size`);
  },
};

/** Stacks with names instead of addresses. */
class Names {
  readonly #session: Session;
  readonly #b: BPF;
  readonly #symbols: Symbolizer;
  readonly #annotate: boolean;
  /** Processes that were asked twice. */
  readonly #asked = new Set<number>();
  readonly #known = new Map<string, { readonly kernel: string[]; readonly user: string[] }>();

  constructor(session: Session, b: BPF, annotate: boolean) {
    this.#session = session;
    this.#b = b;
    this.#symbols = new Symbolizer(session.kernel);
    this.#annotate = annotate;
  }

  /** Remembers what processes have mapped, while they are there to be asked. */
  look(): void {
    for (const [{ pid }] of this.#counts()) if (pid !== 0) this.#symbols.user(pid, 0n);
  }

  stacks(): Stack[] {
    const merged = new Map<string, Stack>();
    for (const [key, count] of this.#counts()) {
      const { kernel, user } = this.#name(key);
      const { pid, comm } = key;
      const text = JSON.stringify([pid, comm, kernel, user]);
      const stack = merged.get(text);
      if (stack === undefined) merged.set(text, { pid, comm, kernel, user, count });
      else stack.count += count;
    }
    return [...merged.values()].sort((a, b) => a.count - b.count || (fullText(a) < fullText(b) ? -1 : 1));
  }

  #counts(): [Key, number][] {
    return this.#b.get('counts').items() as unknown as [Key, number][];
  }

  #name(key: Key): { readonly kernel: string[]; readonly user: string[] } {
    const text = JSON.stringify(key);
    let known = this.#known.get(text);
    if (known === undefined) {
      const stacks = this.#b.get('stacks');
      const kernel = stacks.walk(key.kernel).map((address) => this.#kernel(address));
      const user = stacks.walk(key.user).map((address) => this.#user(key.pid, address));
      known = { kernel, user };
      this.#known.set(text, known);
    }
    return known;
  }

  #kernel(address: bigint): string {
    const { recording } = this.#session;
    const name =
      recording === undefined ? this.#symbols.kernel(address).name : recording.frame(address)?.name;
    return `${clean(name)}${this.#annotate ? '_[k]' : ''}`;
  }

  #user(pid: number, address: bigint): string {
    const { recording } = this.#session;
    let frame = recording === undefined ? this.#symbols.user(pid, address) : recording.frame(address);
    if (recording === undefined && frame?.object === '' && !this.#asked.has(pid)) {
      // It may have mapped something since: asked once more, if it is still there.
      this.#asked.add(pid);
      if (this.#session.file(`/proc/${pid}/comm`) !== undefined) {
        this.#symbols.forget(pid);
        frame = this.#symbols.user(pid, address);
      }
    }
    if (frame?.name !== undefined) return clean(frame.name);
    const file = frame?.object.split('/').at(-1) ?? '';
    return file === '' ? '[unknown]' : `[${clean(file)}]`;
  }
}

/** In folded stacks `;` stands between frames. */
const clean = (name: string | undefined): string => printable(name ?? '[unknown]').replaceAll(';', ':');
const fullText = (stack: Stack): string =>
  [stack.comm, stack.pid, ...stack.kernel, '-', ...stack.user].join(';');

function frames({ kernel, user, comm }: Stack, delimited: boolean): string[] {
  const delimiter = delimited && kernel.length > 0 && user.length > 0 ? ['--'] : [];
  return [clean(comm), ...[...user].reverse(), ...delimiter, ...[...kernel].reverse()];
}

function fold(stacks: readonly Stack[], options: Options): Map<string, number> {
  const folded = new Map<string, number>();
  for (const stack of stacks) {
    const line = frames(stack, options.delimited === true).join(';');
    folded.set(line, (folded.get(line) ?? 0) + stack.count);
  }
  return folded;
}

function show(session: Session, stacks: readonly Stack[], options: Options): void {
  for (const { pid, comm, kernel, user, count } of stacks) session.object({ pid, comm, kernel, user, count });
  if (options.folded) {
    for (const [line, count] of [...fold(stacks, options)].sort()) session.text(`${line} ${count}`);
    return;
  }
  if (options.svg !== undefined) return;
  for (const stack of stacks) {
    session.text('');
    for (const name of stack.kernel) session.text(`    ${name}`);
    if (options.delimited && stack.kernel.length > 0 && stack.user.length > 0) session.text('    --');
    for (const name of stack.user) session.text(`    ${name}`);
    session.text(`    -                ${printable(stack.comm)} (${stack.pid})`);
    session.text(`        ${stack.count}`);
  }
}

await main(import.meta.url, profile);
