/**
 * Text to instructions: the kernel's syntax as the disassembler prints it, with labels, comments and names, and LLVM's.
 *
 *     start:                                # a label; also `1:` with `goto 1f` and `goto 1b`
 *         r1 = 5                            # a 32-bit constant, sign-extended
 *         r1 = 0x5                          # kernel syntax: the 64-bit load that the kernel writes so (2 slots)
 *         r1 = 0x123456789 ll               # the same, both syntaxes
 *         r1 = map[counts]                  # a map by name, by fd (`map[fd:3]`) or by index (`map[idx:0]`)
 *         r1 = map[counts][0]+8             # an address in the map's first value
 *         r1 = subprog[callback]            # a function of this program; r1 = btf_id[7, fd:4]
 *         call bpf_map_lookup_elem          # or `call 1`, or `call bpf_map_lookup_elem#1`
 *         if r0 == 0 goto out               # or `goto pc+3`, `goto +3`
 *         call helper_function              # a label: a bpf-to-bpf call
 *     out:
 *         (95) exit                         # an opcode in front, as in the log, is checked
 *         .insn 0x95, 0, 0, 0, 0            # code, dst, src, off, imm of one slot
 *
 * Comments: `#` and `//` to the end of the line, C comments, and, in the kernel's syntax, `;` (in LLVM's it separates
 * statements). Invariant: the work is linear in the text, and its size and that of the program are bounded.
 */
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/index.ts';
import { helperIdByName } from './helpers.ts';
import { syntaxError, type Token, tokenize } from './lexer.ts';
import { type Match, matchInsn } from './matcher.ts';
import { PSEUDO } from './opcodes.ts';
import type { SymbolUse } from './operands.ts';

export interface AssembleOptions {
  /** Whose reading wins where the two differ. Default: kernel. */
  readonly syntax?: 'kernel' | 'llvm';
  /** Number of a helper by name; default: the helper table. */
  readonly helperId?: (name: string) => number | undefined;
  /** BTF id of a kfunc by name. */
  readonly kfuncId?: (name: string) => number | undefined;
  /** File descriptor of a map by name. A map it does not know, or without it every map, becomes a relocation. */
  readonly mapFd?: (name: string) => number | undefined;
}

/** A reference to a map by a name that was not resolved: the immediate of slot `insn` wants its descriptor. */
export interface MapRelocation {
  readonly insn: number;
  readonly name: string;
}

export interface AssembledProgram {
  readonly insns: Insn[];
  /** Slot of each label. */
  readonly labels: ReadonlyMap<string, number>;
  /** Source line, from 1, of each slot. */
  readonly lines: readonly number[];
  readonly relocations: readonly MapRelocation[];
}

const MAX_TEXT = 64 << 20;
/** The kernel's limit on a program's instructions (BPF_COMPLEXITY_LIMIT_INSNS). */
const MAX_INSNS = 1_000_000;

interface Statement {
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

/** Comments become spaces, so that columns stay. */
function stripComments(text: string, syntax: 'kernel' | 'llvm'): string {
  let out = '';
  let at = 0;
  const marks = syntax === 'kernel' ? /\/\*|\/\/|;|#/g : /\/\*|\/\/|#/g;
  for (;;) {
    marks.lastIndex = at;
    const found = marks.exec(text);
    if (found === null) return out + text.slice(at);
    const start = found.index;
    // `#` behind a word is the kernel's name#id.
    if (found[0] === '#' && start > 0 && /\w/.test(text.charAt(start - 1))) {
      out += text.slice(at, start + 1);
      at = start + 1;
      continue;
    }
    out += text.slice(at, start);
    const block = found[0] === '/*';
    const end = block ? text.indexOf('*/', start + 2) : text.indexOf('\n', start);
    if (end < 0) {
      if (block) {
        const before = text.slice(0, start);
        const line = before.split('\n').length;
        throw syntaxError(
          { line, column: start - before.lastIndexOf('\n') },
          'the comment is not closed',
          'close it with */',
        );
      }
      return out;
    }
    const stop = block ? end + 2 : end;
    out += text.slice(start, stop).replace(/[^\n]/g, ' ');
    at = stop;
  }
}

function* statements(text: string, syntax: 'kernel' | 'llvm'): Generator<Statement> {
  let line = 0;
  for (const whole of stripComments(text, syntax).split('\n')) {
    line++;
    let column = 1;
    for (const piece of syntax === 'llvm' ? whole.split(';') : [whole]) {
      if (piece.trim() !== '') yield { text: piece, line, column };
      column += piece.length + 1;
    }
  }
}

const LABEL = /^\s*([A-Za-z_.$][\w.$]*|\d+)\s*:/;
const OPCODE_PREFIX = /^\s*\(([0-9a-fA-F]{2})\)/;
/** llvm-objdump's name of a jump target: `goto +0x3 <foo+0x48>`. */
const TARGET_NAME = /\s<[^<>]*>\s*$/;

/** An instruction without its labels and opcode. It becomes tokens when its turn comes: all tokens at once are many. */
interface Item {
  readonly text: string;
  readonly line: number;
  readonly column: number;
  readonly opcode: number | undefined;
}

interface LabelAt {
  /** Index into the list of items that the label stands before. */
  readonly item: number;
  readonly line: number;
}

/** First pass: labels and opcodes off. A numeric label may stand several times. */
function scan(
  text: string,
  syntax: 'kernel' | 'llvm',
): { items: Item[]; labels: Map<string, LabelAt>; local: Map<string, number[]> } {
  const items: Item[] = [];
  const labels = new Map<string, LabelAt>();
  const local = new Map<string, number[]>();
  for (const statement of statements(text, syntax)) {
    let rest = statement.text;
    let column = statement.column;
    for (let label = LABEL.exec(rest); label !== null; label = LABEL.exec(rest)) {
      const name = label[1]!;
      if (/^\d/.test(name)) {
        const places = local.get(name);
        if (places === undefined) local.set(name, [items.length]);
        else places.push(items.length);
      } else {
        const other = labels.get(name);
        if (other !== undefined) {
          throw syntaxError(
            { line: statement.line, column },
            `the label "${name}" stands also in line ${other.line}`,
            'give one of them another name',
          );
        }
        labels.set(name, { item: items.length, line: statement.line });
      }
      rest = rest.slice(label[0].length);
      column += label[0].length;
    }
    let opcode: number | undefined;
    const prefix = OPCODE_PREFIX.exec(rest);
    if (prefix !== null) {
      opcode = Number.parseInt(prefix[1]!, 16);
      rest = rest.slice(prefix[0].length);
      column += prefix[0].length;
    }
    if (rest.trim() === '') {
      if (opcode !== undefined) throw syntaxError(statement, 'an instruction must follow the opcode');
      continue;
    }
    items.push({ text: rest, line: statement.line, column, opcode });
    if (items.length > MAX_INSNS) {
      throw new BpfError(
        'E2BIG',
        `line ${statement.line}: the program has more than ${MAX_INSNS} instructions`,
      );
    }
  }
  return { items, labels, local };
}

const RAW_FIELDS = [
  ['code', 0n, 0xffn],
  ['dst', 0n, 0xfn],
  ['src', 0n, 0xfn],
  ['off', -0x8000n, 0x7fffn],
  ['imm', -0x8000_0000n, 0xffff_ffffn],
] as const;

/** `.insn code, dst, src, off, imm` */
function rawInsn(tokens: readonly Token[]): Insn {
  const insn: Insn = { code: 0, dst: 0, src: 0, off: 0, imm: 0 };
  let at = 1;
  const here = () => tokens[at] ?? tokens[tokens.length - 1]!;
  RAW_FIELDS.forEach(([field, min, max], i) => {
    if (i > 0) {
      if (tokens[at]?.text !== ',') throw syntaxError(here(), `expected "," and ${field} after it`);
      at++;
    }
    const negative = tokens[at]?.text === '-';
    if (negative) at++;
    const token = tokens[at];
    if (token?.kind !== 'number' || token.text.length > 12) {
      throw syntaxError(here(), `expected ${field} as a number`, '.insn code, dst, src, off, imm');
    }
    const value = negative ? -BigInt(token.text) : BigInt(token.text);
    if (value < min || value > max)
      throw syntaxError(token, `${field} = ${value} is not in ${min} to ${max}`);
    insn[field] = field === 'imm' ? Number(BigInt.asIntN(32, value)) : Number(value);
    at++;
  });
  if (at < tokens.length) throw syntaxError(here(), `unexpected "${here().text}" after the instruction`);
  return insn;
}

const SHOWN_ALTERNATIVES = 8;

function mismatchError(tokens: readonly Token[], at: number, expected: readonly string[]): BpfError {
  const token = tokens[at];
  const last = tokens[tokens.length - 1]!;
  const place = token ?? { line: last.line, column: last.column + last.text.length };
  const shown = expected.slice(0, SHOWN_ALTERNATIVES);
  const more = expected.length > shown.length ? ', …' : '';
  const found = token === undefined ? 'the line ends too early' : `unexpected "${token.text.slice(0, 40)}"`;
  return syntaxError(place, found, shown.length === 0 ? undefined : `expected ${shown.join(' or ')}${more}`);
}

const hexByte = (code: number): string => code.toString(16).padStart(2, '0');

/** Assembles a program. Throws BpfError EINVAL with line, column, what is wrong and, as hint, what was expected. */
export function assembleProgram(text: string, options: AssembleOptions = {}): AssembledProgram {
  if (text.length > MAX_TEXT) throw new BpfError('E2BIG', `the text has more than ${MAX_TEXT} characters`);
  const syntax = options.syntax ?? 'kernel';
  const { items, labels, local } = scan(text, syntax);
  const insns: Insn[] = [];
  const lines: number[] = [];
  const slotOfItem: number[] = [];
  const uses: { slot: number; item: number; symbol: SymbolUse }[] = [];
  const isLabel = (name: string) => labels.has(name) || /^\d+[bf]$/.test(name);
  const context = {
    isLabel,
    helperId: options.helperId ?? helperIdByName,
    kfuncId: options.kfuncId ?? (() => undefined),
  };

  items.forEach((item, i) => {
    slotOfItem.push(insns.length);
    const { line } = item;
    const tokens = tokenize(item.text.replace(TARGET_NAME, ''), line, item.column);
    if (tokens.length === 0) throw syntaxError(item, 'there is no instruction');
    if (tokens[0]!.text === '.insn') {
      insns.push(rawInsn(tokens));
      lines.push(line);
      return;
    }
    const match = matchInsn(tokens, syntax, { ...context, opcode: item.opcode });
    if (!('row' in match)) {
      if (match.message !== undefined) throw syntaxError(tokens[match.at]!, match.message, match.hint);
      if (item.opcode !== undefined && match.expected.includes('end of line') && match.at >= tokens.length) {
        throw syntaxError(
          tokens[0]!,
          `the instruction does not have the opcode ${hexByte(item.opcode)} before it`,
        );
      }
      throw mismatchError(tokens, match.at, match.expected);
    }
    if (match.captures.symbol !== undefined) {
      uses.push({ slot: insns.length, item: i, symbol: match.captures.symbol });
    }
    emit(insns, match);
    while (lines.length < insns.length) lines.push(line);
  });
  slotOfItem.push(insns.length);

  const slotOf = (name: string, item: number, token: Token): number => {
    const label = labels.get(name);
    if (label !== undefined) return slotOfItem[label.item]!;
    const places = local.get(name.slice(0, -1)) ?? [];
    const place = name.endsWith('f') ? places.find((p) => p > item) : places.findLast((p) => p <= item);
    if (place === undefined) throw syntaxError(token, `there is no label for "${name}"`);
    return slotOfItem[place]!;
  };
  const relocations = resolve(insns, uses, slotOf, options);
  const named = new Map([...labels].map(([name, { item }]) => [name, slotOfItem[item]!]));
  return { insns, labels: named, lines, relocations };
}

function emit(insns: Insn[], { row, captures }: Match): void {
  const { fixed } = row;
  insns.push({
    code: row.code,
    dst: captures.dst ?? fixed.dst ?? 0,
    src: captures.src ?? fixed.src ?? 0,
    off: captures.off ?? fixed.off ?? 0,
    imm: captures.imm ?? fixed.imm ?? 0,
  });
  if (row.slots === 2) insns.push({ code: 0, dst: 0, src: 0, off: 0, imm: captures.imm2 ?? 0 });
}

function resolve(
  insns: Insn[],
  uses: readonly { slot: number; item: number; symbol: SymbolUse }[],
  slotOf: (name: string, item: number, token: Token) => number,
  options: AssembleOptions,
): MapRelocation[] {
  const relocations: MapRelocation[] = [];
  for (const { slot, item, symbol } of uses) {
    const insn = insns[slot]!;
    switch (symbol.kind) {
      case 'jump': {
        const distance = slotOf(symbol.name, item, symbol.token) - slot - 1;
        if (symbol.field === 'off' && (distance < -0x8000 || distance > 0x7fff)) {
          throw syntaxError(
            symbol.token,
            `"${symbol.name}" is ${distance} slots away: a jump of 16 bits does not reach it`,
            'use gotol, which has 32 bits',
          );
        }
        insn[symbol.field] = distance;
        break;
      }
      case 'func':
        insn.src = PSEUDO.FUNC;
        insn.imm = slotOf(symbol.name, item, symbol.token) - slot - 1;
        break;
      case 'map':
      case 'data': {
        if (symbol.kind === 'data') insn.src = PSEUDO.MAP_FD;
        const fd = options.mapFd?.(symbol.name);
        if (fd === undefined) relocations.push({ insn: slot, name: symbol.name });
        else insn.imm = fd;
        break;
      }
    }
  }
  return relocations;
}

/** Assembles to instructions alone. A map that no option resolves is an error here. */
export function assemble(text: string, options: AssembleOptions = {}): Insn[] {
  const program = assembleProgram(text, options);
  const open = program.relocations[0];
  if (open !== undefined) {
    throw new BpfError('EINVAL', `line ${program.lines[open.insn]}: there is no map "${open.name}"`, {
      hint: 'pass mapFd, or use assembleProgram, which lists the maps that a program names',
    });
  }
  return program.insns;
}
