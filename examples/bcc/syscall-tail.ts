/** Tail calls by the number of a system call: programs for those that are of interest, none for those that are ignored. */
import { BPF } from '../../src/bcc/index.ts'; // 'tsbpf/bcc'
import { type Example, main, onlyProcess } from './example.ts';

const program = `
BPF_PROG_ARRAY(syscall, 500);

int hello(struct bpf_raw_tracepoint_args *ctx) {
    int opcode = ctx->args[1];
#ifdef ONLY_PID
    if (bpf_get_current_pid_tgid() >> 32 != ONLY_PID)
        return 0;
#endif
#ifdef OWN_PID
    // Waiting for the next line takes system calls: each would bring one more.
    if (bpf_get_current_pid_tgid() >> 32 == OWN_PID)
        return 0;
#endif
    syscall.call(ctx, opcode);
    bpf_trace_printk("Another syscall: %d", opcode);
    return 0;
}

int hello_exec(void *ctx) {
    bpf_trace_printk("Executing a program");
    return 0;
}

int hello_open(struct bpf_raw_tracepoint_args *ctx) {
    bpf_trace_printk("Opening a file");
    return 0;
}

int ignore_opcode(void *ctx) {
    return 0;
}
`;

/** Numbers of x86-64: a shell makes so many of these that nobody wants to see them. */
const IGNORED = [
  0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 21, 72, 158, 218, 228, 230, 231, 257, 262, 273, 302, 334,
];
const EXECVE = 59;
const OPEN = 2;

export const syscallTail: Example = async ({ kernel, print, events, pid }) => {
  using b = new BPF({
    kernel,
    text: program,
    cflags: [...onlyProcess(pid), ...(kernel.simulator === null ? [`-DOWN_PID=${process.pid}`] : [])],
    write: (text) => print(text.trimEnd()),
  });
  const ignore = b.loadFunc('ignore_opcode', BPF.RAW_TRACEPOINT);
  const exec = b.loadFunc('hello_exec', BPF.RAW_TRACEPOINT);
  const open = b.loadFunc('hello_open', BPF.RAW_TRACEPOINT);

  const table = b.get('syscall');
  for (const opcode of IGNORED) table.set(opcode, ignore);
  table.set(EXECVE, exec);
  table.set(OPEN, open);
  // Before that, all would be told of.
  b.attachRawTracepoint({ tp: 'sys_enter', fnName: 'hello' });

  const stop = new AbortController();
  const printing = b.tracePrint({ format: '{1} {5}', signal: stop.signal });
  await events();
  stop.abort();
  await printing;
};

await main(import.meta.url, syscallTail);
