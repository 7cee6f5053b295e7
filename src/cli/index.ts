/** The command line. It is handed a kernel; `src/bin.ts` chooses which. */
export type { CliEnv, CliKernelOptions, CliSink } from './environment.ts';
export { runCli } from './run-cli.ts';
