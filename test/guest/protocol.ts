/**
 * What guest and host say to each other: one JSON object a line, over a serial line of its own (the kernel's console has
 * the other one). The guest writes, the host reads; nothing goes the other way.
 */

export type GuestMessage =
  /** A suite begins. `uptime`: seconds since the guest's kernel started. */
  | { readonly event: 'hello'; readonly release: string; readonly node: string; readonly uptime: number }
  /** A case begins: who hangs is known by name. */
  | { readonly event: 'start'; readonly name: string }
  | ({ readonly event: 'result' } & GuestResult)
  /** Text for the person who looks. */
  | { readonly event: 'note'; readonly text: string }
  /** A suite ended before it had reported all its cases. Written by init. */
  | { readonly event: 'broken'; readonly suite: string; readonly status: number }
  /** All suites have been run. Written by init. */
  | { readonly event: 'end' };

export interface GuestResult {
  /** Names of the groups and of the case, joined by " > ". */
  readonly name: string;
  readonly state: 'pass' | 'fail' | 'skip';
  /** Milliseconds. */
  readonly time: number;
  /** Of a failure: what and where; of a skipped case: why. */
  readonly message?: string;
}

/** The serial line in the guest. */
export const CHANNEL = '/dev/ttyS1';
