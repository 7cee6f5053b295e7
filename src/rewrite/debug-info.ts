/**
 * Function and line records (`.BTF.ext`) of a program after rewriting, as OBJ_GET_INFO_BY_FD gives them (kernel:
 * bpf_adj_linfo_after_remove, adjust_func_info). A record of lines that no path reaches goes; one whose first instruction went
 * stands at the next one that is left of it.
 */
import type { ExecutableProgram } from '../contracts/engine.ts';

/** The first word of both records: the instruction. */
const INSN = 0;

/** `struct bpf_line_info` records for the instructions of `program`; `records` are those of the program as loaded. */
export function moveLines(
  program: Pick<ExecutableProgram, 'origin'>,
  records: Uint8Array,
  size: number,
): Uint8Array {
  const moved = new Moved(records, size);
  let last = -1;
  program.origin.forEach((origin, insn) => {
    const record = moved.at(origin);
    if (record >= 0 && record !== last) moved.add(record, insn);
    last = record;
  });
  return moved.bytes();
}

/** `struct bpf_func_info` records, one for each function that is left. */
export function moveFunctions(
  program: { readonly origin: Int32Array; readonly subprogs: readonly { readonly start: number }[] },
  records: Uint8Array,
  size: number,
): Uint8Array {
  const moved = new Moved(records, size);
  for (const { start } of program.subprogs) {
    const record = moved.at(program.origin[start] ?? -1);
    if (record >= 0) moved.add(record, start);
  }
  return moved.bytes();
}

class Moved {
  readonly #records: Uint8Array;
  readonly #view: DataView;
  readonly #size: number;
  readonly #kept: { readonly record: number; readonly insn: number }[] = [];
  #near = 0;

  constructor(records: Uint8Array, size: number) {
    this.#records = records;
    this.#size = size;
    this.#view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  }

  get #count(): number {
    return this.#records.length / this.#size;
  }

  #insn(record: number): number {
    return this.#view.getUint32(record * this.#size + INSN, true);
  }

  /** The last record at or before an instruction, -1 where there is none. Instructions are asked for in rising order. */
  at(insn: number): number {
    if (this.#count === 0 || this.#insn(this.#near) > insn) return -1;
    while (this.#near + 1 < this.#count && this.#insn(this.#near + 1) <= insn) this.#near++;
    return this.#near;
  }

  add(record: number, insn: number): void {
    this.#kept.push({ record, insn });
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.#kept.length * this.#size);
    const view = new DataView(bytes.buffer);
    this.#kept.forEach(({ record, insn }, i) => {
      bytes.set(this.#records.subarray(record * this.#size, (record + 1) * this.#size), i * this.#size);
      view.setUint32(i * this.#size + INSN, insn, true);
    });
    return bytes;
  }
}
