/** Where the examples look at executions: the system call's function, and on kernels without kprobes its tracepoint. */
import type { BPF } from '../../src/bcc/index.ts'; // 'tsbpf/bcc'
import { BpfError } from '../../src/index.ts'; // 'tsbpf'

/** What it was attached to. */
export function attachExec(b: BPF, fnName: string): string {
  const event = b.getSyscallFnName('execve');
  try {
    b.attachKprobe({ event, fnName });
    return event;
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    const tp = 'syscalls:sys_enter_execve';
    b.attachTracepoint({ tp, fnName });
    return tp;
  }
}
