/**
 * A plugin for the public runner of ISA tests (bpf_conformance): the program in hex on standard input, memory in hex as the argument,
 * R0 in hex on standard output. Its programs are no Linux programs (they use R1 and R2 as pointer and length, and stay unverified),
 * so they go to the engines as they are. tools/bpf-conformance-plugin is what the runner starts.
 */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { alu64Imm, decodeProgram, R2 } from '../../src/asm/index.ts';
import type { CallTarget, Engine } from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { createJit } from '../../src/jit/index.ts';
import { Callbacks, ProgramEntries } from '../../src/kernel/engine-tables.ts';
import { GuestMemory, RUN_STATE } from '../../src/memory/index.ts';
import { executable } from '../../src/rewrite/index.ts';
import { helperById, helperParams, helperResult } from '../../src/spec/index.ts';
import { fromHex } from '../../src/util/index.ts';

/** BPF_JMP | BPF_CALL */
const CALL = 0x85;

const ENGINES: Readonly<Record<string, () => Engine>> = { interpreter: createInterpreter, jit: createJit };

function bytesOf(hex: string, what: string): Uint8Array {
  const bytes = fromHex(hex.replace(/\s+/g, ''));
  if (bytes === null) throw new Error(`${what} is no hex`);
  return bytes;
}

/** Helpers of Linux, which the tests call for what a call does to registers: all of them answer 0. */
function helperCalls(insns: readonly Insn[]): Map<number, CallTarget> {
  const calls = new Map<number, CallTarget>();
  insns.forEach(({ code, src, imm }, at) => {
    const row = code === CALL && src === 0 ? helperById(imm) : undefined;
    if (row === undefined) return;
    const callee = { name: row.name, params: helperParams(row), result: helperResult(row), fn: () => 0 };
    calls.set(at, { kind: 'function', callee });
  });
  return calls;
}

/** R0 of a program that gets the address of `memory` and its length. */
function run(engine: Engine, program: Uint8Array, memory: Uint8Array): bigint {
  const guest = new GuestMemory();
  const env = { memory: guest, entries: new ProgramEntries(), callbacks: new Callbacks() };
  const at = memory.length === 0 ? 0 : guest.allocate(memory.length, 'memory');
  guest.write(at, memory);
  const insns = [alu64Imm('mov', R2, memory.length), ...decodeProgram(program)];
  engine.prepare(executable(insns, { name: 'program', calls: helperCalls(insns) }), env).run(at);
  return guest.readU64(RUN_STATE.r0);
}

export function addPluginCommand(program: Command): void {
  program
    .command('plugin')
    .description('one program in hex on standard input, R0 in hex on standard output (bpf_conformance)')
    .argument('[memory]', 'bytes in hex', '')
    .addOption(new Option('--engine <which>', 'what runs it').choices(Object.keys(ENGINES)).default('jit'))
    .action((memory: string, options: { engine: string }) => {
      try {
        const code = bytesOf(readFileSync(0, 'utf8'), 'the program');
        const r0 = run(ENGINES[options.engine]!(), code, bytesOf(memory, 'the memory'));
        process.stdout.write(`${r0.toString(16)}\n`);
      } catch (error) {
        process.stderr.write(`${(error as Error).message}\n`);
        process.exitCode = 1;
      }
    });
}
