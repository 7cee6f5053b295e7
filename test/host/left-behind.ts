/**
 * What a suite may not leave on the machine: programs, maps, links, pins, probe events of tracefs, namespaces, interfaces, cgroups. vitest
 * takes the state before the host suites and compares it when they have ended; `tsx test/host/left-behind.ts save FILE` and
 * `compare FILE` do so for what is no test (.ci/run).
 *
 * What another process holds that is none of ours is its own business. So are program arrays that nobody holds, which Linux has
 * emptied when their last descriptor went: 6.18 lists one in some ten thousand of them for ever (seen after random programs that
 * tail-call through them), and no program, pin or process leads to it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Names by kind: `prog` → `12 xdp counter`. */
export type MachineState = Readonly<Record<string, readonly string[]>>;

interface Shown {
  readonly id: number;
  readonly type?: string;
  readonly name?: string;
  readonly prog_id?: number;
  readonly map_ids?: readonly number[];
}

/** Why the state cannot be taken, null where it can. */
export function whyNot(): string | null {
  if (process.getuid?.() !== 0) return 'what is left behind is shown to root only';
  return spawnSync('bpftool', ['version'], { stdio: 'ignore' }).status === 0 ? null : 'bpftool is missing';
}

export function machineState(): MachineState {
  const shown = Object.fromEntries(['prog', 'map', 'link'].map((kind) => [kind, show(kind)]));
  const foreign = heldByOthers(shown);
  for (const map of unreachableArrays(shown)) foreign.add(`map ${map}`);
  const own = (kind: string): string[] =>
    shown[kind]!.filter(({ id }) => !foreign.has(`${kind} ${id}`)).map(({ id, type, name }) =>
      `${id} ${type ?? ''} ${name ?? ''}`.trimEnd(),
    );
  return {
    prog: own('prog'),
    map: own('map'),
    link: own('link'),
    pin: mounts('bpf').flatMap(files),
    probe: mounts('tracefs').flatMap((mount) => [
      ...lines(join(mount, 'kprobe_events')),
      ...lines(join(mount, 'uprobe_events')),
    ]),
    namespace: list('/run/netns'),
    interface: list('/sys/class/net'),
    cgroup: mounts('cgroup2').flatMap((mount) => list(mount).filter((name) => name.startsWith('tsbpf'))),
  };
}

/** What is in `after` and was not in `before`, one line each. */
export function leftBehind(before: MachineState, after: MachineState): string[] {
  return Object.entries(after).flatMap(([kind, names]) =>
    names.filter((name) => !before[kind]?.includes(name)).map((name) => `${kind}: ${name}`),
  );
}

function show(kind: string): Shown[] {
  const text = execFileSync('bpftool', ['-j', kind, 'show'], { encoding: 'utf8', maxBuffer: 1 << 28 });
  return JSON.parse(text || '[]') as Shown[];
}

/** Ids of program arrays that no process and no program holds; what is pinned is listed by its path. */
function unreachableArrays(shown: Readonly<Record<string, readonly Shown[]>>): number[] {
  const held = new Set(shown.prog!.flatMap(({ map_ids }) => map_ids ?? []));
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name)))
    for (const fd of list(`/proc/${pid}/fdinfo`))
      for (const [, id] of read(`/proc/${pid}/fdinfo/${fd}`).matchAll(/^map_id:\s*(\d+)$/gm))
        held.add(Number(id));
  return shown.map!.filter(({ id, type }) => type === 'prog_array' && !held.has(id)).map(({ id }) => id);
}

/** `prog 12`: everything that a process other than ours has open, and what hangs on it. */
function heldByOthers(shown: Readonly<Record<string, readonly Shown[]>>): Set<string> {
  const ours = ownProcesses();
  const held = new Set<string>();
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    if (ours.has(Number(pid))) continue;
    for (const fd of list(`/proc/${pid}/fdinfo`)) {
      const text = read(`/proc/${pid}/fdinfo/${fd}`);
      for (const [, kind, id] of text.matchAll(/^(prog|map|link)_id:\s*(\d+)$/gm)) held.add(`${kind} ${id}`);
    }
  }
  for (const { id, prog_id } of shown.link!) if (held.has(`link ${id}`)) held.add(`prog ${prog_id}`);
  for (const { id, map_ids } of shown.prog!)
    if (held.has(`prog ${id}`)) for (const map of map_ids ?? []) held.add(`map ${map}`);
  return held;
}

/** This process and what it has started. */
function ownProcesses(): Set<number> {
  const parents = new Map<number, number>();
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    const parent = /^PPid:\s*(\d+)$/m.exec(read(`/proc/${pid}/status`))?.[1];
    if (parent !== undefined) parents.set(Number(pid), Number(parent));
  }
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (pid === process.pid || isOurs(parents.get(pid)));
  return new Set([...parents.keys()].filter(isOurs));
}

function mounts(type: string): string[] {
  return read('/proc/self/mounts')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , fsType]) => fsType === type)
    .map(([, path]) => path!);
}

function files(directory: string): string[] {
  return list(directory).flatMap((name) => {
    const path = join(directory, name);
    return [path, ...files(path)];
  });
}

const lines = (path: string): string[] => read(path).split('\n').filter(Boolean);

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Linux frees some things a while after their last user. */
const PATIENCE_MS = 15_000;

async function compare(before: MachineState): Promise<string[]> {
  for (const end = Date.now() + PATIENCE_MS; ; ) {
    const left = leftBehind(before, machineState());
    if (left.length === 0 || Date.now() > end) return left;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

const complaint = (left: readonly string[]): string =>
  `left behind on this machine:\n${left.map((line) => `  ${line}`).join('\n')}`;

/** vitest's global setup. */
export function setup(): (() => Promise<void>) | undefined {
  const why = whyNot();
  if (why !== null) {
    console.log(`skipped: what the suites leave behind: ${why}`);
    return undefined;
  }
  const before = machineState();
  return async () => {
    const left = await compare(before);
    if (left.length === 0) return;
    // vitest prints what is thrown here, and would end well all the same.
    process.exitCode = 1;
    throw new Error(complaint(left));
  };
}

async function main([action, file = '']: readonly string[]): Promise<void> {
  const why = whyNot();
  if (why !== null) console.log(`skipped: ${why}`);
  else if (action === 'save') writeFileSync(file, JSON.stringify(machineState()));
  else {
    const left = await compare(JSON.parse(readFileSync(file, 'utf8')) as MachineState);
    if (left.length === 0) console.log('nothing is left behind');
    else {
      console.log(complaint(left));
      process.exitCode = 1;
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
