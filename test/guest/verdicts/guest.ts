/** Boots a guest that loads a table of programs and gives back what its kernel said of each. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeCpio } from '../cpio.ts';
import { APP, baseImage, bundleSuites } from '../image.ts';
import { preparePackages } from '../packages.ts';
import { boot, type Outcome } from '../qemu.ts';
import { CASES_FILE, type KernelTypes, KINDS_FILE, type Verdict, WHO_OPTION, type Who } from './protocol.ts';

const here = dirname(fileURLToPath(import.meta.url));

export interface VerdictRun {
  /** Release of the guest's kernel: `6.1.192-…`. */
  readonly release: string;
  readonly verdicts: readonly Verdict[];
  /** Types of its kernel, where cases attach to them: BTF, compressed (gzip), in base64. */
  readonly types?: string;
}

/**
 * Loads the cases of `cases` (text, one JSON object a line) with the maps of `kinds` (text) in a guest with `kernel`.
 * Throws NoGuest where there can be none, Error where the run does not end well.
 */
export async function guestVerdicts(options: {
  readonly kernel?: string;
  readonly cases: string;
  readonly kinds: string;
  readonly who: readonly Who[];
  readonly log: (line: string) => void;
}): Promise<VerdictRun> {
  const { log } = options;
  const packages = preparePackages(log, options.kernel === undefined ? {} : { kernel: options.kernel });
  const base = await baseImage(packages, log);
  const work = mkdtempSync(join(tmpdir(), 'tsbpf-verdicts-'));
  try {
    const initrd = join(work, 'initrd.cpio');
    const layer = join(work, 'layer.cpio');
    const file = (name: string, text: string) =>
      ({ path: `${APP}/${name}`, kind: 'file', from: Buffer.from(text) }) as const;
    await writeCpio(layer, [
      ...(await bundleSuites({ verdicts: `import { main } from './agent.ts'; await main();` }, here)),
      file(CASES_FILE, options.cases),
      file(KINDS_FILE, options.kinds),
    ]);
    copyFileSync(base, initrd);
    await appendFile(initrd, readFileSync(layer));
    log(`booting Linux ${packages.release}`);
    const verdicts: Verdict[] = [];
    let types: Buffer[] = [];
    const attempt = (): Promise<Outcome> =>
      boot({
        packages,
        initrd,
        work,
        cpus: 1,
        // Of what 'max' offers, newer kernels use things that qemu 7.2 gets wrong.
        cpu: 'Nehalem',
        // Newer kernels drop the rules against speculation where the machine's mitigations are off.
        mitigations: true,
        words: `${WHO_OPTION}${options.who.join(':')}`,
        onMessage: (message) => {
          const { event } = message as { event: string };
          if (event === 'verdict') verdicts.push(message as unknown as Verdict);
          if (event === 'types') types.push(Buffer.from((message as unknown as KernelTypes).btf, 'base64'));
        },
      });
    let outcome = await attempt();
    // Emulated newer kernels sometimes do not survive their own start.
    for (let again = 0; again < 2 && outcome.hello === null; again++) {
      types = [];
      outcome = await attempt();
    }
    if (!outcome.ended) throw new Error(outcome.failure ?? 'the run did not end');
    return {
      release: outcome.hello!.release,
      verdicts,
      ...(types.length === 0 ? {} : { types: Buffer.concat(types).toString('base64') }),
    };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
