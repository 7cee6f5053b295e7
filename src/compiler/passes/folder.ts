/** What the rules of folding share: the work list, instructions that they make, choices between constants. */
import { bitsOf, type Const, type Func, Inst, type IrType, isConst, sweep, type Value } from '../ir/index.ts';
import { maskOf } from './masks.ts';

export class Folder {
  readonly work: Inst[] = [];
  /** By number: an instruction waits in `work`. */
  private readonly queued: boolean[] = [];
  changed = false;

  queue(inst: Inst): void {
    if (inst.block === undefined || this.queued[inst.id] === true) return;
    this.queued[inst.id] = true;
    this.work.push(inst);
  }

  /** Gives a number; an instruction that has none cannot be queued. */
  enter(inst: Inst): void {
    inst.id = this.queued.length;
    this.queued.push(false);
  }

  next(): Inst {
    const inst = this.work.pop()!;
    this.queued[inst.id] = false;
    return inst;
  }

  queueUsers(inst: Inst): void {
    for (const user of inst.users) this.queue(user);
  }

  /** A new instruction right before another. */
  before(inst: Inst, op: Inst['op'], type: IrType, args: Value[]): Inst {
    const made = new Inst(op, type, args);
    made.loc = inst.loc;
    made.block = inst.block;
    this.enter(made);
    this.pending.push({ made, before: inst });
    this.queue(made);
    return made;
  }

  readonly pending: { made: Inst; before: Inst }[] = [];

  /** Puts the new instructions into their blocks. */
  settle(func: Func): void {
    if (this.pending.length > 0) {
      const byPlace = new Map<Inst, Inst[]>();
      for (const { made, before } of this.pending) {
        const list = byPlace.get(before);
        if (list === undefined) byPlace.set(before, [made]);
        else list.push(made);
      }
      for (const block of func.blocks) {
        if (!block.insts.some((inst) => byPlace.has(inst))) continue;
        const rebuilt: Inst[] = [];
        const place = (inst: Inst): void => {
          for (const made of byPlace.get(inst) ?? []) place(made);
          rebuilt.push(inst);
        };
        for (const inst of block.insts) place(inst);
        block.insts = rebuilt;
      }
      this.pending.length = 0;
    }
    sweep(func);
  }
}

/** A choice between two constants: a select of them, or a truth value made wider. */
export function choiceOf(value: Value): { cond: Value; yes: bigint; no: bigint } | undefined {
  if (value.kind !== 'inst') return undefined;
  const [a, b, c] = value.args;
  if (value.op === 'select' && isConst(b) && isConst(c)) return { cond: a!, yes: b.value, no: c.value };
  if ((value.op === 'zext' || value.op === 'sext') && a!.type === 'i1')
    return { cond: a!, yes: value.op === 'zext' ? 1n : maskOf(bitsOf(value.type)), no: 0n };
  return undefined;
}

/** An operation with one operand that is a phi of constants and nobody else's: a phi of results. */
export function intoPhi(
  inst: Inst,
  folder: Folder,
  result: (value: bigint) => Const | undefined,
): Value | undefined {
  const phi = inst.args[0]!;
  if (phi.kind !== 'inst' || phi.op !== 'phi' || phi.users.size !== 1 || phi.args.length > 8)
    return undefined;
  const results: Const[] = [];
  for (const arg of phi.args) {
    const one = isConst(arg) ? result(arg.value) : undefined;
    if (one === undefined) return undefined;
    results.push(one);
  }
  const made = folder.before(phi, 'phi', inst.type, results);
  made.targets = [...phi.targets];
  return made;
}
