/**
 * Functions that only converted classic programs call (net/core/filter.c: the ancillary loads without a field). Their ids lie
 * outside of the UAPI's, so that no loaded program names them; whoever converts hands the rows to the verifier.
 */
import type { HelperRow } from '../types.ts';
import { CTX, helper, INT, u32 } from './row.ts';

export const CLASSIC_HELPER = {
  nlattr: 0x1_0000,
  nlattrNest: 0x1_0001,
  payloadOffset: 0x1_0002,
  hardwareType: 0x1_0003,
} as const;

const ARGS = [CTX, u32('a'), u32('x')];
const ALLOWED = ['socket_filter'];

export const CLASSIC_HELPERS: readonly HelperRow[] = [
  helper(CLASSIC_HELPER.nlattr, 'classic_nlattr', '2.6.26', ALLOWED, INT, ARGS),
  helper(CLASSIC_HELPER.nlattrNest, 'classic_nlattr_nest', '2.6.31', ALLOWED, INT, ARGS),
  helper(CLASSIC_HELPER.payloadOffset, 'classic_payload_offset', '3.13', ALLOWED, INT, ARGS),
  helper(CLASSIC_HELPER.hardwareType, 'classic_hardware_type', '3.1', ALLOWED, INT, ARGS),
];
