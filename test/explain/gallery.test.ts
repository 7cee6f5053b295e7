/**
 * All explanations as people read them, kept as a page of the documentation: whoever changes a sentence sees what becomes of it.
 * `npx vitest run test/explain -u` writes the page.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Sources } from '../../src/cli/explain/sources.ts';
import { printExplanation } from '../../src/cli/explain/text.ts';
import { Output } from '../../src/cli/output.ts';
import { findInput } from '../../src/kernel/counterexample/index.ts';
import { explain, verify } from '../../src/verifier/index.ts';
import { MISTAKES } from './mistakes.ts';
import { request } from './support.ts';

const HEAD = `# Rejections

What \`tsbpf verify\` says about typical mistakes. Each program is a few instructions (\`test/explain/mistakes.ts\`), each input was
found by the search and confirmed by running the program in the checking interpreter. This page is written by
\`npx vitest run test/explain -u\` and checked by the tests.

`;

it('the gallery is as it was', async () => {
  let text = HEAD;
  const sink = {
    isTTY: false,
    write: (part: string) => {
      text += part;
    },
  };
  const env = { stdout: sink, stderr: sink, variables: {} } as unknown as ConstructorParameters<
    typeof Output
  >[0];
  const out = new Output(env, { color: false });
  for (const mistake of MISTAKES) {
    const asked = request(mistake);
    const result = verify(asked);
    if (result.verdict === 'accept') throw new Error(`${mistake.name} is accepted`);
    out.line(`## ${mistake.name[0]!.toUpperCase()}${mistake.name.slice(1)}`);
    out.line(`\nA ${mistake.type} program.\n`);
    out.line('```');
    const search =
      mistake.input === undefined
        ? undefined
        : { ...findInput(asked, result, { values: new Map() }, { milliseconds: 20_000 }), milliseconds: 1 };
    const sources = new Sources('/nowhere/mistake.bpf.o', asked.lineInfo ?? []);
    printExplanation(out, { explanation: explain(asked, result), sources, search });
    out.line('```\n');
  }
  // Where things lie is nobody's promise.
  const stable = text.replace(/0xffff8881[0-9a-f]{8}/g, '0xffff8881…');
  await expect(stable).toMatchFileSnapshot(join(import.meta.dirname, '../../docs/rejections.md'));
});
