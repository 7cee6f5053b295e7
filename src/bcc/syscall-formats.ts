/**
 * Format files of system call tracepoints where there is no tracefs (the embedded kernel): every argument is 8 bytes, from byte 16
 * on, under the name that the call's man page (and the kernel) gives it. Names in `*` are pointers.
 */

const ARGUMENTS: Readonly<Record<string, string>> = {
  read: 'fd *buf count',
  write: 'fd *buf count',
  open: '*filename flags mode',
  close: 'fd',
  stat: '*filename *statbuf',
  fstat: 'fd *statbuf',
  lstat: '*filename *statbuf',
  newstat: '*filename *statbuf',
  newfstat: 'fd *statbuf',
  newfstatat: 'dfd *filename *statbuf flag',
  statx: 'dfd *filename flags mask *buffer',
  poll: '*ufds nfds timeout_msecs',
  lseek: 'fd offset whence',
  mmap: 'addr len prot flags fd off',
  mprotect: 'start len prot',
  munmap: 'addr len',
  brk: 'brk',
  ioctl: 'fd cmd arg',
  pread64: 'fd *buf count pos',
  pwrite64: 'fd *buf count pos',
  readv: 'fd *vec vlen',
  writev: 'fd *vec vlen',
  access: '*filename mode',
  faccessat: 'dfd *filename mode',
  faccessat2: 'dfd *filename mode flags',
  pipe: '*fildes',
  pipe2: '*fildes flags',
  dup: 'fildes',
  dup2: 'oldfd newfd',
  dup3: 'oldfd newfd flags',
  nanosleep: '*rqtp *rmtp',
  getpid: '',
  socket: 'family type protocol',
  connect: 'fd *uservaddr addrlen',
  accept: 'fd *upeer_sockaddr *upeer_addrlen',
  accept4: 'fd *upeer_sockaddr *upeer_addrlen flags',
  sendto: 'fd *buff len flags *addr addr_len',
  recvfrom: 'fd *ubuf size flags *addr *addr_len',
  sendmsg: 'fd *msg flags',
  recvmsg: 'fd *msg flags',
  bind: 'fd *umyaddr addrlen',
  listen: 'fd backlog',
  clone: 'clone_flags newsp *parent_tidptr *child_tidptr tls',
  clone3: '*uargs size',
  fork: '',
  vfork: '',
  execve: '*filename *argv *envp',
  execveat: 'fd *filename *argv *envp flags',
  exit: 'error_code',
  exit_group: 'error_code',
  wait4: 'upid *stat_addr options *ru',
  kill: 'pid sig',
  tkill: 'pid sig',
  tgkill: 'tgid pid sig',
  fcntl: 'fd cmd arg',
  fsync: 'fd',
  truncate: '*path length',
  ftruncate: 'fd length',
  getdents64: 'fd *dirent count',
  getcwd: '*buf size',
  chdir: '*filename',
  rename: '*oldname *newname',
  renameat2: 'olddfd *oldname newdfd *newname flags',
  mkdir: '*pathname mode',
  mkdirat: 'dfd *pathname mode',
  rmdir: '*pathname',
  creat: '*pathname mode',
  link: '*oldname *newname',
  linkat: 'olddfd *oldname newdfd *newname flags',
  unlink: '*pathname',
  unlinkat: 'dfd *pathname flag',
  symlink: '*oldname *newname',
  readlink: '*path *buf bufsiz',
  readlinkat: 'dfd *pathname *buf bufsiz',
  chmod: '*filename mode',
  fchmodat: 'dfd *filename mode',
  chown: '*filename user group',
  setuid: 'uid',
  setgid: 'gid',
  ptrace: 'request pid addr data',
  prctl: 'option arg2 arg3 arg4 arg5',
  arch_prctl: 'option arg2',
  mount: '*dev_name *dir_name *type flags *data',
  futex: '*uaddr op val *utime *uaddr2 val3',
  openat: 'dfd *filename flags mode',
  openat2: 'dfd *filename *how usize',
  bpf: 'cmd *uattr size',
  getrandom: '*ubuf len flags',
  prlimit64: 'pid resource *new_rlim *old_rlim',
  rt_sigaction: 'sig *act *oact sigsetsize',
  rt_sigprocmask: 'how *nset *oset sigsetsize',
  set_robust_list: '*head len',
  set_tid_address: '*tidptr',
  sync: '',
  fdatasync: 'fd',
};

const STARTS = ['sys_enter_', 'sys_exit_'] as const;

/** Undefined for what is no tracepoint of a system call. Calls that are not in the table have `args[6]`. */
export function syscallFormat(event: string): string | undefined {
  const start = STARTS.find((one) => event.startsWith(one));
  if (start === undefined) return undefined;
  const line = (declaration: string, offset: number, size: number, signed: number): string =>
    `\tfield:${declaration};\toffset:${offset};\tsize:${size};\tsigned:${signed};\n`;
  const head = line('int __syscall_nr', 8, 4, 1);
  if (start === 'sys_exit_') return head + line('long ret', 16, 8, 1);
  const call = event.slice(start.length);
  const names = Object.hasOwn(ARGUMENTS, call) ? ARGUMENTS[call]! : undefined;
  if (names === undefined) return head + line('unsigned long args[6]', 16, 48, 0);
  return (
    head +
    names
      .split(' ')
      .filter((name) => name !== '')
      .map((name, i) =>
        name.startsWith('*')
          ? line(`const char * ${name.slice(1)}`, 16 + 8 * i, 8, 0)
          : line(`unsigned long ${name}`, 16 + 8 * i, 8, 0),
      )
      .join('')
  );
}
