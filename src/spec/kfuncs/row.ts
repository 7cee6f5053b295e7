/**
 * A row of the tables of kernel functions (kfuncs). Their parameters and results are not here: the kernel's BTF has them, and
 * suffixes of parameter names (`__sz`, `__nullable`, …) say what it cannot. What only the kernel's source knows is here: flags,
 * which programs may call the function, and what a call does besides.
 */

/** KF_* of the kernel. */
export type KfuncFlag =
  | 'acquire'
  | 'release'
  | 'ret_null'
  | 'trusted_args'
  | 'sleepable'
  | 'destructive'
  | 'rcu'
  | 'iter_new'
  | 'iter_next'
  | 'iter_destroy'
  | 'rcu_protected'
  | 'fastcall'
  | 'arena_ret'
  | 'arena_arg1'
  | 'arena_arg2';

/** Sets of functions that program types share (enum btf_kfunc_hook). */
export type KfuncHook =
  | 'common'
  | 'xdp'
  | 'tc'
  | 'struct_ops'
  | 'tracing'
  | 'syscall'
  | 'cgroup'
  | 'sched_act'
  | 'sk_skb'
  | 'socket_filter'
  | 'lwt'
  | 'netfilter'
  | 'kprobe';

/** What is special about a call, besides its flags. */
export interface KfuncEffects {
  /** Only these program types of the sets, or only these attach types, or only these struct_ops. */
  readonly progTypes?: readonly string[];
  readonly attachTypes?: readonly string[];
  readonly structOps?: readonly string[];
  /** Lives in a module's BTF where the kernel has it as a module. */
  readonly module?: string;
  /** Only programs bound to a device. */
  readonly deviceBound?: true;
  /** May be called while a lock is held. */
  readonly lockSafe?: true;
  /** Works on a list or a tree, which the lock beside it guards. */
  readonly graph?: 'list' | 'rbtree';
  /** Argument 2 goes into the list or tree, which owns it from then on. */
  readonly inserts?: true;
  /** Gives an object of bpf_obj_new or bpf_percpu_obj_new back. */
  readonly drops?: 'object' | 'percpu_object';
  /** Results that do not follow from BTF. */
  readonly returns?:
    | 'new_object'
    | 'new_percpu_object'
    | 'same_object'
    | 'kernel_ctx'
    | 'rdonly_cast'
    | 'slice'
    | 'slice_rdwr';
  /** Bytes that a returned pointer to a scalar may be written to. */
  readonly returnSize?: number;
  readonly untrustedResult?: true;
  readonly section?: 'rcu_lock' | 'rcu_unlock' | 'preempt_disable' | 'preempt_enable';
  readonly irq?: 'save' | 'restore';
  /** bpf_res_spin_lock, which may fail, and its release. */
  readonly lock?: 'acquire' | 'release';
  readonly callback?: 'sync' | 'async';
  readonly callbackShape?: 'rbtree_less' | 'timer' | 'task_work';
  /** The asynchronous callback may sleep. */
  readonly callbackSleeps?: true;
  /** Kind of the dynptr that the call makes. */
  readonly dynptr?: 'skb' | 'xdp' | 'skb_meta';
  /** The dynptr that the call makes is a copy of the other one. */
  readonly clones?: true;
  /** Ends the program. */
  readonly throws?: true;
  /** Placed by compilers where a program runs into undefined behaviour: a path must not get there. */
  readonly trap?: true;
  /** Iterates the tasks of a cgroup: not from everywhere. */
  readonly cssTask?: true;
  readonly changesPacket?: true;
}

export interface KfuncRow extends KfuncEffects {
  readonly name: string;
  readonly hooks: readonly KfuncHook[];
  readonly flags: ReadonlySet<KfuncFlag>;
}

function words<T extends string>(text: string): T[] {
  return text === '' ? [] : (text.split(' ') as T[]);
}

/** `hooks` and `flags`: separated by spaces. */
export function kfunc(name: string, hooks: string, flags: string, effects: KfuncEffects = {}): KfuncRow {
  return { name, hooks: words<KfuncHook>(hooks), flags: new Set(words<KfuncFlag>(flags)), ...effects };
}
