import { defineConfig } from 'vitest/config';

/** Suites that compare with a kernel, a compiler, a browser: they skip with a reason where those are missing. */
const HOST = ['test/host/**/*.test.ts', 'test/browser/**/*.test.ts', 'test/**/*.oracle.test.ts'];
/** Runs inside of a virtual machine that test/host/guest.test.ts boots. */
const GUEST = 'test/guest/**/*.test.ts';
const host = process.env.TSBPF_SUITE === 'host';
const report = process.env.VITEST_JSON;

export default defineConfig({
  test: {
    include: host ? HOST : ['test/**/*.test.ts'],
    exclude: host ? [GUEST] : [...HOST, GUEST],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Fails the run where something stays on the machine.
    globalSetup: host ? ['test/host/left-behind.ts'] : [],
    pool: 'forks',
    // There is one trace_pipe and one pair of CPUs for all that look at the kernel.
    fileParallelism: !host,
    reporters: report === undefined ? ['default'] : ['default', 'json'],
    ...(report === undefined ? {} : { outputFile: { json: report } }),
  },
});
