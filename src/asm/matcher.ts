/**
 * Finds the row of the instruction table that a statement is written after. The templates of both syntaxes stand in one
 * tree, keyed by token; a statement walks all of its branches at once. Depth and branching are those of the templates,
 * so the work for a statement is bounded whatever it says.
 */
import { type Token, tokenize } from './lexer.ts';
import { type Captures, OPERANDS, type ReadContext } from './operands.ts';
import { INSN_ROWS, type InsnRow } from './table.ts';
import { templateParts } from './template.ts';

interface Node {
  readonly literals: Map<string, Node>;
  readonly operands: Map<string, Node>;
  readonly rows: { readonly row: InsnRow; readonly rank: number }[];
}

const node = (): Node => ({ literals: new Map(), operands: new Map(), rows: [] });

function child(map: Map<string, Node>, key: string): Node {
  let next = map.get(key);
  if (next === undefined) {
    next = node();
    map.set(key, next);
  }
  return next;
}

function insert(root: Node, template: string, row: InsnRow, rank: number): void {
  let at = root;
  for (const part of templateParts(template)) {
    if ('key' in part) at = child(at.operands, part.key);
    else for (const token of tokenize(part.text)) at = child(at.literals, token.text);
  }
  at.rows.push({ row, rank });
}

/**
 * Where a text fits several rows, the one of lowest rank is meant: first the templates of the syntax asked for, and
 * among the kernel's own the 64-bit load, which the kernel writes in hexadecimal (`r1 = 0x5`) and a move in decimal.
 */
function build(first: 'kernel' | 'llvm'): Node {
  const root = node();
  INSN_ROWS.forEach((row, i) => {
    for (const syntax of ['kernel', 'llvm'] as const) {
      const template = row[syntax];
      if (template === null) continue;
      const rank = (syntax === first ? 0 : 10_000) + (row.slots === 2 && syntax === 'kernel' ? 0 : 1000) + i;
      insert(root, template, row, rank);
    }
  });
  return root;
}

const trees: { kernel?: Node; llvm?: Node } = {};

export interface Match {
  readonly row: InsnRow;
  readonly captures: Captures;
}

/** The farthest token that fitted nothing, what could have stood there, and a better message where there is one. */
export interface Mismatch {
  readonly at: number;
  readonly expected: readonly string[];
  readonly message: string | undefined;
  readonly hint: string | undefined;
}

const END = 'end of line';

/** Matches all tokens of a statement. */
export function matchInsn(
  tokens: readonly Token[],
  syntax: 'kernel' | 'llvm',
  context: Omit<ReadContext, 'tokens' | 'complain'>,
): Match | Mismatch {
  // What was expected is only gathered once it is known that nothing fits.
  const found = search(tokens, syntax, context, false);
  return 'row' in found ? found : search(tokens, syntax, context, true);
}

function search(
  tokens: readonly Token[],
  syntax: 'kernel' | 'llvm',
  context: Omit<ReadContext, 'tokens' | 'complain'>,
  explain: boolean,
): Match | Mismatch {
  trees[syntax] ??= build(syntax);
  const root = trees[syntax];
  let best: (Match & { rank: number }) | undefined;
  let farthest = 0;
  let expected = new Set<string>();
  const complaints = new Map<number, { message: string; hint: string | undefined }>();
  const c: ReadContext = {
    ...context,
    tokens,
    complain: (at, message, hint) => complaints.set(at, { message, hint }),
  };
  const expect = (at: number, what: string) => {
    if (at > farthest) {
      farthest = at;
      expected = new Set();
    }
    if (at === farthest) expected.add(what);
  };

  const walk = (from: Node, at: number, captures: Captures): void => {
    const token = tokens[at];
    if (token === undefined) {
      for (const { row, rank } of from.rows) {
        if (context.opcode !== undefined && row.code !== context.opcode) continue;
        if (best === undefined || rank < best.rank) best = { row, captures, rank };
      }
    }
    if (explain && from.rows.length > 0) expect(at, END);
    const literal = token === undefined ? undefined : from.literals.get(token.text);
    if (literal !== undefined) walk(literal, at + 1, captures);
    for (const [key, next] of from.operands) {
      const operand = OPERANDS[key]!;
      const result = operand.read(c, at, captures);
      if (result !== null) walk(next, result.next, result.captures);
      else if (explain) expect(at, operand.expected);
    }
    if (explain && literal === undefined) for (const text of from.literals.keys()) expect(at, `"${text}"`);
  };
  walk(root, 0, {});
  if (best !== undefined) return { row: best.row, captures: best.captures };
  // A complaint is about a token inside an operand: it counts unless some branch came beyond it.
  let complaintAt = -1;
  for (const at of complaints.keys()) if (at >= farthest - 1 && at > complaintAt) complaintAt = at;
  const complaint = complaints.get(complaintAt);
  return {
    at: complaint === undefined ? farthest : complaintAt,
    expected: [...expected],
    message: complaint?.message,
    hint: complaint?.hint,
  };
}
