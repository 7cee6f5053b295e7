/** The examples of examples/bcc on the embedded kernel, over the recording of commands: what they print is in golden/. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { countByUser } from '../../examples/bcc/count-by-user.ts';
import { type Example, playCommands } from '../../examples/bcc/example.ts';
import { execEvents } from '../../examples/bcc/exec-events.ts';
import { hello } from '../../examples/bcc/hello.ts';
import { syscallTail } from '../../examples/bcc/syscall-tail.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';

const EXAMPLES: Readonly<Record<string, Example>> = {
  hello,
  'count-by-user': countByUser,
  'exec-events': execEvents,
  'syscall-tail': syscallTail,
};

for (const jit of [1, 0])
  describe(`bpf_jit_enable = ${jit}`, () => {
    for (const [name, example] of Object.entries(EXAMPLES))
      it(name, async () => {
        const kernel = new EmbeddedKernel();
        kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
        const lines: string[] = [];
        const print = (line: string) => {
          lines.push(line);
        };
        await example({ kernel, print, events: () => playCommands(kernel) });
        const golden = readFileSync(new URL(`golden/${name}.txt`, import.meta.url), 'utf8');
        expect(`${lines.join('\n')}\n`).toBe(golden);
        expect(kernel.simulator.oopses()).toEqual([]);
      });
  });
