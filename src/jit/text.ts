/** What the JIT made, as a listing and as text: each part under the BPF instruction that it stands for. */
import { formatInsn } from '../asm/disasm.ts';
import type { CallTarget, ExecutableProgram, JitedFunction, JitedInsn } from '../contracts/engine.ts';
import type { CompiledSubprog, TranslatedModule } from './module.ts';
import { type LocalGroup, readCode, typeText, ulebSize } from './wasm/index.ts';

function targetText(program: ExecutableProgram, target: CallTarget): string {
  switch (target.kind) {
    case 'function':
      return target.callee.name;
    case 'tail_call':
      return 'tail call';
    default:
      return program.subprogs[target.index]?.name || `subprog_${target.index}`;
  }
}

/** One instruction in the kernel's syntax; calls with what `calls` says of them. */
export function insnText(program: ExecutableProgram, index: number): string {
  const text = formatInsn(program.insns, index);
  const target = program.calls[index];
  return target === undefined ? text : `${text} ; ${targetText(program, target)}`;
}

export function listModule(program: ExecutableProgram, compiled: TranslatedModule): JitedFunction[] {
  return compiled.functions.map((f) => listFunction(program, compiled, f));
}

function listFunction(
  program: ExecutableProgram,
  compiled: TranslatedModule,
  f: CompiledSubprog,
): JitedFunction {
  // An instruction without code of its own shares the place of the next one.
  const stands = new Map<number, { index: number; text: string }[]>();
  f.marks.offsets.forEach((offset, i) => {
    const insn = f.marks.insns[i]!;
    const one = { index: program.origin[insn] ?? insn, text: insnText(program, insn) };
    const before = stands.get(offset);
    if (before === undefined) stands.set(offset, [one]);
    else before.push(one);
  });
  const insns = Array.from(
    readCode(f.code, (index) => compiled.functionNames[index]!),
    (insn): JitedInsn => {
      const here = stands.get(insn.offset);
      return here === undefined ? insn : { ...insn, stands: here };
    },
  );
  const types = (list: readonly number[]) => list.map(typeText).join(' ');
  const params = f.type.params.length === 0 ? '' : `(param ${types(f.type.params)}) `;
  const locals = f.locals.flatMap(({ type, count }) => new Array<number>(count).fill(type));
  return {
    name: f.name,
    index: f.index,
    head: localsSize(f.locals),
    signature: `${params}(result ${types(f.type.results)})`,
    locals: locals.length === 0 ? '' : `(local ${types(locals)})`,
    insns,
  };
}

/** Bytes of the declaration of locals. */
function localsSize(groups: readonly LocalGroup[]): number {
  const present = groups.filter(({ count }) => count > 0);
  return present.reduce((size, { count }) => size + ulebSize(count) + 1, ulebSize(present.length));
}

export function dumpModule(program: ExecutableProgram, compiled: TranslatedModule): string {
  const lines = [`(module $${program.name} ;; ${compiled.bytes.length} bytes`];
  for (const { name, signature, locals, insns } of listModule(program, compiled)) {
    lines.push(`  (func $${name} ${signature}`);
    if (locals !== '') lines.push(`    ${locals}`);
    for (const { depth, operation, operands, stands } of insns) {
      // Deep nests are not indented without end.
      const indent = '  '.repeat(2 + Math.min(depth, 40));
      if (stands !== undefined)
        lines.push(`${indent};; ${stands.map(({ index, text }) => `${index}: ${text}`).join(' | ')}`);
      lines.push(`${indent}${[operation, ...operands].join(' ')}`);
    }
    lines.push('  )');
  }
  lines.push(')');
  return lines.join('\n');
}
