export { type Blinded, blind } from './blind.ts';
export { moveFunctions, moveLines } from './debug-info.ts';
export { type ExecutableOptions, executable } from './executable.ts';
export { MAY_GOTO_BUDGET } from './may-goto.ts';
export { createPacketLoads, type PacketLoads } from './packet-load.ts';
export { type RewriteEnv, type Rewritten, rewrite } from './rewrite.ts';
export { type Trampoline, withArguments, withTrampolines } from './trampoline.ts';
