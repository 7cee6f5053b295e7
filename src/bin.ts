#!/usr/bin/env node
/** The `tsbpf` command: the one place that puts the command line and a kernel together. */
import process from 'node:process';
import { type CliSink, runCli } from './cli/index.ts';
import { EmbeddedKernel } from './kernel/index.ts';
import { VERSION } from './version.ts';

function sink(stream: NodeJS.WriteStream): CliSink {
  // A reader that has seen enough (`| head`) is no error.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
  return { write: (text) => void stream.write(text), isTTY: stream.isTTY === true };
}

process.exitCode = await runCli(process.argv.slice(2), {
  createKernel: ({ possibleCpus, kernelBtf, onOops }) =>
    new EmbeddedKernel({
      ...(possibleCpus === undefined ? {} : { possibleCpus }),
      ...(kernelBtf === undefined ? {} : { kernelBtf }),
      ...(onOops === undefined ? {} : { onOops: ({ message }) => onOops(message) }),
    }),
  version: VERSION,
  stdout: sink(process.stdout),
  stderr: sink(process.stderr),
  variables: process.env,
  onInterrupt: (listener) => {
    process.once('SIGINT', listener);
    return () => process.off('SIGINT', listener);
  },
});
