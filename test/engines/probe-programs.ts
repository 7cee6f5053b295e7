/** Loads through pointers that lead nowhere, by bpf_rdonly_cast, at random: the same seed gives the same program. */
import * as asm from '../../src/asm/index.ts';
import { parseBtf } from '../../src/btf/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { Kernel } from '../../src/contracts/kernel.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { randomSource } from './random-programs.ts';

const { R0, R1, R2, R6, R7 } = asm;

/** NULL, small numbers, user space, addresses that are none, error pointers, the last bytes. */
export const NOWHERE: readonly bigint[] = [
  0n,
  1n,
  0xfffn,
  0x7f00_1234_5000n,
  0x7fff_ffff_e000n,
  0x0001_0000_0000_0000n,
  0x8000_0000_0000_0000n,
  0xdead_4ead_0000_0000n,
  -4095n,
  -4096n,
  -200n,
];

const SIZES = ['b', 'h', 'w', 'dw'] as const;

/** What each load reads goes into R0 by a hash; 1 as often as there are loads where each reads 0. */
function probeProgram(seed: number, cast: number): Insn[] {
  const next = randomSource(seed);
  const insns: Insn[] = [asm.mov64Imm(R7, 1)];
  for (let i = 0; i < 6; i++) {
    const address = NOWHERE[next() % NOWHERE.length]!;
    insns.push(
      ...asm.ldImm64(R1, BigInt.asUintN(64, address)),
      asm.mov64Imm(R2, 0),
      { code: 0x85, dst: 0, src: 2, off: 0, imm: cast },
      asm.mov64Reg(R6, R0),
    );
    for (let k = next() % 3; k >= 0; k--) {
      const load = asm.ldx(SIZES[next() % 4]!, R2, R6, (next() % 128) - 64);
      // Mode MEMSX, which there is for up to 4 bytes.
      const signed = next() % 3 === 0 && (load.code & 0x18) !== 0x18;
      insns.push(signed ? { ...load, code: (load.code & 0x1f) | 0x80 } : load);
      insns.push(asm.alu64Imm('mul', R7, 31), asm.alu64Reg('add', R7, R2));
    }
  }
  return [...insns, asm.mov64Reg(R0, R7), asm.exit()];
}

/** Powers of 31, low half: what a run must give. */
export function expectedOf(seed: number): number {
  const loads = probeProgram(seed, 0).filter(({ code }) => (code & 7) === 1).length;
  let value = 1;
  for (let i = 0; i < loads; i++) value = Math.imul(value, 31) >>> 0;
  return value;
}

export function runProbes(kernel: Kernel, seed: number, types = parseBtf(kernel.kernelBtf()!)): number {
  const cast = types.find('bpf_rdonly_cast', 'func')!;
  const progFd = kernel.progLoad({
    progType: progTypeByName('xdp')!.id,
    insns: asm.encodeProgram(probeProgram(seed, cast)),
    license: 'GPL',
  });
  try {
    return kernel.progTestRun({ progFd, dataIn: new Uint8Array(64) }).retval;
  } finally {
    kernel.close(progFd);
  }
}
