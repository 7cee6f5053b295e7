/**
 * `npm run test:guest -- [--only PATTERN] [--kernel RELEASE] [--refresh]`: boots Debian's cloud kernel under qemu and runs the suite of
 * test/guest/suite inside, printing each case. Exit status 1 after a failure, 0 where a guest cannot be had (with the reason).
 */
import { Command } from 'commander';
import { runGuest } from './guest.ts';
import { NoGuest } from './packages.ts';

const MARKS = { pass: 'ok  ', fail: 'FAIL', skip: 'skip' } as const;

const command = new Command('test:guest')
  .option('--only <pattern>', 'run cases whose name matches this regular expression')
  .option('--kernel <release>', "another kernel than this machine's own Debian has: 5.10 or 6.12")
  .option('--refresh', 'ask the mirror for newer packages', false)
  .parse();
const options = command.opts<{ only?: string; kernel?: string; refresh: boolean }>();

let begun = false;
try {
  const run = await runGuest({
    ...options,
    log: console.log,
    onMessage: (message) => {
      if (message.event === 'hello' && !begun) {
        begun = true;
        console.log(`Linux ${message.release}, Node ${message.node}, ${message.uptime} s after its start`);
      } else if (message.event === 'broken')
        console.log(`FAIL ${message.suite} ended with status ${message.status}`);
      else if (message.event === 'note') console.log(`     ${message.text}`);
      else if (message.event === 'result') {
        console.log(`${MARKS[message.state]} ${message.name} (${message.time} ms)`);
        if (message.message) console.log(message.message.replace(/^/gm, '       '));
      }
    },
  });
  const count = (state: string): number => run.results.filter((result) => result.state === state).length;
  if (run.failure !== null) console.log(`FAIL the run: ${run.failure}`);
  if (run.withoutPrograms !== null) console.log(run.withoutPrograms);
  if (run.kept !== null) console.log(`the console's log is kept in ${run.kept}`);
  const failed = count('fail') + (run.failure === null ? 0 : 1);
  console.log(
    `${count('pass')} passed, ${failed} failed, ${count('skip')} skipped; ` +
      `${run.bootSeconds.toFixed(1)} s to the suite, ${run.totalSeconds.toFixed(1)} s in all`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  if (!(error instanceof NoGuest)) throw error;
  console.log(`skipped: ${error.message}`);
}
