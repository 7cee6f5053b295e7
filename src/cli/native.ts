/**
 * Machine code as text, by programs of this machine: `objdump` (GNU) disassembles bytes, as bpftool's libopcodes does; a second Node
 * tells what V8's optimising compiler makes of a WebAssembly module.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fromHex } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';

export interface MachineInsn {
  /** Offset in the function. */
  readonly pc: number;
  readonly bytes: Uint8Array;
  readonly operation: string;
  readonly operands: readonly string[];
  /** Place in the body of the WebAssembly function, where it is known. */
  readonly wasmOffset?: number;
}

/** Architectures of objdump by those of Node. */
const MACHINES: Readonly<Partial<Record<string, string>>> = { x64: 'i386:x86-64', arm64: 'aarch64' };
const MOST_OUTPUT = 1 << 28;

/** Null where this machine has no objdump for its own code. */
export function disassembleMachineCode(code: Uint8Array, address: bigint): MachineInsn[] | null {
  const machine = MACHINES[process.arch];
  if (machine === undefined || code.length === 0) return null;
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-'));
  try {
    const file = join(directory, 'code');
    writeFileSync(file, code);
    const args = ['-D', '-b', 'binary', '-m', machine, `--adjust-vma=0x${address.toString(16)}`, '-w', file];
    const { status, stdout } = spawnSync('objdump', args, { encoding: 'utf8', maxBuffer: MOST_OUTPUT });
    return status === 0 ? parseObjdump(stdout, address) : null;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** `ffffffffc0a4d: 0f 1f 44 00 00 	nopl   0x0(%rax,%rax,1)` */
export function parseObjdump(text: string, address: bigint): MachineInsn[] {
  const insns: MachineInsn[] = [];
  for (const line of text.split('\n')) {
    const [, at, bytes, code] = /^\s*([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(.*)$/.exec(line) ?? [];
    if (at === undefined) continue;
    const pc = Number(BigInt(`0x${at}`) - address);
    insns.push({ pc, bytes: fromHex(bytes!) ?? new Uint8Array(), ...operationOf(code!) });
  }
  return insns;
}

function operationOf(text: string): { operation: string; operands: string[] } {
  const [operation = '', ...rest] = text.trim().split(/\s+/);
  const operands = rest.join(' ');
  // Commas inside of parentheses and brackets belong to an operand.
  return { operation, operands: operands === '' ? [] : operands.split(/,(?![^([]*[)\]])/) };
}

const COMPILE = `
const chunks = [];
process.stdin.on('data', (chunk) => chunks.push(chunk));
process.stdin.on('end', () => { globalThis.module = new WebAssembly.Module(Buffer.concat(chunks)); });
`;

/**
 * What V8 makes of each function of a module, by name. Errors: BpfError EOPNOTSUPP where this is no Node, or one that cannot print code.
 */
export function engineMachineCode(module: Uint8Array): Map<string, MachineInsn[]> {
  const flags = ['--print-wasm-code', '--no-liftoff', '--no-wasm-lazy-compilation'];
  const options = { input: module, encoding: 'utf8', maxBuffer: MOST_OUTPUT } as const;
  const isNode = process.versions.bun === undefined && process.versions.deno === undefined;
  const { status, stdout } = isNode
    ? spawnSync(process.execPath, [...flags, '-e', COMPILE], options)
    : { status: 1, stdout: '' };
  const functions = status === 0 ? parseEngineCode(stdout) : new Map<string, MachineInsn[]>();
  if (functions.size === 0) {
    throw new BpfError('EOPNOTSUPP', 'this JavaScript engine does not show the machine code that it makes', {
      hint: 'leave out --native, or run tsbpf with Node',
    });
  }
  return functions;
}

/** `--print-wasm-code`: pieces with name, instructions (address, offset, bytes, text) and a table of places. */
export function parseEngineCode(text: string): Map<string, MachineInsn[]> {
  const functions = new Map<string, MachineInsn[]>();
  for (const piece of text.split('--- WebAssembly code ---').slice(1)) {
    const name = /^name: (.*)$/m.exec(piece)?.[1];
    if (name === undefined || !/^kind: wasm function$/m.test(piece)) continue;
    const places = new Map<number, number>();
    const table = /Source positions:\n.*\n((?:\s+[0-9a-f]+\s+\d+.*\n)*)/.exec(piece)?.[1] ?? '';
    for (const [, pc, position] of table.matchAll(/^\s*([0-9a-f]+)\s+(\d+)/gm))
      if (position !== '0') places.set(Number.parseInt(pc!, 16), Number(position));
    const insns: MachineInsn[] = [];
    for (const [, pc, bytes, code] of piece.matchAll(/^0x[0-9a-f]+ +([0-9a-f]+) {2}([0-9a-f]+) +(\S.*)$/gm)) {
      const at = Number.parseInt(pc!, 16);
      const wasmOffset = places.get(at);
      insns.push({
        pc: at,
        bytes: fromHex(bytes!) ?? new Uint8Array(),
        ...operationOf(code!.replace(/^REX\.W /, '')),
        ...(wasmOffset === undefined ? {} : { wasmOffset }),
      });
    }
    functions.set(name, insns);
  }
  return functions;
}
