/** 64-bit immediates (numbers, maps, values, functions) and the legacy packet loads. Kernel 6.18: check_ld_imm, check_ld_abs. */
import { insnMode, insnSize, LD_IMM64, MODE, PSEUDO, SIZE } from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import { joinHalves } from '../../util/u64.ts';
import { constant } from '../domain/index.ts';
import type { Env } from '../env.ts';
import type { Explored } from '../explored.ts';
import { checkResourceLeak } from '../references.ts';
import {
  CONST_PTR_TO_MAP,
  PTR_TO_CTX,
  PTR_TO_FUNC,
  PTR_TO_MAP_VALUE,
  pointerReg,
  scalarReg,
  UNKNOWN_REG,
  ZERO_REG,
} from '../registers.ts';
import { returnToCaller } from './call.ts';
import { checkUnmodified } from './pointer-checks.ts';

export function checkLdImm(env: Env, insn: Insn): void {
  if (insn.code !== LD_IMM64) env.fail('EINVAL', 'invalid BPF_LD_IMM insn', { kind: 'encoding' });
  if (insn.off !== 0) env.fail('EINVAL', 'BPF_LD_IMM64 uses reserved fields', { kind: 'encoding' });
  env.checkWritable(insn.dst);
  const { dst } = insn;
  if (insn.src === PSEUDO.NONE) {
    env.setReg(dst, scalarReg(constant(joinHalves(insn.imm, env.insns[env.insn + 1]!.imm))));
    return;
  }
  if (insn.src === PSEUDO.BTF_ID) {
    env.setReg(dst, env.symbols.get(env.insn)!);
    return;
  }
  if (insn.src === PSEUDO.FUNC) {
    const index = env.subprogStartingAt(env.insn + insn.imm + 1);
    const subprog = env.subprogs[index]!;
    if (subprog.typeId === 0)
      env.fail('EINVAL', 'missing btf func_info', { kind: 'callback', detail: 'no types' });
    if (subprog.linkage !== 'static')
      env.fail('EINVAL', 'callback function not static', {
        kind: 'callback',
        function: subprog.name,
        detail: 'not static',
      });
    env.factsOf(env.insn).subprog = index;
    env.setReg(dst, pointerReg(PTR_TO_FUNC, { raw: index }));
    return;
  }
  const map = env.mapOf[env.insn]!;
  if (insn.src === PSEUDO.MAP_VALUE || insn.src === PSEUDO.MAP_IDX_VALUE) {
    // Addresses in an arena are numbers until they are cast.
    if (map.valueSize === 0) env.setReg(dst, UNKNOWN_REG);
    else env.setReg(dst, pointerReg(PTR_TO_MAP_VALUE, { map, off: env.insns[env.insn + 1]!.imm >>> 0 }));
    return;
  }
  env.setReg(dst, pointerReg(CONST_PTR_TO_MAP, { map }));
}

/** The implicit context of BPF_LD_ABS and BPF_LD_IND. */
const CTX_REG = 6;

/**
 * A legacy packet load. Outside of the packet it ends the function with R0 = 0: in a called function that is a return to
 * the caller, and `env.insn` is left at the instruction before the one to go on with.
 */
export function checkLdAbs(env: Env, explored: Explored, insn: Insn): void {
  if (!env.request.progType.legacyPacketLoads) {
    env.fail('EINVAL', 'BPF_LD_[ABS|IND] instructions not allowed for this program type', {
      kind: 'packet_load',
      detail: 'program type',
    });
  }
  const mode = insnMode(insn.code);
  if (
    insn.dst !== 0 ||
    insn.off !== 0 ||
    insnSize(insn.code) === SIZE.DW ||
    (mode === MODE.ABS && insn.src !== 0)
  ) {
    env.fail('EINVAL', 'BPF_LD_[ABS|IND] uses reserved fields', { kind: 'encoding' });
  }
  env.readReg(CTX_REG);
  // The load may end the program.
  checkResourceLeak(env, true, 'BPF_LD_[ABS|IND]');
  if (env.reg(CTX_REG).type !== PTR_TO_CTX) {
    env.fail('EINVAL', 'at the time of BPF_LD_ABS|IND R6 != pointer to skb', {
      kind: 'packet_load',
      register: 6,
      detail: 'R6',
    });
  }
  if (mode === MODE.IND) env.readReg(insn.src);
  checkUnmodified(env, env.reg(CTX_REG), CTX_REG, false);
  env.clobberCallerSaved();
  env.setReg(0, UNKNOWN_REG);
  if (env.cur.curframe === 0) return;
  env.pushPath(env.insn + 1, env.insn, false);
  env.setReg(0, ZERO_REG);
  returnToCaller(env, explored);
  env.insn--;
}
