/** What the JIT made, as text: each part under the BPF instruction that it stands for. */
import { formatInsn } from '../asm/disasm.ts';
import type { CallTarget, ExecutableProgram } from '../contracts/engine.ts';
import type { CompiledSubprog, TranslatedModule } from './module.ts';
import { printCode, typeText } from './wasm/index.ts';

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

export function dumpModule(program: ExecutableProgram, compiled: TranslatedModule): string {
  const head = `(module $${program.name} ;; ${compiled.bytes.length} bytes`;
  return [head, ...compiled.functions.map((f) => dumpFunction(program, compiled, f)), ')'].join('\n');
}

function dumpFunction(program: ExecutableProgram, compiled: TranslatedModule, f: CompiledSubprog): string {
  const comments = new Map<number, string>();
  f.marks.offsets.forEach((offset, i) => {
    const insn = f.marks.insns[i]!;
    const text = `${program.origin[insn] ?? insn}: ${insnText(program, insn)}`;
    // An instruction without code of its own shares the place of the next one.
    const before = comments.get(offset);
    comments.set(offset, before === undefined ? text : `${before} | ${text}`);
  });
  const params = f.type.params.map((type) => ` (param ${typeText(type)})`).join('');
  const locals = f.locals
    .map((group) => `\n    (local${` ${typeText(group.type)}`.repeat(group.count)})`)
    .join('');
  const body = printCode(f.code, {
    indent: '    ',
    comment: (offset) => comments.get(offset),
    functionName: compiled.functionName,
  });
  return `  (func $${f.name}${params} (result i64)${locals}\n${body}\n  )`;
}
