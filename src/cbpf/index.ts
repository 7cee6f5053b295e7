/** Classic BPF: the 1992 machine as Linux has it. Checked, then converted to extended BPF, which both engines run. */
export { ANCILLARY, ANCILLARY_OFFSET, type AncillaryRow, ancillaryAt } from './ancillary.ts';
export { checkClassic } from './check.ts';
export { convertClassic, convertClassicToBytes } from './convert.ts';
export {
  CLASSIC_MAX_INSNS,
  type ClassicInsn,
  type ClassicOp,
  classicCodes,
  classicOp,
  decodeClassic,
  encodeClassic,
} from './instruction.ts';
export { formatClassic, formatClassicInsn, parseClassic } from './text.ts';
