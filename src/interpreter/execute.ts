/**
 * The loop. One `switch` over operation numbers (opcode bytes of RFC 9669 section 3; see `decode.ts`), registers as
 * signed 32-bit halves, no bigint. Every load and store compares its address with the region of its base register
 * (`place`), and every read of a register with the set of those that something was written to (`written`, strict programs).
 *
 * Arithmetic takes its second operand from (bl, bh): the immediate, or the source register where bit 3 is set.
 * A run can be left between two instructions and taken up again: all of its state is the machine's.
 */
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { place } from './access.ts';
import { divide32, divide64, mul64 } from './arithmetic.ts';
import { callFunction, type Surroundings, tailCallTarget } from './call.ts';
import { enterFrame, enterLoop, mustWait, nextRound, PAUSE, tick, uninitialised } from './frames.ts';
import { type Machine, OUTCOME, type Outcome, WRITTEN } from './machine.ts';
import type { Decoded } from './program.ts';
import { rare } from './rare.ts';

/**
 * Runs subprogram `index` of `start` with R1..R5 as they are and its stack below `top`, until it exits. The result is R0;
 * R6..R10 are the callee's afterwards. Throws ProgramFault.
 */
export function execute(m: Machine, start: Decoded, index: number, top: number, around: Surroundings): void {
  loop(m, start, enterFrame(m, start, 0, index, top), m.depth, around);
}

/** As `execute`, but leaves when `m.fuel` is used up or a lock must be waited for; `resume` goes on. */
export function begin(m: Machine, start: Decoded, top: number): void {
  m.program = start;
  m.pc = enterFrame(m, start, 0, 0, top);
}

/** Goes on with what `begin` began. */
export function resume(m: Machine, around: Surroundings): Outcome {
  return loop(m, m.program!, m.pc, 0, around);
}

function loop(m: Machine, started: Decoded, at: number, base: number, around: Surroundings): Outcome {
  const { lo, hi, from, upto, memory } = m;
  let program = started;
  let pc = at;
  let { op: ops, dst, src, off, imm, reads, writes } = program;
  let view = memory.view;
  let { written } = m;
  // With an observer the loop calls `tick` before each instruction; m.fuel then counts.
  const observed = m.observer !== null;
  let fuel = observed ? 0 : m.fuel;

  for (;;) {
    if (--fuel < 0) {
      if (!observed) m.fuel = 0;
      fuel = tick(m, program, pc, base);
      if (fuel === PAUSE) {
        m.program = program;
        m.pc = pc;
        m.written = written;
        return OUTCOME.paused;
      }
    }
    if ((reads[pc]! & ~written) !== 0) uninitialised(m, program, pc, reads[pc]! & ~written);
    written |= writes[pc]!;
    const op = ops[pc]!;
    const d = dst[pc]!;
    let bl: number;
    let bh: number;
    if ((op & 8) !== 0) {
      const s = src[pc]!;
      bl = lo[s]!;
      bh = hi[s]!;
    } else {
      bl = imm[pc]!;
      bh = bl >> 31;
    }
    switch (op) {
      // ---- 64-bit arithmetic -----------------------------------------------------------------------------------
      case 0x07: {
        // add, immediate: a pointer stays one
        const low = (lo[d]! + bl) | 0;
        hi[d] = hi[d]! + bh + (low >>> 0 < bl >>> 0 ? 1 : 0);
        lo[d] = low;
        break;
      }
      case 0x0f: {
        // add, register: the sum has the region of whichever is a pointer
        const low = (lo[d]! + bl) | 0;
        hi[d] = hi[d]! + bh + (low >>> 0 < bl >>> 0 ? 1 : 0);
        lo[d] = low;
        if (upto[d] === 0) {
          const s = src[pc]!;
          from[d] = from[s]!;
          upto[d] = upto[s]!;
        }
        break;
      }
      case 0x17:
      case 0x1f: {
        // sub: the distance of two pointers is a number
        const al = lo[d]!;
        hi[d] = hi[d]! - bh - (al >>> 0 < bl >>> 0 ? 1 : 0);
        lo[d] = al - bl;
        if (op === 0x1f && upto[src[pc]!] !== 0) upto[d] = 0;
        break;
      }
      case 0x27:
      case 0x2f: // mul
        mul64(lo, hi, d, lo[d]!, hi[d]!, bl, bh);
        upto[d] = 0;
        break;
      case 0x37:
      case 0x3f: // div
        divide64(lo, hi, d, lo[d]!, hi[d]!, bl, bh, false);
        upto[d] = 0;
        break;
      case 0x97:
      case 0x9f: // mod
        divide64(lo, hi, d, lo[d]!, hi[d]!, bl, bh, true);
        upto[d] = 0;
        break;
      case 0x47:
      case 0x4f: // or
        lo[d] = lo[d]! | bl;
        hi[d] = hi[d]! | bh;
        upto[d] = 0;
        break;
      case 0x57:
      case 0x5f: // and
        lo[d] = lo[d]! & bl;
        hi[d] = hi[d]! & bh;
        upto[d] = 0;
        break;
      case 0xa7:
      case 0xaf: // xor
        lo[d] = lo[d]! ^ bl;
        hi[d] = hi[d]! ^ bh;
        upto[d] = 0;
        break;
      case 0x67:
      case 0x6f: {
        // lsh
        const n = bl & 63;
        const al = lo[d]!;
        if (n >= 32) {
          hi[d] = al << (n - 32);
          lo[d] = 0;
        } else if (n !== 0) {
          hi[d] = (hi[d]! << n) | (al >>> (32 - n));
          lo[d] = al << n;
        }
        upto[d] = 0;
        break;
      }
      case 0x77:
      case 0x7f: {
        // rsh
        const n = bl & 63;
        const ah = hi[d]!;
        if (n >= 32) {
          lo[d] = ah >>> (n - 32);
          hi[d] = 0;
        } else if (n !== 0) {
          lo[d] = (lo[d]! >>> n) | (ah << (32 - n));
          hi[d] = ah >>> n;
        }
        upto[d] = 0;
        break;
      }
      case 0xc7:
      case 0xcf: {
        // arsh
        const n = bl & 63;
        const ah = hi[d]!;
        if (n >= 32) {
          lo[d] = ah >> (n - 32);
          hi[d] = ah >> 31;
        } else if (n !== 0) {
          lo[d] = (lo[d]! >>> n) | (ah << (32 - n));
          hi[d] = ah >> n;
        }
        upto[d] = 0;
        break;
      }
      case 0xb7: // mov, immediate
        lo[d] = bl;
        hi[d] = bh;
        upto[d] = 0;
        break;
      case 0xbf: {
        // mov, register: the region goes with it
        const s = src[pc]!;
        lo[d] = bl;
        hi[d] = bh;
        from[d] = from[s]!;
        upto[d] = upto[s]!;
        break;
      }

      // ---- 32-bit arithmetic: the upper half becomes zero ------------------------------------------------------
      case 0x04:
      case 0x0c: // add
        lo[d] = lo[d]! + bl;
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0x14:
      case 0x1c: // sub
        lo[d] = lo[d]! - bl;
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0x24:
      case 0x2c: // mul
        lo[d] = Math.imul(lo[d]!, bl);
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0x34:
      case 0x3c: // div
        lo[d] = divide32(lo[d]!, bl, false);
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0x94:
      case 0x9c: // mod
        lo[d] = divide32(lo[d]!, bl, true);
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0x44:
      case 0x4c: // or
        lo[d] = lo[d]! | bl;
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0x54:
      case 0x5c: // and
        lo[d] = lo[d]! & bl;
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0xa4:
      case 0xac: // xor
        lo[d] = lo[d]! ^ bl;
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0x64:
      case 0x6c: // lsh
        lo[d] = lo[d]! << (bl & 31);
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0x74:
      case 0x7c: // rsh
        lo[d] = lo[d]! >>> (bl & 31);
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0xc4:
      case 0xcc: // arsh
        lo[d] = lo[d]! >> (bl & 31);
        hi[d] = 0;
        upto[d] = 0;
        break;
      case 0xb4:
      case 0xbc: // mov
        lo[d] = bl;
        hi[d] = 0;
        upto[d] = 0;
        break;

      // ---- loads -----------------------------------------------------------------------------------------------
      case 0x71: {
        const a = place(m, program, pc, 'read', src[pc]!, 1);
        lo[d] = view.getUint8(a);
        hi[d] = 0;
        upto[d] = 0;
        break;
      }
      case 0x69: {
        const a = place(m, program, pc, 'read', src[pc]!, 2);
        lo[d] = view.getUint16(a, true);
        hi[d] = 0;
        upto[d] = 0;
        break;
      }
      case 0x61: {
        const a = place(m, program, pc, 'read', src[pc]!, 4);
        lo[d] = view.getInt32(a, true);
        hi[d] = 0;
        upto[d] = 0;
        break;
      }
      case 0x79: {
        const a = place(m, program, pc, 'read', src[pc]!, 8);
        const high = view.getInt32(a + 4, true);
        lo[d] = view.getInt32(a, true);
        hi[d] = high;
        if (high === KERNEL_HI_SIGNED) m.fill(d, a);
        else upto[d] = 0;
        break;
      }
      case 0x91: {
        const a = place(m, program, pc, 'read', src[pc]!, 1);
        lo[d] = view.getInt8(a);
        hi[d] = lo[d]! >> 31;
        upto[d] = 0;
        break;
      }
      case 0x89: {
        const a = place(m, program, pc, 'read', src[pc]!, 2);
        lo[d] = view.getInt16(a, true);
        hi[d] = lo[d]! >> 31;
        upto[d] = 0;
        break;
      }
      case 0x81: {
        const a = place(m, program, pc, 'read', src[pc]!, 4);
        lo[d] = view.getInt32(a, true);
        hi[d] = lo[d]! >> 31;
        upto[d] = 0;
        break;
      }
      case 0x18: // 64-bit immediate
        lo[d] = imm[pc]!;
        hi[d] = off[pc]!;
        upto[d] = 0;
        pc++;
        break;
      case 0x118: // 64-bit immediate that is a kernel address
        lo[d] = imm[pc]!;
        hi[d] = off[pc]!;
        m.adopt(d, imm[pc]!);
        pc++;
        break;
      case 0x218: {
        // ... in a map's value
        const plan = program.calls[pc]!;
        lo[d] = imm[pc]!;
        hi[d] = off[pc]!;
        if (plan.kind === 'value') {
          from[d] = plan.region.from;
          upto[d] = plan.region.upto;
        }
        pc++;
        break;
      }

      // ---- stores ----------------------------------------------------------------------------------------------
      case 0x72:
      case 0x73: {
        const a = place(m, program, pc, 'write', d, 1);
        view.setInt8(a, op === 0x72 ? imm[pc]! : lo[src[pc]!]!);
        break;
      }
      case 0x6a:
      case 0x6b: {
        const a = place(m, program, pc, 'write', d, 2);
        view.setInt16(a, op === 0x6a ? imm[pc]! : lo[src[pc]!]!, true);
        break;
      }
      case 0x62:
      case 0x63: {
        const a = place(m, program, pc, 'write', d, 4);
        view.setInt32(a, op === 0x62 ? imm[pc]! : lo[src[pc]!]!, true);
        break;
      }
      case 0x7a: {
        const a = place(m, program, pc, 'write', d, 8);
        view.setInt32(a, imm[pc]!, true);
        view.setInt32(a + 4, imm[pc]! >> 31, true);
        break;
      }
      case 0x7b: {
        const s = src[pc]!;
        const a = place(m, program, pc, 'write', d, 8);
        view.setInt32(a, lo[s]!, true);
        view.setInt32(a + 4, hi[s]!, true);
        if (upto[s] !== 0) m.spill(s, a);
        break;
      }

      // ---- jumps: the target is absolute -----------------------------------------------------------------------
      case 0x05:
        pc = off[pc]!;
        continue;
      case 0x15:
      case 0x1d: // ==
        if (lo[d] === bl && hi[d] === bh) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x55:
      case 0x5d: // !=
        if (lo[d] !== bl || hi[d] !== bh) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x45:
      case 0x4d: // &
        if (((lo[d]! & bl) | (hi[d]! & bh)) !== 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x25:
      case 0x2d: // >
        if (hi[d] === bh ? lo[d]! >>> 0 > bl >>> 0 : hi[d]! >>> 0 > bh >>> 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x35:
      case 0x3d: // >=
        if (hi[d] === bh ? lo[d]! >>> 0 >= bl >>> 0 : hi[d]! >>> 0 > bh >>> 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0xa5:
      case 0xad: // <
        if (hi[d] === bh ? lo[d]! >>> 0 < bl >>> 0 : hi[d]! >>> 0 < bh >>> 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0xb5:
      case 0xbd: // <=
        if (hi[d] === bh ? lo[d]! >>> 0 <= bl >>> 0 : hi[d]! >>> 0 < bh >>> 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x65:
      case 0x6d: // s>
        if (hi[d] === bh ? lo[d]! >>> 0 > bl >>> 0 : hi[d]! > bh) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x75:
      case 0x7d: // s>=
        if (hi[d] === bh ? lo[d]! >>> 0 >= bl >>> 0 : hi[d]! > bh) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0xc5:
      case 0xcd: // s<
        if (hi[d] === bh ? lo[d]! >>> 0 < bl >>> 0 : hi[d]! < bh) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0xd5:
      case 0xdd: // s<=
        if (hi[d] === bh ? lo[d]! >>> 0 <= bl >>> 0 : hi[d]! < bh) {
          pc = off[pc]!;
          continue;
        }
        break;

      // ---- jumps on the low halves -----------------------------------------------------------------------------
      case 0x16:
      case 0x1e:
        if (lo[d] === bl) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x56:
      case 0x5e:
        if (lo[d] !== bl) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x46:
      case 0x4e:
        if ((lo[d]! & bl) !== 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x26:
      case 0x2e:
        if (lo[d]! >>> 0 > bl >>> 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x36:
      case 0x3e:
        if (lo[d]! >>> 0 >= bl >>> 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0xa6:
      case 0xae:
        if (lo[d]! >>> 0 < bl >>> 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0xb6:
      case 0xbe:
        if (lo[d]! >>> 0 <= bl >>> 0) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x66:
      case 0x6e:
        if (lo[d]! > bl) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0x76:
      case 0x7e:
        if (lo[d]! >= bl) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0xc6:
      case 0xce:
        if (lo[d]! < bl) {
          pc = off[pc]!;
          continue;
        }
        break;
      case 0xd6:
      case 0xde:
        if (lo[d]! <= bl) {
          pc = off[pc]!;
          continue;
        }
        break;

      // ---- calls -----------------------------------------------------------------------------------------------
      case 0x85: {
        const plan = program.calls[pc]!;
        if (plan.kind === 'function') {
          // A helper may call back into the program, or grow the memory.
          m.pc = pc;
          m.program = program;
          m.written = written;
          if (!observed) m.fuel = fuel;
          if (plan.lock && m.lane !== null && mustWait(m, program, pc)) return OUTCOME.blocked;
          if (plan.loops) {
            const callee = enterLoop(m, program, pc, around);
            if (callee !== null) {
              program = callee;
              ({ op: ops, dst, src, off, imm, reads, writes } = program);
              ({ pc, written } = m);
              continue;
            }
          }
          callFunction(m, program, pc, plan);
          if (!observed) fuel = m.fuel;
          view = memory.view;
          written = (written & ~WRITTEN.callerSaved) | 1;
        } else if (plan.kind === 'subprog') {
          m.written = written;
          m.pushFrame(program, pc + 1);
          pc = enterFrame(m, program, pc, plan.index, from[10]!);
          written = WRITTEN.frame | (written & WRITTEN.callerSaved);
          continue;
        } else if (plan.kind === 'tail_call') {
          const target = tailCallTarget(m, program, pc, plan.map, around);
          written = (written & ~WRITTEN.callerSaved) | 1;
          if (target !== undefined) {
            program = target;
            ({ op: ops, dst, src, off, imm, reads, writes } = program);
            pc = enterFrame(m, program, 0, 0, lo[10]!);
            written = WRITTEN.main;
            continue;
          }
        }
        break;
      }
      case 0x95:
        if (m.depth === base) {
          if (!observed) m.fuel = fuel;
          return OUTCOME.done;
        }
        if (m.frameLoops[m.depth - 1] !== null && nextRound(m)) {
          pc = m.pc;
          written = m.written;
          continue;
        }
        m.popFrame();
        // Functions need not return anything: R0 is as they left it.
        written = (m.written & ~WRITTEN.callerSaved) | (written & 1);
        program = m.framePrograms[m.depth]!;
        pc = m.framePcs[m.depth]!;
        ({ op: ops, dst, src, off, imm, reads, writes } = program);
        continue;

      default:
        rare(m, program, pc);
    }
    pc++;
  }
}
