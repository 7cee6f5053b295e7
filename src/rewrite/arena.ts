/** addr_space_cast (LLVM's address spaces; kernel: convert_ctx_accesses and the JITs): between addresses of an arena and of user space. */
import { ALU_OP, CLASS, insnClass, insnOp, MOV_OFF, SOURCE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { Arena } from '../contracts/maps.ts';
import type { ArenaPages } from '../memory/arena-pages.ts';

/** To the arena: the low half is all that counts. */
const TO_ARENA = 1;

export function isAddressCast(insn: Insn): boolean {
  return (
    insnClass(insn.code) === CLASS.ALU64 &&
    insnOp(insn.code) === ALU_OP.MOV &&
    (insn.code & SOURCE.X) !== 0 &&
    insn.off === MOV_OFF.ADDR_SPACE_CAST
  );
}

/** What runs: a move of the low half, or the cast with the upper half that it gives. */
export function castAddress(insn: Insn, arena: Arena): Insn {
  if (insn.imm === TO_ARENA || arena.keepsAddresses)
    return { code: CLASS.ALU | ALU_OP.MOV | SOURCE.X, dst: insn.dst, src: insn.src, off: 0, imm: 0 };
  return { ...insn, imm: arena.userHigh };
}

/** As plain data: it is a part of what code is known by. */
export function pagesOf({ table, pages, first, userHigh }: Arena): ArenaPages {
  return { table, pages, first, userHigh };
}
