/**
 * Collects what a verification knows and spends at each instruction: the registers and stack slots joined over all paths, how often
 * it was checked, the states kept, the paths cut short.
 *
 * The join is only for reading: kinds are collected, bounds widened. It costs a comparison of references where nothing changed.
 */
import { CLASS, insnClass, insnOp, JMP_OP } from '../asm/opcodes.ts';
import type { AnnotatedRegister, Annotations, InsnAnnotation } from '../contracts/annotations.ts';
import type { VerifyRequest } from '../contracts/verify.ts';
import { isPacketPointer, NOT_INIT, type Reg, SCALAR, typeName } from './registers.ts';
import { STACK_SPILL, slotType, type VState } from './state.ts';
import type { Watcher } from './watch.ts';

const REGISTERS = 10;
/** Kinds of one register that are told apart. */
const MAX_TYPES = 4;
/** Joins over the whole program: beyond, only costs are counted. */
const MAX_JOINS = 4_000_000;
/** Stack slots that are shown, from the top. */
const MAX_SLOTS = 64;

class Joined {
  readonly types: string[] = [];
  map: string | undefined;
  min: bigint | undefined;
  max: bigint | undefined;
  range: number | undefined;
  #last: Reg | undefined;

  add(reg: Reg): void {
    if (reg === this.#last) return;
    const first = this.#last === undefined;
    this.#last = reg;
    const name = reg.type === NOT_INIT ? 'unwritten' : typeName(reg.type) + (reg.struct?.name ?? '');
    if (!this.types.includes(name) && this.types.length < MAX_TYPES) this.types.push(name);
    if (reg.type === NOT_INIT) return;
    this.map = reg.map === null || reg.map.name === '' ? undefined : reg.map.name;
    const shift = reg.type === SCALAR ? 0n : BigInt(reg.off);
    const min = reg.v.smin + shift;
    const max = reg.v.smax + shift;
    if (this.min === undefined || min < this.min) this.min = min;
    if (this.max === undefined || max > this.max) this.max = max;
    if (isPacketPointer(reg.type)) {
      const range = Math.max(0, reg.raw);
      this.range = first || this.range === undefined ? range : Math.min(this.range, range);
    }
  }

  toData(register: string): AnnotatedRegister {
    const known = this.min !== undefined && (this.min > MIN || this.max! < MAX);
    return {
      register,
      types: this.types,
      ...(this.map === undefined ? {} : { map: this.map }),
      ...(known ? { min: String(this.min), max: String(this.max) } : {}),
      ...(this.range === undefined ? {} : { range: this.range }),
    };
  }
}

const MIN = -0x8000_0000_0000_0000n;
const MAX = 0x7fff_ffff_ffff_ffffn;

interface Cell {
  processed: number;
  states: number;
  pruned: number;
  readonly registers: (Joined | undefined)[];
  readonly slots: Map<number, Joined>;
}

export class Annotator implements Watcher {
  readonly #request: VerifyRequest;
  readonly #cells: (Cell | undefined)[];
  #states = 0;
  #joins = 0;

  constructor(request: VerifyRequest) {
    this.#request = request;
    this.#cells = new Array(request.insns.length);
  }

  #cell(at: number): Cell {
    let cell = this.#cells[at];
    if (cell === undefined) {
      cell = { processed: 0, states: 0, pruned: 0, registers: [], slots: new Map() };
      this.#cells[at] = cell;
    }
    return cell;
  }

  insn(at: number, state: VState, states: number): void {
    const cell = this.#cell(at);
    cell.processed++;
    // A state is kept just before the instruction is checked.
    cell.states += states - this.#states;
    this.#states = states;
    if (++this.#joins > MAX_JOINS) return;
    const { regs, stack } = state.frame;
    for (let n = 0; n < REGISTERS; n++) {
      const reg = regs[n]!;
      if (reg.type === NOT_INIT && cell.registers[n] === undefined) continue;
      cell.registers[n] ??= new Joined();
      cell.registers[n]!.add(reg);
    }
    for (let i = 0; i < Math.min(stack.length, MAX_SLOTS); i++) {
      const slot = stack[i]!;
      if (slotType(slot.types, 7) !== STACK_SPILL) continue;
      let joined = cell.slots.get(i);
      if (joined === undefined) {
        joined = new Joined();
        cell.slots.set(i, joined);
      }
      joined.add(slot.reg);
    }
  }

  pruned(at: number): void {
    this.#cell(at).pruned++;
  }

  result(): Annotations {
    const insns: InsnAnnotation[] = [];
    this.#cells.forEach((cell, insn) => {
      const { processed, states, pruned } = cell!;
      const registers = cell!.registers.flatMap((joined, n) =>
        joined === undefined ? [] : [joined.toData(`R${n}`)],
      );
      for (const [i, joined] of cell!.slots) registers.push(joined.toData(`fp-${8 * (i + 1)}`));
      insns.push({ insn, processed, states, pruned, registers });
    });
    return { insns, functions: this.#functions(), capped: this.#joins > MAX_JOINS };
  }

  #functions(): Annotations['functions'] {
    const { insns, btf, funcInfo = [], progType } = this.#request;
    const starts = new Map<number, string>([[0, progType.name]]);
    insns.forEach((insn, i) => {
      const call = insnClass(insn.code) === CLASS.JMP && insnOp(insn.code) === JMP_OP.CALL && insn.src === 1;
      const target = i + 1 + insn.imm;
      if (call && target >= 0 && target < insns.length) starts.set(target, `function at ${target}`);
    });
    for (const { insn, typeId } of funcInfo)
      if (btf !== undefined && typeId < btf.typeCount && insn < insns.length)
        starts.set(insn, btf.name(typeId));
    const sorted = [...starts].sort(([a], [b]) => a - b);
    return sorted.map(([start, name], i) => ({ name, start, end: sorted[i + 1]?.[0] ?? insns.length }));
  }
}
