/** What the tools share. */

export * from './addresses.ts';
export * from './dns.ts';
export * from './flame-graph.ts';
export * from './fs-latency.ts';
export * from './output.ts';
export type { Recording } from './recording.ts';
export { Session } from './session.ts';
export * from './signals.ts';
export { main, ports, runTool, seconds, type Tool, type ToolEnv, whole, withInterval } from './tool.ts';
