/** An event for every execution, through a perf buffer: who, as which user, and a text. */
import { BPF } from '../../src/bcc/index.ts'; // 'tsbpf/bcc'
import { type Example, main } from './example.ts';
import { attachExec } from './exec.ts';

const program = `
BPF_PERF_OUTPUT(output);

struct data_t {
    int pid;
    int uid;
    char command[16];
    char message[12];
};

int hello(void *ctx) {
    struct data_t data = {};
    char message[12] = "Hello World";

    data.pid = bpf_get_current_pid_tgid() >> 32;
    data.uid = bpf_get_current_uid_gid() & 0xFFFFFFFF;
    bpf_get_current_comm(&data.command, sizeof(data.command));
    bpf_probe_read_kernel(&data.message, sizeof(data.message), message);

    output.perf_submit(ctx, &data, sizeof(data));
    return 0;
}
`;

interface Data {
  readonly pid: number;
  readonly uid: number;
  readonly command: string;
  readonly message: string;
}

export const execEvents: Example = async ({ kernel, print, events }) => {
  using b = new BPF({ kernel, text: program });
  attachExec(b, 'hello');
  b.get('output').openPerfBuffer((event) => {
    const { pid, uid, command, message } = event as unknown as Data;
    print(`${pid} ${uid} ${command} ${message}`);
  });
  let over = false;
  const end = events().then(() => {
    over = true;
  });
  while (!over) await Promise.race([end, b.perfBufferPoll(100)]);
  b.perfBufferConsume();
};

await main(import.meta.url, execEvents);
