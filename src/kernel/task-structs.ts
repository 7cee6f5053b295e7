/**
 * `struct task_struct` of the process table, as the kernel's own BTF lays it out: what programs reach from bpf_get_current_task. An object
 * is made when a program first asks for it, with those of its parent and its thread group; members that the BTF does not have are left out.
 */
import type { Btf } from '../btf/index.ts';
import { type GuestMemory, kernelAddress } from '../memory/index.ts';

/** What is known of a process. */
export interface TaskFacts {
  readonly pid: number;
  readonly tgid: number;
  readonly uid: number;
  readonly gid: number;
  readonly comm: string;
  readonly exitCode: number;
  readonly startTime: bigint;
}

const DEFAULT_PRIO = 120;
const COMM_LEN = 16;
const USER_IDS = ['uid', 'suid', 'euid', 'fsuid'];
const GROUP_IDS = ['gid', 'sgid', 'egid', 'fsgid'];

interface Place {
  readonly offset: number;
  readonly size: number;
}

/** The members of one struct that are filled in. */
class Layout {
  readonly size: number;
  readonly #places = new Map<string, Place>();

  constructor(btf: Btf, name: string) {
    const id = btf.find(name, 'struct');
    this.size = id === undefined ? 0 : btf.sizeOf(id);
    if (id === undefined) return;
    const type = btf.type(id);
    if (type.kind !== 'struct') return;
    for (const member of type.members)
      if (member.bitOffset % 8 === 0 && member.bitSize === 0)
        this.#places.set(member.name, { offset: member.bitOffset / 8, size: btf.sizeOf(member.type) });
  }

  place(name: string): Place | undefined {
    return this.#places.get(name);
  }
}

export class TaskStructs {
  readonly #memory: GuestMemory;
  readonly #types: () => Btf;
  #layouts: { readonly task: Layout; readonly cred: Layout } | undefined;

  /** `types` are looked at when a task is first asked for. */
  constructor(memory: GuestMemory, types: () => Btf) {
    this.#memory = memory;
    this.#types = types;
  }

  get #layout(): { readonly task: Layout; readonly cred: Layout } {
    if (this.#layouts === undefined) {
      const btf = this.#types();
      this.#layouts = { task: new Layout(btf, 'task_struct'), cred: new Layout(btf, 'cred') };
    }
    return this.#layouts;
  }

  get #task(): Layout {
    return this.#layout.task;
  }

  get #cred(): Layout {
    return this.#layout.cred;
  }

  /** Room for a task and its credentials behind it: its offset, 0 where the kernel has no such type. */
  allocate(pid: number): number {
    if (this.#task.size === 0) return 0;
    const size = this.#credOffset + this.#cred.size;
    const at = this.#memory.allocate(size, `task_struct of ${pid}`);
    this.#memory.u8.fill(0, at, at + size);
    return at;
  }

  free(at: number): void {
    if (at !== 0) this.#memory.free(at);
  }

  get #credOffset(): number {
    return (this.#task.size + 15) & ~15;
  }

  /** Fills in what may have changed since. `parent` and `leader` are offsets of other tasks. */
  write(at: number, facts: TaskFacts, parent: number, leader: number): void {
    if (at === 0) return;
    const cred = this.#cred.size === 0 ? 0 : at + this.#credOffset;
    this.#number(this.#task, at, 'pid', facts.pid);
    this.#number(this.#task, at, 'tgid', facts.tgid);
    this.#number(this.#task, at, 'exit_code', facts.exitCode);
    this.#number(this.#task, at, 'prio', DEFAULT_PRIO);
    for (const name of ['start_time', 'start_boottime']) this.#word(this.#task, at, name, facts.startTime);
    for (const name of ['real_parent', 'parent']) this.#word(this.#task, at, name, kernelAddress(parent));
    this.#word(this.#task, at, 'group_leader', kernelAddress(leader));
    for (const name of ['real_cred', 'cred']) this.#word(this.#task, at, name, kernelAddress(cred));
    const comm = this.#task.place('comm');
    if (comm !== undefined) {
      const bytes = new Uint8Array(Math.min(COMM_LEN, comm.size));
      bytes.set(new TextEncoder().encode(facts.comm).subarray(0, bytes.length - 1));
      this.#memory.write(at + comm.offset, bytes);
    }
    if (cred === 0) return;
    for (const name of USER_IDS) this.#number(this.#cred, cred, name, facts.uid);
    for (const name of GROUP_IDS) this.#number(this.#cred, cred, name, facts.gid);
  }

  #number(layout: Layout, at: number, name: string, value: number): void {
    const place = layout.place(name);
    if (place?.size === 4) this.#memory.view.setInt32(at + place.offset, value | 0, true);
  }

  #word(layout: Layout, at: number, name: string, value: bigint): void {
    const place = layout.place(name);
    if (place?.size === 8) this.#memory.writeU64(at + place.offset, value);
  }
}
