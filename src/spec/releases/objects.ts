/** Flags and kinds of objects that came after the object: MAP_CREATE, PROG_LOAD, BTF. Sources: UAPI headers by release. */

/** `BPF_F_*` of MAP_CREATE → release; those not named are older than 5.4. */
export const MAP_FLAG_RELEASES: Readonly<Record<string, string>> = {
  BPF_F_MMAPABLE: '5.5',
  BPF_F_PRESERVE_ELEMS: '5.10',
  BPF_F_INNER_MAP: '5.10',
  BPF_F_LINK: '6.4',
  BPF_F_PATH_FD: '6.5',
  BPF_F_VTYPE_BTF_OBJ_FD: '6.9',
  BPF_F_TOKEN_FD: '6.9',
  BPF_F_SEGV_ON_FAULT: '6.9',
  BPF_F_NO_USER_CONV: '6.9',
  BPF_F_RB_OVERWRITE: '6.19',
};

/** `BPF_F_*` of PROG_LOAD → release. */
export const PROG_FLAG_RELEASES: Readonly<Record<string, string>> = {
  BPF_F_TEST_RND_HI32: '5.3',
  BPF_F_TEST_STATE_FREQ: '5.4',
  BPF_F_SLEEPABLE: '5.10',
  BPF_F_XDP_HAS_FRAGS: '5.18',
  BPF_F_XDP_DEV_BOUND_ONLY: '6.3',
  BPF_F_TEST_REG_INVARIANTS: '6.8',
  BPF_F_TOKEN_FD: '6.9',
};

/** Kinds of BTF types → release whose kernel takes them; loaders rewrite what an older one does not. */
export const BTF_KIND_RELEASES: Readonly<Record<string, string>> = {
  var: '5.2',
  datasec: '5.2',
  float: '5.13',
  decl_tag: '5.16',
  type_tag: '5.17',
  enum64: '6.0',
  /** Functions with global linkage. */
  func_global: '5.6',
};

/** Program types that may sleep, later than BPF_F_SLEEPABLE itself. */
export const SLEEPABLE_RELEASES: Readonly<Record<string, string>> = {
  tracing: '5.10',
  lsm: '5.10',
  syscall: '5.14',
  kprobe: '6.0',
  struct_ops: '5.19',
};

/** Map types in sleepable programs, by release. */
export const SLEEPABLE_MAP_RELEASES: Readonly<Record<string, string>> = {
  hash: '5.10',
  lru_hash: '5.10',
  array: '5.10',
  percpu_hash: '5.12',
  lru_percpu_hash: '5.12',
  percpu_array: '5.12',
  array_of_maps: '5.12',
  hash_of_maps: '5.12',
  ringbuf: '5.12',
  inode_storage: '5.17',
  sk_storage: '5.17',
  task_storage: '5.17',
  user_ringbuf: '6.1',
  cgrp_storage: '6.2',
  arena: '6.9',
};
