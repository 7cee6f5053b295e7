/** IR as text, for `--emit-ir` and for failing tests. One line an instruction; values are numbered in order of appearance. */
import type { Block, Func, Global, Inst, Module, Value } from './ir.ts';
import { FLAG, signedValue } from './ir.ts';

export function printModule(module: Module): string {
  const parts = module.globals.map(printGlobal);
  for (const func of module.funcs) parts.push(printFunc(func));
  return `${parts.join('\n')}\n`;
}

function printGlobal(global: Global): string {
  const where = global.section === undefined ? '' : ` section "${global.section}"`;
  const what = global.init === undefined ? '' : ' initialised';
  return `@${global.name} = ${global.linkage}${global.constant ? ' constant' : ''} ${global.size} bytes, align ${global.align}${where}${what}`;
}

export function printFunc(func: Func): string {
  const params = func.params.map((param) => `${param.type} %${param.name || `arg${param.index}`}`).join(', ');
  const head = `${func.linkage} ${func.returnType} @${func.name}(${params})`;
  if (func.isDeclaration) return `\ndeclare ${head}`;
  let next = 0;
  const names = new Map<Block, string>();
  func.blocks.forEach((block, i) => {
    names.set(block, `${block.name || 'b'}.${i}`);
    for (const inst of block.insts) inst.id = next++;
  });
  const lines = [`\ndefine ${head}${func.section === undefined ? '' : ` section "${func.section}"`} {`];
  for (const block of func.blocks) {
    lines.push(`${names.get(block)}:`);
    for (const inst of block.insts) lines.push(`  ${printInst(inst, names)}`);
  }
  lines.push('}');
  return lines.join('\n');
}

function operand(value: Value): string {
  switch (value.kind) {
    case 'const':
      return `${value.type} ${signedValue(value)}`;
    case 'undef':
      return `${value.type} undef`;
    case 'param':
      return `%${value.name || `arg${value.index}`}`;
    case 'inst':
      return `%${value.id}`;
    case 'global':
    case 'function':
      return `@${value.name}`;
  }
}

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [FLAG.VOLATILE, 'volatile'],
  [FLAG.NSW, 'nsw'],
  [FLAG.NUW, 'nuw'],
  [FLAG.SIGNED, 'signed'],
  [FLAG.FETCH, 'fetch'],
  [FLAG.NNEG, 'nneg'],
];

/** One instruction; blocks by the names given, else by their ids. */
export function printInst(inst: Inst, names?: ReadonlyMap<Block, string>): string {
  const label = (block: Block | undefined): string =>
    block === undefined ? '?' : (names?.get(block) ?? `${block.name}.${block.id}`);
  const flags = FLAG_NAMES.filter(([bit]) => inst.has(bit)).map(([, name]) => ` ${name}`);
  const args = inst.args.map(operand).join(', ');
  const head = inst.type === 'void' ? '' : `%${inst.id} = `;
  const op = `${inst.op}${flags.join('')}`;
  switch (inst.op) {
    case 'icmp':
      return `${head}icmp ${inst.pred} ${args}`;
    case 'alloca':
      return `${head}alloca ${inst.size}, align ${inst.align}${inst.name === '' ? '' : ` ; ${inst.name}`}`;
    case 'load':
      return `${head}${op} ${inst.type} from ${inst.mem} ${args}`;
    case 'store':
      return `${op} ${inst.mem} ${args}`;
    case 'phi':
      return `${head}phi ${inst.type} ${inst.args
        .map((arg, i) => `[${operand(arg)}, ${label(inst.targets[i])}]`)
        .join(', ')}`;
    case 'atomic':
      return `${head}${op} ${inst.atomic} ${inst.mem} ${args}`;
    case 'call': {
      const callee =
        inst.callee?.kind === 'helper'
          ? `helper ${inst.callee.id}`
          : inst.callee?.kind === 'function'
            ? `@${inst.callee.func.name}`
            : 'through';
      return `${head}call ${inst.type} ${callee}(${args})`;
    }
    case 'core':
      return `${head}core ${inst.type} kind ${inst.core?.relo} "${inst.core?.access}" local ${inst.core?.local}`;
    case 'asm':
      return `${head}${op} ${JSON.stringify(inst.asm?.template)} (${args})`;
    case 'asmgoto':
      return `${op} ${JSON.stringify(inst.asm?.template)} (${args}) ${inst.targets.map(label).join(', ')}`;
    case 'br':
    case 'condbr':
      return `${op} ${[args, ...inst.targets.map(label)].filter(Boolean).join(', ')}`;
    case 'switch':
      return `switch ${args}, default ${label(inst.targets[0])}${inst.cases
        .map((value, i) => `, ${value}: ${label(inst.targets[i + 1])}`)
        .join('')}`;
    case 'zext':
    case 'sext':
    case 'trunc':
      return `${head}${op} ${args} to ${inst.type}`;
    default:
      return `${head}${op}${inst.type === 'void' ? '' : ` ${inst.type}`} ${args}`.trimEnd();
  }
}
