/** String functions of constants. */
import { constant, type Inst, isConst, signedValue, type Value } from '../ir/index.ts';

/** The bytes from a pointer into a constant to its NUL, without it. */
function constantText(pointer: Value): Uint8Array | undefined {
  let at = pointer;
  let offset = 0;
  while (at.kind === 'inst' && at.op === 'ptradd' && isConst(at.args[1])) {
    offset += Number(signedValue(at.args[1]));
    at = at.args[0]!;
  }
  if (at.kind !== 'global' || !at.readonlyContents || at.init === undefined || at.relocs.length > 0)
    return undefined;
  const end = at.init.indexOf(0, offset);
  return offset < 0 || end < 0 ? undefined : at.init.subarray(offset, end);
}

/** What `strlen`, `strcmp` or `strncmp` gives, where it is known. */
export function stringFunction(inst: Inst): Value | undefined {
  const first = constantText(inst.args[0]!);
  if (first === undefined) return undefined;
  if (inst.name === 'strlen') return constant(inst.type, BigInt(first.length));
  const second = constantText(inst.args[1]!);
  const length = inst.name === 'strncmp' ? inst.args[2] : constant('i64', 0x7fff_ffffn);
  if (second === undefined || length === undefined || !isConst(length)) return undefined;
  const size = Math.min(Number(length.value), Math.max(first.length, second.length));
  for (let i = 0; i < size; i++) {
    const difference = (first[i] ?? 0) - (second[i] ?? 0);
    if (difference !== 0) return constant(inst.type, difference < 0 ? -1n : 1n);
  }
  return constant(inst.type, 0n);
}
