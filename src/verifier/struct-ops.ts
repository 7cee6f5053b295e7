/** The struct of functions (struct_ops) that a program is a member of, and what that says of it. Kernel 6.18: check_struct_ops_btf_id. */
import type { BtfMember } from '../btf/index.ts';
import { type StructOpsRow, structOpsRow } from '../spec/index.ts';
import type { HelperRow } from '../spec/types.ts';
import type { Env } from './env.ts';

export interface StructOpsMember {
  readonly struct: string;
  readonly member: BtfMember;
  readonly row: StructOpsRow | undefined;
}

/** Undefined where the program is none, or names no member. */
export function structOpsMember(env: Env): StructOpsMember | undefined {
  const { attachBtfId: id = 0, expectedAttachType, progType } = env.request;
  if (env.replaces || progType.name !== 'struct_ops') return undefined;
  const { kernelBtf } = env.request;
  if (kernelBtf === undefined) return undefined;
  const struct = id > 0 && id < kernelBtf.typeCount ? kernelBtf.type(id) : null;
  const member = struct?.kind === 'struct' ? struct.members[expectedAttachType] : undefined;
  if (struct?.kind !== 'struct' || member === undefined) return undefined;
  return { struct: struct.name, member, row: structOpsRow(struct.name) };
}

const FOR_ALL = new Set(['base', 'all']);

/** Whether the verifier operations of the struct give the member's program the helper. */
export function structOpsHelper(env: Env, { name, allowed }: HelperRow): boolean {
  const found = structOpsMember(env);
  if (found?.row === undefined) return true;
  const { helpers, withheld = [] } = found.row;
  if (helpers === null) return false;
  const kept = withheld.some((one) => one.helpers.includes(name) && one.members.includes(found.member.name));
  return !kept && (helpers.includes(name) || allowed.some((group) => FOR_ALL.has(group)));
}
