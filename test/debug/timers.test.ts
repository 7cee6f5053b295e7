/** A timer's callback runs when no program does: nothing has called it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cli } from '../cli/cli.ts';

const SOURCE = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct elem { struct bpf_timer timer; __u64 fired; };
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct elem);
} timers SEC(".maps");
static int fire(void *map, __u32 *key, struct elem *elem) { elem->fired++; return 0; }
SEC("tc") int arm(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct elem *elem = bpf_map_lookup_elem(&timers, &key);
	if (!elem)
		return 0;
	bpf_timer_init(&elem->timer, &timers, 1);
	bpf_timer_set_callback(&elem->timer, fire);
	bpf_timer_start(&elem->timer, 0, 0);
	return 1;
}
char LICENSE[] SEC("license") = "GPL";
`;

let dir: string;
let file: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tsbpf-timers-'));
  file = join(dir, 'timers.bpf.c');
  writeFileSync(file, SOURCE);
});
afterAll(() => rmSync(dir, { recursive: true }));

it('has a call stack of its own in the debugger', async () => {
  const argv = ['debug', file, '--json', '--command', 'b fire; c; bt; info runs; p timers[0].fired; finish'];
  const { exit, stdout } = await cli(argv);
  expect(exit).toBe(0);
  const objects = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(objects.find(({ frames }) => frames !== undefined)).toMatchObject({
    frames: [{ function: 'fire' }],
  });
  expect(objects.find(({ runs }) => runs !== undefined)).toMatchObject({
    here: 2,
    runs: [{ returned: 1 }, {}],
  });
  expect(objects.at(-1)).toMatchObject({ stop: 'end', function: 'fire' });
});

it('and in folded stacks', async () => {
  const folded = join(dir, 'folded.txt');
  expect((await cli(['run', file, '--folded', folded])).exit).toBe(0);
  expect(
    readFileSync(folded, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ \d+$/, ''))
      .sort(),
  ).toEqual(['arm', 'fire']);
});
