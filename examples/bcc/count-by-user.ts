/** Counts executions by user in a hash table, and prints the table. */
import { BPF } from '../../src/bcc/index.ts'; // 'tsbpf/bcc'
import { type Example, main } from './example.ts';
import { attachExec } from './exec.ts';

const program = `
BPF_HASH(counter_table);

int count(void *ctx) {
    u64 uid;
    u64 counter = 0;
    u64 *p;

    uid = bpf_get_current_uid_gid() & 0xFFFFFFFF;
    p = counter_table.lookup(&uid);
    if (p != 0) {
        counter = *p;
    }
    counter++;
    counter_table.update(&uid, &counter);
    return 0;
}
`;

export const countByUser: Example = async ({ kernel, print, events }) => {
  using b = new BPF({ kernel, text: program });
  attachExec(b, 'count');
  await events();
  const byUser = b
    .get('counter_table')
    .items()
    .sort(([a], [b]) => Number(a) - Number(b));
  for (const [uid, count] of byUser) print(`ID ${uid}: ${count}`);
};

await main(import.meta.url, countByUser);
