/**
 * A rejection as an explanation: the row of its kind (table/) is filled in with the operands of the reason, what is known of the
 * registers, and the path. Needs nothing but the request and the rejection, so that it is made only when somebody asks.
 */
import { type FormatOptions, formatInsn, KERNEL_LOG } from '../../asm/disasm.ts';
import { CALL, LD_IMM64 } from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { LineInfo, RegisterNote, Rejection, VerifyRequest } from '../../contracts/verify.ts';
import type {
  ExplainedPlace,
  ExplainedRegister,
  ExplainedSource,
  ExplainedStep,
  Explanation,
} from '../../util/explanation.ts';
import { lineOf } from '../log.ts';
import { type Origin, originOf } from './origin.ts';
import { stepsOf } from './path.ts';
import type { Case } from './row.ts';
import { REASONS } from './table/index.ts';
import { calleeName, deed, typeWords } from './words.ts';

export function toSource({ file, line, column, text }: LineInfo): ExplainedSource {
  return { file: file.replace(/^\.\//, ''), line, column, text };
}

class Explainer {
  readonly #request: VerifyRequest;
  readonly #rejection: Rejection;
  readonly #format: FormatOptions;

  constructor(request: VerifyRequest, rejection: Rejection) {
    this.#request = request;
    this.#rejection = rejection;
    this.#format = { ...KERNEL_LOG, kfuncName: (insn) => this.#kfunc(insn.imm) };
  }

  run(): Explanation {
    const { reason, insn, path, errno, message } = this.#rejection;
    const row = REASONS[reason.kind];
    const related = reason.insn;
    const registers = this.#rejection.registers.map((note) => this.#register(note));
    const c = this.#case();
    return {
      version: 1,
      origin: 'verifier',
      kind: reason.kind,
      title: row.title,
      errno,
      message,
      asked: row.asked?.(c) ?? c.deed,
      why: row.why(c),
      needed: row.needed(c),
      fix: row.fix(c),
      ...(this.#insn(insn) === undefined ? {} : { place: this.#place(insn) }),
      registers,
      reason: { ...reason },
      path: this.#steps(path),
      ...(related === undefined || this.#insn(related) === undefined || related === insn
        ? {}
        : { related: [{ ...this.#place(related), what: RELATED[reason.kind] ?? 'this matters too' }] }),
    };
  }

  #insn(index: number): Insn | undefined {
    return index < 0 ? undefined : this.#request.insns[index];
  }

  #kfunc(id: number): string {
    const { kernelBtf } = this.#request;
    return kernelBtf !== undefined && id > 0 && id < kernelBtf.typeCount
      ? kernelBtf.name(id)
      : `kernel function ${id}`;
  }

  /** The function that a call calls, or that the program's BTF says an instruction is in. */
  #nameOf = (insn: Insn, index: number): string => {
    if (insn.src === CALL.KFUNC) return this.#kfunc(insn.imm);
    if (insn.src !== CALL.LOCAL) return calleeName(insn);
    return this.#function(index + 1 + insn.imm) ?? calleeName(insn);
  };

  #function(index: number): string | undefined {
    const { btf, funcInfo } = this.#request;
    let best: number | undefined;
    for (const { insn, typeId } of funcInfo ?? []) if (insn <= index) best = typeId;
    if (btf === undefined || best === undefined || best >= btf.typeCount) return undefined;
    const name = btf.name(best);
    return name === '' ? undefined : name;
  }

  #place(index: number): ExplainedPlace {
    const insn = this.#insn(index);
    const line = lineOf(this.#request.lineInfo, index);
    const name = this.#function(index);
    return {
      insn: index,
      text: insn === undefined ? '' : this.#text(index, insn),
      ...(name === undefined ? {} : { function: name }),
      ...(line === undefined ? {} : { source: toSource(line) }),
    };
  }

  /** Malformed instructions are what some refusals are about: the disassembler must not stop at them. */
  #text(index: number, insn: Insn): string {
    const { insns } = this.#request;
    if (insn.code === LD_IMM64 && insns[index + 1] === undefined) return '(18) ?';
    try {
      return formatInsn(insns, index, this.#format);
    } catch {
      return `(${insn.code.toString(16).padStart(2, '0')}) ?`;
    }
  }

  #steps(path: readonly number[]): ExplainedStep[] {
    const { insns } = this.#request;
    const steps: ExplainedStep[] = stepsOf(insns, path, this.#nameOf).map((step) => ({
      ...this.#place(step.insn),
      ...step,
    }));
    const { insn } = this.#rejection;
    if (this.#insn(insn) !== undefined)
      steps.push({ ...this.#place(insn), kind: 'refused', what: this.#deed() });
    return steps;
  }

  #origin(n: number): Origin | undefined {
    const { path, reason } = this.#rejection;
    if (path.length === 0) return undefined;
    return reason.at === undefined ? originOf(this.#request.insns, path, n, this.#nameOf) : undefined;
  }

  #register(note: RegisterNote): ExplainedRegister {
    const { smin, smax, umin, umax, ...rest } = note;
    const origin = this.#origin(Number(note.register.slice(1)));
    return {
      ...rest,
      ...(smin === undefined ? {} : { smin: String(smin) }),
      ...(smax === undefined ? {} : { smax: String(smax) }),
      ...(umin === undefined ? {} : { umin: String(umin) }),
      ...(umax === undefined ? {} : { umax: String(umax) }),
      ...(origin === undefined ? {} : { origin: { ...this.#place(origin.insn), what: origin.what } }),
    };
  }

  #deed(): string {
    const { insn } = this.#rejection;
    const at = this.#insn(insn);
    return at === undefined ? 'has to be loaded' : deed(at, this.#nameOf(at, insn));
  }

  #case(): Case {
    const { reason, registers, insn } = this.#rejection;
    // Where the reason names no register, the one through which memory is accessed is meant.
    const at = this.#insn(insn);
    const number = reason.register ?? (at === undefined ? undefined : (at.code & 7) === 1 ? at.src : at.dst);
    const name = `R${number ?? '?'}`;
    const register = registers.find((note) => note.register === name);
    const held = reason.kind === 'reference_leak' ? this.#insn(reason.insn ?? -1) : undefined;
    const origin = number === undefined || held !== undefined ? undefined : this.#origin(number);
    const called = held ?? at;
    return {
      reason,
      request: this.#request,
      name,
      register,
      type: typeWords(register?.type ?? reason.given ?? 'scalar'),
      origin:
        held === undefined
          ? this.#sentence(origin)
          : this.#at(this.#nameOf(held, reason.insn!), reason.insn!),
      deed: this.#deed(),
      called:
        called === undefined
          ? 'the function'
          : (reason.function ?? this.#nameOf(called, held === undefined ? insn : reason.insn!)),
    };
  }

  #sentence(origin: Origin | undefined): string | undefined {
    return origin === undefined ? undefined : this.#at(origin.what, origin.insn);
  }

  #at(what: string, insn: number): string {
    const line = lineOf(this.#request.lineInfo, insn);
    return `${what}, ${line === undefined ? `instruction ${insn}` : `line ${line.line}`}`;
  }
}

const RELATED: Readonly<Record<string, string>> = {
  reference_leak: 'acquired here',
  back_edge: 'the jump goes here',
  jump_out_of_range: 'the jump goes here',
  endless_loop: 'the loop comes back to here',
};

/** Says in words why `request` was rejected. Never throws for what the program contains. */
export function explain(request: VerifyRequest, rejection: Rejection): Explanation {
  return new Explainer(request, rejection).run();
}
