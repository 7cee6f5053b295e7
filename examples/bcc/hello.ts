/** BCC's "Hello, World!": a line of trace_pipe for every program that is executed. */
import { BPF } from '../../src/bcc/index.ts'; // 'tsbpf/bcc'
import { type Example, main, onlyProcess } from './example.ts';
import { attachExec } from './exec.ts';

const program = `
int hello(void *ctx) {
#ifdef ONLY_PID
    if (bpf_get_current_pid_tgid() >> 32 != ONLY_PID)
        return 0;
#endif
    bpf_trace_printk("Hello, World!\\n");
    return 0;
}
`;

export const hello: Example = async ({ kernel, print, events, pid }) => {
  using b = new BPF({
    kernel,
    text: program,
    cflags: onlyProcess(pid),
    write: (text) => print(text.trimEnd()),
  });
  attachExec(b, 'hello');
  const stop = new AbortController();
  const printing = b.tracePrint({ format: '{1} {5}', signal: stop.signal });
  await events();
  stop.abort();
  await printing;
};

await main(import.meta.url, hello);
