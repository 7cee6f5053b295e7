/**
 * The loop. One `switch` over operation numbers (opcode bytes of RFC 9669 section 3; see `decode.ts`), registers as
 * signed 32-bit halves, no bigint. Every load and store compares its address with the region of its base register.
 *
 * Arithmetic takes its second operand from (bl, bh): the immediate, or the source register where bit 3 is set.
 */
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { HEAP_START } from '../memory/layout.ts';
import { divide32, divide64, mul64 } from './arithmetic.ts';
import { callFunction, type Surroundings, tailCallTarget } from './call.ts';
import { badAccess, fault, originOf } from './fault.ts';
import { MAX_FRAMES, type Machine } from './machine.ts';
import type { Decoded } from './program.ts';
import { rare } from './rare.ts';

/** Fuel has run out: the limit of the run, or an observer wants to see each instruction. Gives the new fuel. */
function tick(m: Machine, program: Decoded, pc: number): number {
  if (m.observer === null || m.fuel <= 0) {
    return fault(m, program, pc, 'the run was stopped: it has used up its limit of instructions');
  }
  m.fuel--;
  m.observer(
    {
      insn: originOf(program, pc),
      pc,
      program: program.program.name,
      executable: program.program,
      depth: m.depth,
      level: m.level,
      low: m.lo,
      high: m.hi,
    },
    program,
  );
  return 0;
}

function enterFrame(m: Machine, program: Decoded, pc: number, index: number, top: number): number {
  const callee = program.subprogs[index];
  if (callee === undefined) return fault(m, program, pc, `there is no subprogram ${index}`);
  const bottom = top - callee.stackDepth;
  if (bottom < m.stackBottom || m.depth >= MAX_FRAMES - 1) return fault(m, program, pc, 'stack overflow');
  m.setStack(top, bottom);
  return callee.start;
}

/**
 * Runs subprogram `index` of `start` with R1..R5 as they are and its stack below `top`, until it exits. The result is R0;
 * R6..R10 are the callee's afterwards. Throws ProgramFault.
 */
export function execute(m: Machine, start: Decoded, index: number, top: number, around: Surroundings): void {
  const { lo, hi, from, upto, memory } = m;
  const base = m.depth;
  let program = start;
  let pc = enterFrame(m, program, 0, index, top);
  let { op: ops, dst, src, off, imm } = program;
  let view = memory.view;
  // With an observer the loop calls `tick` before each instruction; m.fuel then counts.
  const observed = m.observer !== null;
  let fuel = observed ? 0 : m.fuel;

  for (;;) {
    if (--fuel < 0) {
      if (!observed) m.fuel = 0;
      fuel = tick(m, program, pc);
    }
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
      case 0x87: {
        // neg
        const low = -lo[d]! | 0;
        hi[d] = ~hi[d]! + (low === 0 ? 1 : 0);
        lo[d] = low;
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
      case 0x84: // neg
        lo[d] = -lo[d]!;
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
        const s = src[pc]!;
        const a = (lo[s]! + off[pc]!) | 0;
        if (hi[s] !== KERNEL_HI_SIGNED || a < from[s]! || a + 1 > upto[s]!)
          badAccess(m, program, pc, 'read', s, off[pc]!, 1);
        lo[d] = view.getUint8(a);
        hi[d] = 0;
        upto[d] = 0;
        break;
      }
      case 0x69: {
        const s = src[pc]!;
        const a = (lo[s]! + off[pc]!) | 0;
        if (hi[s] !== KERNEL_HI_SIGNED || a < from[s]! || a + 2 > upto[s]!)
          badAccess(m, program, pc, 'read', s, off[pc]!, 2);
        lo[d] = view.getUint16(a, true);
        hi[d] = 0;
        upto[d] = 0;
        break;
      }
      case 0x61: {
        const s = src[pc]!;
        const a = (lo[s]! + off[pc]!) | 0;
        if (hi[s] !== KERNEL_HI_SIGNED || a < from[s]! || a + 4 > upto[s]!)
          badAccess(m, program, pc, 'read', s, off[pc]!, 4);
        lo[d] = view.getInt32(a, true);
        hi[d] = 0;
        upto[d] = 0;
        break;
      }
      case 0x79: {
        const s = src[pc]!;
        const a = (lo[s]! + off[pc]!) | 0;
        if (hi[s] !== KERNEL_HI_SIGNED || a < from[s]! || a + 8 > upto[s]!)
          badAccess(m, program, pc, 'read', s, off[pc]!, 8);
        const high = view.getInt32(a + 4, true);
        lo[d] = view.getInt32(a, true);
        hi[d] = high;
        if (high === KERNEL_HI_SIGNED) m.fill(d, a);
        else upto[d] = 0;
        break;
      }
      case 0x91: {
        const s = src[pc]!;
        const a = (lo[s]! + off[pc]!) | 0;
        if (hi[s] !== KERNEL_HI_SIGNED || a < from[s]! || a + 1 > upto[s]!)
          badAccess(m, program, pc, 'read', s, off[pc]!, 1);
        lo[d] = view.getInt8(a);
        hi[d] = lo[d]! >> 31;
        upto[d] = 0;
        break;
      }
      case 0x89: {
        const s = src[pc]!;
        const a = (lo[s]! + off[pc]!) | 0;
        if (hi[s] !== KERNEL_HI_SIGNED || a < from[s]! || a + 2 > upto[s]!)
          badAccess(m, program, pc, 'read', s, off[pc]!, 2);
        lo[d] = view.getInt16(a, true);
        hi[d] = lo[d]! >> 31;
        upto[d] = 0;
        break;
      }
      case 0x81: {
        const s = src[pc]!;
        const a = (lo[s]! + off[pc]!) | 0;
        if (hi[s] !== KERNEL_HI_SIGNED || a < from[s]! || a + 4 > upto[s]!)
          badAccess(m, program, pc, 'read', s, off[pc]!, 4);
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

      // ---- stores ----------------------------------------------------------------------------------------------
      case 0x72:
      case 0x73: {
        const a = (lo[d]! + off[pc]!) | 0;
        if (hi[d] !== KERNEL_HI_SIGNED || a < from[d]! || a + 1 > upto[d]!)
          badAccess(m, program, pc, 'write', d, off[pc]!, 1);
        view.setInt8(a, op === 0x72 ? imm[pc]! : lo[src[pc]!]!);
        break;
      }
      case 0x6a:
      case 0x6b: {
        const a = (lo[d]! + off[pc]!) | 0;
        if (hi[d] !== KERNEL_HI_SIGNED || a < from[d]! || a + 2 > upto[d]!)
          badAccess(m, program, pc, 'write', d, off[pc]!, 2);
        view.setInt16(a, op === 0x6a ? imm[pc]! : lo[src[pc]!]!, true);
        break;
      }
      case 0x62:
      case 0x63: {
        const a = (lo[d]! + off[pc]!) | 0;
        if (hi[d] !== KERNEL_HI_SIGNED || a < from[d]! || a + 4 > upto[d]!)
          badAccess(m, program, pc, 'write', d, off[pc]!, 4);
        view.setInt32(a, op === 0x62 ? imm[pc]! : lo[src[pc]!]!, true);
        break;
      }
      case 0x7a: {
        const a = (lo[d]! + off[pc]!) | 0;
        if (hi[d] !== KERNEL_HI_SIGNED || a < from[d]! || a + 8 > upto[d]!)
          badAccess(m, program, pc, 'write', d, off[pc]!, 8);
        view.setInt32(a, imm[pc]!, true);
        view.setInt32(a + 4, imm[pc]! >> 31, true);
        break;
      }
      case 0x7b: {
        const s = src[pc]!;
        const a = (lo[d]! + off[pc]!) | 0;
        if (hi[d] !== KERNEL_HI_SIGNED || a < from[d]! || a + 8 > upto[d]!)
          badAccess(m, program, pc, 'write', d, off[pc]!, 8);
        view.setInt32(a, lo[s]!, true);
        view.setInt32(a + 4, hi[s]!, true);
        if (upto[s] !== 0 && a < HEAP_START) m.spill(s, a);
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
          if (!observed) m.fuel = fuel;
          callFunction(m, program, pc, plan);
          if (!observed) fuel = m.fuel;
          view = memory.view;
        } else if (plan.kind === 'subprog') {
          m.pushFrame(program, pc + 1);
          pc = enterFrame(m, program, pc, plan.index, from[10]!);
          continue;
        } else if (plan.kind === 'tail_call') {
          const target = tailCallTarget(m, program, pc, plan.map, around);
          if (target !== undefined) {
            program = target;
            ({ op: ops, dst, src, off, imm } = program);
            pc = enterFrame(m, program, 0, 0, lo[10]!);
            continue;
          }
        }
        break;
      }
      case 0x95:
        if (m.depth === base) {
          if (!observed) m.fuel = fuel;
          return;
        }
        m.popFrame();
        program = m.framePrograms[m.depth]!;
        pc = m.framePcs[m.depth]!;
        ({ op: ops, dst, src, off, imm } = program);
        continue;

      default:
        rare(m, program, pc);
    }
    pc++;
  }
}
