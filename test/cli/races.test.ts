import { describe, expect, it } from 'vitest';
import { cli, temporary } from './cli.ts';

const SOURCE = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } counts SEC(".maps");

SEC("xdp") int plain(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);
	if (value)
		*value += 1;
	return XDP_PASS;
}

SEC("xdp") int atomic(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	return XDP_PASS;
}
char LICENSE[] SEC("license") = "GPL";
`;
const file = temporary('race.bpf.c', SOURCE);

describe('races', () => {
  it('names both lines and the memory, and the ends with a seed that shows each', async () => {
    const { exit, stdout, stderr } = await cli(['races', file, 'plain']);
    expect(exit).toBe(1);
    expect(stdout).toContain('plain on 2 CPUs, 200 interleavings');
    expect(stdout).toMatch(
      /race {6}the value of map 'counts', bytes 0 to 7\n +CPU \d (writes|reads) it at .*race\.bpf\.c:10: \*value \+= 1;/,
    );
    expect(stdout).toMatch(/\d+× {2}counts\[0\] = 2 {2}\(--seed \d+\)/);
    const [, seed] = /× {2}counts\[0\] = 1 {2}\(--seed (\d+)\)/.exec(stdout)!;
    expect(stderr).toContain(`--cpus 2 --seed ${seed}`);
    const again = await cli(['races', file, 'plain', '--seed', seed!, '--json']);
    const [{ ends }] = JSON.parse(again.stdout).programs;
    expect(ends[0].state['counts[0]']).toBe('1');
    const replay = await cli(['races', file, 'plain', '--schedule', ends[0].schedule]);
    expect(replay.stdout).toContain('counts[0] = 1');
    // Who was left where: the line is read, then the other CPU goes through, then it is written.
    expect(replay.stdout).toMatch(
      /CPU (\d) {5}\d+ instructions? +then .*race\.bpf\.c:10: \*value \+= 1;\n {2}CPU (?!\1)\d {5}\d+ instructions +to the end of the run\n {2}CPU \1 {5}\d+ instructions? +to the end of the run\n {2}schedule/,
    );
    // It was drawn from no seed.
    expect(replay.stdout).not.toContain('--seed');
  });

  it('says that there is none', async () => {
    const { exit, stdout } = await cli(['races', file, 'atomic', '--cpus', '3', '--seeds', '20']);
    expect(exit).toBe(0);
    expect(stdout).toContain('no race, no deadlock');
    expect(stdout).toContain('20×  counts[0] = 3, returned 2, 2, 2');
  });

  it('refuses what does not fit', async () => {
    expect((await cli(['races', file, 'none'])).stderr).toMatch(/none/);
    expect((await cli(['races', file, '--cpus', '4000000000'])).exit).toBe(2);
    expect((await cli(['races', file, '--seed', '1', '--schedule', '0:1'])).exit).toBe(2);
    expect((await cli(['races', file, 'plain', '--schedule', '0:1'])).stderr).toMatch(/the schedule ends/);
  });
});
