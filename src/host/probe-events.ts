/**
 * Probes as events of tracefs (Documentation/trace/kprobetrace.rst, uprobetracer.rst), for kernels whose perf_event_open knows no
 * probes (before 4.17): a line in `kprobe_events` makes a tracepoint, which perf events are opened on.
 *
 * Such events are the machine's, not the process's: they are named after the process, removed with their descriptor or when the
 * process ends, and those of processes that were killed are removed by the next one that makes any.
 */
import { existsSync, readdirSync } from 'node:fs';
import { BpfError } from '../util/errors.ts';
import type { Host } from './host.ts';
import { fsError } from './tracefs.ts';

export type ProbeKind = 'kprobe' | 'uprobe';

const FILES: Readonly<Record<ProbeKind, string>> = { kprobe: 'kprobe_events', uprobe: 'uprobe_events' };
const GROUP = /^tsbpf_(\d+)$/;
const EVENT = /^(kprobe|uprobe)\d+$/;

export interface ProbeEvent {
  /** What perf_event_open takes as the tracepoint's number. */
  readonly id: number;
  /** False where it is still in use. */
  remove(): boolean;
}

let made = 0;

/**
 * Makes one. `place`: `do_unlinkat+0x4`, `/bin/bash:0x1234(0x5678)`; `maxactive` of a kretprobe: calls under way at once, 0 for the
 * kernel's choice. Throws BpfError where the kernel has no such probes either.
 */
export function makeProbeEvent(
  host: Host,
  kind: ProbeKind,
  place: string,
  retprobe: boolean,
  maxactive = 0,
): ProbeEvent {
  // Words end at spaces; what stands behind a place would be an argument.
  if (/\s/.test(place)) throw new BpfError('EINVAL', `tracefs takes no place with spaces: '${place}'`);
  if (made === 0) removeStale(host);
  const group = `tsbpf_${process.pid}`;
  const name = `${kind}${made++}`;
  const type = retprobe ? `r${maxactive === 0 ? '' : maxactive}` : 'p';
  write(host, kind, `${type}:${group}/${name} ${place}`, `${kind} ${place}`);
  const remove = (): boolean => removed(host, kind, group, name);
  try {
    return { id: host.tracefs.eventId(group, name), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

export function hasProbeEvents(host: Host, kind: ProbeKind): boolean {
  try {
    return existsSync(`${host.tracefs.root()}/${FILES[kind]}`);
  } catch {
    return false;
  }
}

function write(host: Host, kind: ProbeKind, line: string, what: string): void {
  try {
    host.tracefs.append(FILES[kind], `${line}\n`);
  } catch (error) {
    throw fsError(error, `${what}, in tracefs`);
  }
}

function removed(host: Host, kind: ProbeKind, group: string, name: string): boolean {
  try {
    host.tracefs.append(FILES[kind], `-:${group}/${name}\n`);
    return true;
  } catch (error) {
    // In use (EBUSY): the link that holds it is closed later.
    return (error as { code?: string }).code !== 'EBUSY';
  }
}

function removeStale(host: Host): void {
  const events = `${host.tracefs.root()}/events`;
  for (const group of list(events)) {
    const pid = GROUP.exec(group)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    for (const name of list(`${events}/${group}`)) {
      const kind = EVENT.exec(name)?.[1];
      if (kind !== undefined) removed(host, kind as ProbeKind, group, name);
    }
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
