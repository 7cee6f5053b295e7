/** Registers that may still be read, before each instruction (kernel: compute_live_registers): classic backward flow. */
import {
  ALU_OP,
  ATOMIC,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  JMP_OP,
  LD_IMM64,
  MODE,
  SOURCE,
} from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import { successors } from './cfg.ts';
import { isHelperCall } from './check-structure.ts';
import type { Env } from './env.ts';
import { helperPrototype } from './helper-table.ts';
import { kfuncOf } from './kfunc/resolve.ts';

const ALL = 0xffff;
const CALLER_SAVED = 0x3f;

/** Registers written and read by one instruction, as masks. */
function defUse(env: Env, insn: Insn): readonly [def: number, use: number] {
  const dst = 1 << insn.dst;
  const src = 1 << insn.src;
  const register = (insn.code & SOURCE.X) !== 0;
  switch (insnClass(insn.code)) {
    case CLASS.LD:
      return insn.code === LD_IMM64 ? [dst, 0] : [0, ALL];
    case CLASS.LDX:
      return [dst, src];
    case CLASS.ST:
      return [0, dst];
    case CLASS.STX:
      if (insnMode(insn.code) !== MODE.ATOMIC) return [0, dst | src];
      if (insn.imm === ATOMIC.CMPXCHG) return [1, 1 | dst | src];
      if (insn.imm === ATOMIC.LOAD_ACQ) return [dst, src];
      if (insn.imm === ATOMIC.STORE_REL) return [0, dst | src];
      return [(insn.imm & ATOMIC.FETCH) !== 0 ? src : 0, dst | src];
    case CLASS.ALU:
    case CLASS.ALU64:
      switch (insnOp(insn.code)) {
        case ALU_OP.END:
          return [dst, dst];
        case ALU_OP.MOV:
          return [dst, register ? src : 0];
        default:
          return [dst, register ? dst | src : dst];
      }
    default:
      switch (insnOp(insn.code)) {
        case JMP_OP.JA:
        case JMP_OP.JCOND:
          return [0, 0];
        case JMP_OP.EXIT:
          return [0, 1];
        case JMP_OP.CALL: {
          const row = isHelperCall(insn) ? helperPrototype(env, insn.imm) : null;
          const kfunc = kfuncOf(env, insn);
          const known = kfunc?.row ? kfunc.proto.params.length : 5;
          const params = row === null ? Math.min(known, 5) : row.args.length;
          return [CALLER_SAVED, ((1 << (params + 1)) - 1) & ~1];
        }
        default:
          return [0, register ? dst | src : dst];
      }
  }
}

export function computeLiveRegisters(env: Env): void {
  const { count, insns, liveRegs, postorder } = env;
  const defs = new Uint16Array(count);
  const uses = new Uint16Array(count);
  insns.forEach((insn, i) => {
    const [def, use] = defUse(env, insn);
    defs[i] = def;
    uses[i] = use;
  });
  const next: number[] = [0, 0];
  for (let changed = true; changed; ) {
    changed = false;
    for (const i of postorder) {
      const n = successors(insns, i, next);
      let out = 0;
      for (let s = 0; s < n; s++) out |= liveRegs[next[s]!] ?? 0;
      const before = (out & ~defs[i]!) | uses[i]!;
      if (before !== liveRegs[i]) {
        liveRegs[i] = before;
        changed = true;
      }
    }
  }
  if (env.logsAll) printLiveRegisters(env);
}

function printLiveRegisters(env: Env): void {
  env.verbose('Live regs before insn:\n');
  for (let i = 0; i < env.count; i++) {
    const scc = env.scc[i]!;
    let text = scc === 0 ? '    ' : `${String(scc).padStart(3)} `;
    text += `${String(i).padStart(3)}: `;
    for (let n = 0; n < 10; n++) text += (env.liveRegs[i]! & (1 << n)) !== 0 ? n : '.';
    env.verbose(`${text} ${env.insnText(i)}\n`);
    if (env.insns[i]!.code === LD_IMM64) i++;
  }
}
