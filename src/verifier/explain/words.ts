/** Plain words for instructions and for kinds of values; the table of reasons is written with them. */

import { helperNameById } from '../../asm/helpers.ts';
import {
  ALU_OP,
  accessBytes,
  CALL,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  JMP_OP,
  LD_IMM64,
  MODE,
  SOURCE,
} from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { RegionKind } from '../../contracts/refusal.ts';

export function bytes(n: number): string {
  return n === 1 ? '1 byte' : `${n} bytes`;
}

/** `1 instruction`, `2 instructions` */
export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

const BASES: readonly (readonly [string, string])[] = [
  ['map_value', 'a pointer to a map value'],
  ['map_key', 'a pointer to a map key'],
  ['map_ptr', 'a map'],
  ['dynptr_ptr', 'a dynptr'],
  ['sock_common', 'a pointer to a socket'],
  ['tcp_sock', 'a pointer to a TCP socket'],
  ['xdp_sock', 'a pointer to an XDP socket'],
  ['sock', 'a pointer to a socket'],
  ['pkt_end', 'the end of the packet'],
  ['pkt_meta', 'a pointer to the packet’s metadata'],
  ['pkt', 'a pointer into the packet'],
  ['ctx', 'the context'],
  ['fp', 'a pointer to the stack'],
  ['flow_keys', 'a pointer to the flow keys'],
  ['tp_buffer', 'a pointer to the arguments of the tracepoint'],
  ['arena', 'a pointer into an arena'],
  ['func', 'the address of a function'],
  ['buf', 'a pointer to a buffer'],
  ['scalar', 'a number'],
  ['unwritten', 'not written yet'],
  ['?', 'not written yet'],
];

/** `map_value_or_null` → `a pointer to a map value, or NULL`; `ptr_task_struct` → `a pointer to struct task_struct`. */
export function typeWords(type: string): string {
  const nullable = /_or_null_?/.test(type);
  let plain = type.replace(/_or_null_?/, '');
  const marks: string[] = [];
  for (;;) {
    const mark = /^(rdonly|ringbuf|user|percpu|rcu|untrusted|trusted)_/.exec(plain);
    if (mark === null) break;
    marks.push(MARKS[mark[1]!] ?? mark[1]!);
    plain = plain.slice(mark[0].length);
  }
  let words = BASES.find(([name]) => name === plain)?.[1];
  if (words === undefined && /^ptr_?$/.test(plain)) words = 'a pointer to a struct of the kernel';
  if (words === undefined && plain.startsWith('ptr_')) words = `a pointer to struct ${plain.slice(4)}`;
  if (words === undefined && plain.startsWith('mem')) words = 'a pointer to memory';
  words ??= type;
  if (marks.length > 0) words += ` (${marks.join(', ')})`;
  return nullable ? `${words}, or NULL` : words;
}

const MARKS: Readonly<Record<string, string>> = {
  rdonly: 'read-only',
  ringbuf: 'a ring buffer record',
  user: 'of user space',
  percpu: 'per CPU',
  rcu: 'under RCU',
  untrusted: 'untrusted',
  trusted: 'trusted',
};

export function typeList(types: string): string {
  const names = types.split(', ');
  // What takes the stack takes all kinds of memory.
  if (names.includes('fp') && names.length > 2) return 'a pointer to memory: stack, packet, map value, …';
  return types
    .split(', ')
    .map(typeWords)
    .filter((words, i, all) => all.indexOf(words) === i)
    .join('; ');
}

const REGIONS: Readonly<Record<RegionKind, string>> = {
  stack: 'the stack',
  packet: 'the packet',
  map_value: 'the map value',
  map_key: 'the map key',
  memory: 'the memory',
  buffer: 'the buffer',
  context: 'the context',
  flow_keys: 'the flow keys',
  struct: 'the struct',
};

export function regionWords(region: RegionKind | undefined): string {
  return region === undefined ? 'the memory' : REGIONS[region];
}

const COMPARE: Readonly<Record<number, string>> = {
  [JMP_OP.JEQ]: '==',
  [JMP_OP.JNE]: '!=',
  [JMP_OP.JGT]: '>',
  [JMP_OP.JGE]: '>=',
  [JMP_OP.JLT]: '<',
  [JMP_OP.JLE]: '<=',
  [JMP_OP.JSGT]: 's>',
  [JMP_OP.JSGE]: 's>=',
  [JMP_OP.JSLT]: 's<',
  [JMP_OP.JSLE]: 's<=',
  [JMP_OP.JSET]: '&',
};

/** `r1 > r2`, `w0 == 5`; undefined for what is no comparison. */
export function condition(insn: Insn): string | undefined {
  const cls = insnClass(insn.code);
  if (cls !== CLASS.JMP && cls !== CLASS.JMP32) return undefined;
  const sign = COMPARE[insnOp(insn.code)];
  if (sign === undefined) return undefined;
  const r = cls === CLASS.JMP ? 'r' : 'w';
  const right = (insn.code & SOURCE.X) !== 0 ? `${r}${insn.src}` : String(insn.imm);
  return `${r}${insn.dst} ${sign} ${right}`;
}

export function calleeName(insn: Insn): string {
  if (insn.src === CALL.HELPER) return helperNameById(insn.imm) ?? `helper ${insn.imm}`;
  return insn.src === CALL.LOCAL ? 'a function of the program' : `kernel function ${insn.imm}`;
}

function place(register: number, off: number): string {
  if (off === 0) return `R${register}`;
  return off < 0 ? `R${register} - ${-off}` : `R${register} + ${off}`;
}

/** What an instruction does, as the rest of a sentence that starts with "the program". `called`: the function, where known. */
export function deed(insn: Insn, called?: string): string {
  const { code, dst, src, off } = insn;
  const cls = insnClass(code);
  switch (cls) {
    case CLASS.LDX:
      return `reads ${bytes(accessBytes(code))} at ${place(src, off)}`;
    case CLASS.STX:
      if (insnMode(code) === MODE.ATOMIC)
        return `changes ${bytes(accessBytes(code))} at ${place(dst, off)} atomically`;
      return `writes R${src} (${bytes(accessBytes(code))}) to ${place(dst, off)}`;
    case CLASS.ST:
      return `writes ${insn.imm} (${bytes(accessBytes(code))}) to ${place(dst, off)}`;
    case CLASS.LD:
      return code === LD_IMM64
        ? `loads a constant into R${dst}`
        : 'loads from the packet with a legacy instruction';
    case CLASS.JMP:
    case CLASS.JMP32: {
      const op = insnOp(code);
      if (op === JMP_OP.CALL) return `calls ${called ?? calleeName(insn)}`;
      if (op === JMP_OP.EXIT) return 'returns';
      if (op === JMP_OP.JA) return 'jumps';
      return `compares (${condition(insn) ?? 'may_goto'})`;
    }
    default: {
      const op = insnOp(code);
      if (op === ALU_OP.MOV) return (code & SOURCE.X) === 0 ? `sets R${dst}` : `copies R${src} to R${dst}`;
      return (code & SOURCE.X) === 0 ? `computes with R${dst}` : `computes with R${dst} and R${src}`;
    }
  }
}
