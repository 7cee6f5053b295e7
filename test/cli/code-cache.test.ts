/** Code that is kept between runs of the command: taken when it is sound and the user's own, and never missed. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import * as zlib from 'node:zlib';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cacheDirectory } from '../../src/cli/code-cache.ts';

const CODE_CACHE = fileURLToPath(new URL('../../src/cli/code-cache.ts', import.meta.url));

const home = mkdtempSync(join(tmpdir(), 'tsbpf-code-'));
const bundle = join(home, 'bundle.cjs');
const start = join(home, 'start.cjs');
const cache = join(home, 'cache');
const kept = () => readdirSync(cache).map((name) => join(cache, name));

beforeAll(() => {
  writeFileSync(
    bundle,
    "(function(exports,require,module){process.exitCode = Number(process.argv[3] ?? 0); console.log('ran', typeof require);})\n",
  );
  // Says whether V8 took what was kept.
  const contents = `
    import vm from 'node:vm';
    import { runBundle } from ${JSON.stringify(CODE_CACHE)};
    const { Script } = vm;
    vm.Script = class extends Script {
      constructor(text, options) {
        super(text, options);
        console.log(options.cachedData === undefined ? 'nothing' : this.cachedDataRejected ? 'rejected' : 'taken');
      }
    };
    runBundle(${JSON.stringify(bundle)}, { directory: ${JSON.stringify(cache)}, argv: process.argv.slice(2) });`;
  buildSync({
    stdin: { contents, resolveDir: home },
    outfile: start,
    bundle: true,
    format: 'cjs',
    platform: 'node',
  });
});
afterAll(() => rmSync(home, { recursive: true, force: true }));
beforeEach(() => {
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { mode: 0o700 });
});

function run(...argv: string[]): string[] {
  const { stdout, stderr } = spawnSync(process.execPath, [start, ...argv], { encoding: 'utf8' });
  expect(stderr).toBe('');
  const lines = stdout.trim().split('\n');
  expect(lines.pop()).toBe('ran function');
  return lines;
}

const hasChecksums = 'crc32' in zlib;
if (!hasChecksums) console.log('skipped: this Node has no zlib.crc32, and keeps no code');

describe.runIf(hasChecksums)('kept code', () => {
  it('is made by the first run and taken by the second, for each form of a command line', () => {
    expect(run('verify')).toEqual(['nothing']);
    expect(run('verify')).toEqual(['taken']);
    expect(run('disasm')).toEqual(['nothing']);
    expect(kept()).toHaveLength(2);
  });

  it('is for its owner alone to write', () => {
    run('verify');
    const [file] = kept();
    expect(statSync(file!).mode & 0o777).toBe(0o600);
    chmodSync(file!, 0o622);
    expect(run('verify')).toEqual(['nothing']);
  });

  it.runIf(process.geteuid?.() === 0)('of another user is not taken', () => {
    run('verify');
    chownSync(kept()[0]!, 12345, 12345);
    expect(run('verify')).toEqual(['nothing']);
  });

  it('that is damaged, cut or of another bundle is made anew', () => {
    run('verify');
    const [file] = kept();
    const sound = readFileSync(file!);
    for (const at of [0, 4, 8, 12, 40, sound.length - 1]) {
      const damaged = Buffer.from(sound);
      damaged[at] = damaged[at]! ^ 0x10;
      writeFileSync(file!, damaged);
      expect(run('verify'), `byte ${at}`).toEqual(['nothing']);
      expect(readFileSync(file!).length).toBe(sound.length);
    }
    for (const length of [0, 10, sound.length - 1]) {
      writeFileSync(file!, sound.subarray(0, length));
      expect(run('verify'), `${length} bytes`).toEqual(['nothing']);
    }
    expect(run('verify')).toEqual(['taken']);
  });

  it('of a run that failed gives way to that of one that did not', () => {
    run('verify', '1');
    const [file] = kept();
    const failed = readFileSync(file!);
    expect(run('verify', '1')).toEqual(['taken']);
    expect(readFileSync(file!).equals(failed)).toBe(true);
    expect(run('verify', '0')).toEqual(['taken']);
    expect(readFileSync(file!).equals(failed)).toBe(false);
  });

  it('takes so much room and no more', () => {
    for (let i = 0; i < 30; i++) writeFileSync(join(cache, `run-${i}.code`), '');
    run('verify');
    expect(kept()).toHaveLength(24);
    expect(kept().some((path) => path.includes('verify'))).toBe(true);
  });

  it('is not missed where nothing can be written', () => {
    rmSync(cache, { recursive: true });
    writeFileSync(cache, 'in the way');
    expect(run('verify')).toEqual(['nothing']);
    rmSync(cache);
  });
});

describe('the cache directory', () => {
  it('is the user’s, and made for the user alone', () => {
    const base = join(home, 'xdg');
    mkdirSync(base);
    expect(cacheDirectory({ XDG_CACHE_HOME: base })).toBe(join(base, 'tsbpf'));
    expect(statSync(join(base, 'tsbpf')).mode & 0o777).toBe(0o700);
    chmodSync(join(base, 'tsbpf'), 0o777);
    expect(cacheDirectory({ XDG_CACHE_HOME: base })).toBeUndefined();
  });

  it('is left out when asked for, under coverage, and where there is no home', () => {
    const base = join(home, 'other');
    mkdirSync(base);
    expect(cacheDirectory({ XDG_CACHE_HOME: base, NODE_DISABLE_COMPILE_CACHE: '1' })).toBeUndefined();
    expect(cacheDirectory({ XDG_CACHE_HOME: base, NODE_V8_COVERAGE: '/tmp/c' })).toBeUndefined();
    expect(
      cacheDirectory({}, () => {
        throw new Error('no home');
      }),
    ).toBeUndefined();
    expect(readdirSync(base)).toEqual([]);
  });

  it.runIf(process.geteuid?.() === 0)('is not made in the home of somebody else', () => {
    const theirs = join(home, 'theirs');
    mkdirSync(theirs);
    chownSync(theirs, 12345, 12345);
    expect(cacheDirectory({}, () => theirs)).toBeUndefined();
    expect(readdirSync(theirs)).toEqual([]);
  });
});
