/**
 * Compile once, run everywhere: applies CO-RE relocations of a program to the types of a target BTF
 * (libbpf: bpf_object__relocate_core and relo_core.c give the meaning of every kind).
 *
 * An access that the target does not have poisons its instruction (a call of the impossible helper 0xbad2310), because code that
 * is never reached may have it; `unresolved` describes it, so that a rejected load can say what was missing.
 */
import { CALL, CLASS, JMP_OP, LD_IMM64, SIZE, SOURCE } from '../asm/index.ts';
import type { Insn } from '../contracts.ts';
import { BpfError, joinHalves } from '../util/index.ts';
import type { Btf } from './btf.ts';
import { coreCandidates, matchCoreSpec } from './core-match.ts';
import { type CoreSpec, coreSubject, describeCore, parseCoreSpec } from './core-spec.ts';
import type { BtfCoreRelocation } from './ext.ts';

/** Helper number in poisoned instructions, as libbpf writes it. */
export const CORE_POISON_CALL = 0x0bad2310;

export interface CoreResult {
  /** The instructions with relocations applied; a new array. */
  readonly insns: readonly Insn[];
  /** Accesses that the target does not have. Their instructions are poisoned. */
  readonly unresolved: readonly { readonly insn: number; readonly description: string }[];
}

/** What one side of a relocation is worth; `undefined` where the access does not exist there. */
interface Worth {
  readonly value: bigint;
  /** For byte_off of plain fields: size and type of the field, to adapt loads and stores. */
  readonly field: { readonly size: number; readonly type: number } | undefined;
  /** The instruction must hold the local value before. */
  readonly validate: boolean;
}

function bad(what: string): BpfError {
  return new BpfError('EINVAL', what);
}

function typeWorth(kind: BtfCoreRelocation['kind'], spec: CoreSpec | undefined): Worth | undefined {
  const plain = (value: number, validate = true): Worth => ({
    value: BigInt(value),
    field: undefined,
    validate,
  });
  if (spec === undefined) {
    return kind === 'type_exists' ||
      kind === 'type_matches' ||
      kind === 'type_size' ||
      kind === 'target_type_id'
      ? plain(0)
      : undefined;
  }
  switch (kind) {
    case 'type_exists':
    case 'type_matches':
      return plain(1);
    case 'type_size':
      return plain(spec.btf.sizeOf(spec.root));
    default:
      // Type ids of the compiler are those before the BTF was linked.
      return plain(spec.root, false);
  }
}

function enumWorth(kind: BtfCoreRelocation['kind'], spec: CoreSpec | undefined): Worth | undefined {
  if (kind === 'enumval_exists')
    return { value: spec === undefined ? 0n : 1n, field: undefined, validate: true };
  if (spec === undefined) return undefined;
  const accessor = spec.accessors[0]!;
  const type = spec.btf.type(accessor.type);
  if (type.kind !== 'enum' && type.kind !== 'enum64') return undefined;
  return { value: type.values[accessor.index]!.value, field: undefined, validate: true };
}

function fieldWorth(kind: BtfCoreRelocation['kind'], spec: CoreSpec | undefined): Worth | undefined {
  const plain = (value: number, validate = true): Worth => ({
    value: BigInt(value),
    field: undefined,
    validate,
  });
  if (kind === 'field_exists') return plain(spec === undefined ? 0 : 1);
  if (spec === undefined) return undefined;
  const { btf } = spec;
  const last = spec.accessors.at(-1)!;
  if (last.name === undefined) {
    // An array element: only place and size make sense.
    if (kind === 'byte_sz') return plain(btf.sizeOf(last.type));
    if (kind !== 'byte_off') throw bad(`CO-RE relocation ${kind} of an array element`);
    return {
      value: BigInt(spec.bitOffset / 8),
      field: { size: btf.sizeOf(last.type), type: last.type },
      validate: true,
    };
  }
  const parent = btf.type(last.type);
  if (parent.kind !== 'struct' && parent.kind !== 'union')
    throw bad(`CO-RE relocation into a ${parent.kind}`);
  const member = parent.members[last.index]!;
  const type = btf.resolved(member.type);
  const bitfield = btf.bitfieldSize(member);
  let byteSize: number;
  let byteOffset: number;
  let bits = bitfield;
  if (bitfield > 0) {
    byteSize = btf.sizeOf(member.type);
    if (byteSize === 0) throw bad(`BTF type id ${member.type}: a bit-field of 0 bytes`);
    const place = (): number => Math.floor(spec.bitOffset / 8 / byteSize) * byteSize;
    byteOffset = place();
    while (spec.bitOffset + bits - byteOffset * 8 > byteSize * 8) {
      if (byteSize >= 8)
        throw new BpfError('E2BIG', `BTF type id ${last.type}: bit-field '${last.name}' spans 8 bytes`);
      byteSize *= 2;
      byteOffset = place();
    }
  } else {
    byteSize = btf.sizeOf(member.type);
    byteOffset = Math.floor(spec.bitOffset / 8);
    bits = byteSize * 8;
  }
  // The compiler may have chosen another window for a bit-field than libbpf does.
  const validate = bitfield === 0;
  switch (kind) {
    case 'byte_off':
      return {
        value: BigInt(byteOffset),
        field: bitfield > 0 ? undefined : { size: byteSize, type: member.type },
        validate,
      };
    case 'byte_sz':
      return plain(byteSize, validate);
    case 'signed': {
      const signed = (type.kind === 'int' || type.kind === 'enum' || type.kind === 'enum64') && type.signed;
      return plain(Number(signed));
    }
    case 'lshift_u64':
      return plain(
        btf.littleEndian
          ? 64 - (spec.bitOffset + bits - byteOffset * 8)
          : (8 - byteSize) * 8 + (spec.bitOffset - byteOffset * 8),
        validate,
      );
    case 'rshift_u64':
      return plain(64 - bits, validate);
    default:
      throw bad(`CO-RE relocation ${kind} of a field`);
  }
}

function worth(kind: BtfCoreRelocation['kind'], spec: CoreSpec | undefined): Worth | undefined {
  const subject = coreSubject(kind);
  if (subject === 'type') return typeWorth(kind, spec);
  return subject === 'enum' ? enumWorth(kind, spec) : fieldWorth(kind, spec);
}

/** Loads and stores may change their width only for pointers and unsigned integers: those extend with zeros. */
function mayResize(local: Btf, localType: number, target: Btf, targetType: number): boolean {
  const a = local.resolved(localType);
  const b = target.resolved(targetType);
  if (a.kind === 'ptr' && b.kind === 'ptr') return true;
  return a.kind === 'int' && b.kind === 'int' && !a.signed && !b.signed;
}

const SIZE_CODES: ReadonlyMap<number, number> = new Map([
  [1, SIZE.B],
  [2, SIZE.H],
  [4, SIZE.W],
  [8, SIZE.DW],
]);

function sizeBytes(code: number): number {
  for (const [bytes, bits] of SIZE_CODES) if ((code & 0x18) === bits) return bytes;
  return 0;
}

function poison(insns: Insn[], at: number): void {
  const wide = insns[at]!.code === LD_IMM64;
  for (const index of wide ? [at, at + 1] : [at]) {
    insns[index] = {
      code: CLASS.JMP | JMP_OP.CALL,
      dst: 0,
      src: CALL.HELPER,
      off: 0,
      imm: CORE_POISON_CALL,
    };
  }
}

interface Patch {
  readonly before: Worth;
  readonly after: Worth;
  /** Undefined: the width of a load or store stays. */
  readonly resize: 'allowed' | 'forbidden' | undefined;
  readonly what: string;
}

/** Writes the value into the instruction. False where it cannot be done safely and the instruction has to be poisoned. */
function apply(insns: Insn[], at: number, patch: Patch): boolean {
  const insn = insns[at]!;
  const { before, after, what } = patch;
  const expected = Number(BigInt.asIntN(32, before.value));
  const value = Number(BigInt.asIntN(32, after.value));
  const check = (actual: number, wanted: number): void => {
    if (before.validate && actual !== wanted)
      throw bad(`${what}: the instruction holds ${actual}, expected ${wanted}`);
  };
  switch (insn.code & 7) {
    case CLASS.ALU:
    case CLASS.ALU64:
      if ((insn.code & 8) !== SOURCE.K) throw bad(`${what}: the instruction takes a register`);
      check(insn.imm, expected);
      insn.imm = value;
      return true;
    case CLASS.LDX:
    case CLASS.ST:
    case CLASS.STX: {
      check(insn.off, expected);
      if (after.value > 32767n || after.value < 0n) {
        throw new BpfError('ERANGE', `${what}: offset ${after.value} does not fit in an instruction`);
      }
      if (patch.resize === 'forbidden') return false;
      insn.off = value;
      const size = after.field?.size;
      if (patch.resize === 'allowed' && size !== undefined) {
        if (sizeBytes(insn.code) !== before.field?.size) {
          throw bad(
            `${what}: the instruction accesses ${sizeBytes(insn.code)} bytes, the field has ${before.field?.size}`,
          );
        }
        const code = SIZE_CODES.get(size);
        if (code === undefined) throw bad(`${what}: a field of ${size} bytes cannot be accessed at once`);
        insn.code = (insn.code & ~0x18) | code;
      }
      return true;
    }
    case CLASS.LD: {
      const second = insns[at + 1];
      if (insn.code !== LD_IMM64 || insn.src !== 0 || second === undefined) break;
      const held = joinHalves(insn.imm, second.imm);
      if (before.validate && held !== BigInt.asUintN(64, before.value)) {
        throw bad(`${what}: the instruction holds ${held}, expected ${before.value}`);
      }
      insn.imm = value;
      second.imm = Number(BigInt.asIntN(32, after.value >> 32n));
      return true;
    }
    default:
      break;
  }
  throw bad(`${what}: opcode 0x${insn.code.toString(16)} cannot be relocated`);
}

interface Targets {
  readonly main: Btf;
  /** Split BTF that continues `main`, asked for only where `main` has no candidate. */
  readonly modules: () => readonly Btf[];
}

function candidates(local: Btf, id: number, { main, modules }: Targets): [Btf, number][] {
  const own = coreCandidates(local, id, main).map((one): [Btf, number] => [main, one]);
  if (own.length > 0) return own;
  return modules().flatMap((module) =>
    coreCandidates(local, id, module)
      .filter((one) => one >= module.firstId)
      .map((one): [Btf, number] => [module, one]),
  );
}

/** The one meaning that all candidates of the target agree on. */
function resolveTarget(
  local: CoreSpec,
  relocation: BtfCoreRelocation,
  targets: Targets,
  what: string,
): { spec: CoreSpec | undefined; worth: Worth | undefined } {
  let chosen: { spec: CoreSpec; worth: Worth | undefined } | undefined;
  for (const [target, candidate] of candidates(local.btf, relocation.type, targets)) {
    const spec = matchCoreSpec(local, relocation.kind, target, candidate);
    if (spec === undefined) continue;
    const found = worth(relocation.kind, spec);
    if (chosen === undefined) {
      chosen = { spec, worth: found };
    } else if (chosen.spec.bitOffset !== spec.bitOffset || chosen.worth?.value !== found?.value) {
      throw bad(`${what}: ambiguous, type ids ${chosen.spec.root} and ${candidate} of the target differ`);
    }
  }
  return chosen ?? { spec: undefined, worth: worth(relocation.kind, undefined) };
}

/**
 * Applies `relocations` (instruction indexes of `insns`), whose types are those of `local`, to the types of `target`, or of `modules`
 * for what `target` does not have.
 * Errors: EINVAL for a malformed or ambiguous relocation, ERANGE for an offset beyond an instruction.
 */
export function relocateCore(
  insns: readonly Insn[],
  relocations: readonly BtfCoreRelocation[],
  local: Btf,
  target: Btf,
  modules: () => readonly Btf[] = () => [],
): CoreResult {
  const result = insns.map((insn) => ({ ...insn }));
  const unresolved: { insn: number; description: string }[] = [];
  for (const relocation of relocations) {
    const description = describeCore(local, relocation);
    const what = `CO-RE relocation ${description} at instruction ${relocation.insn}`;
    const at = relocation.insn;
    const insn = result[at];
    if (insn === undefined || (insn.code === LD_IMM64 && result[at + 1] === undefined)) {
      throw bad(`${what}: the program has ${result.length} instructions`);
    }
    const spec = parseCoreSpec(local, relocation);
    const before = worth(relocation.kind, spec);
    if (relocation.kind === 'local_type_id') {
      if (before !== undefined) apply(result, at, { before, after: before, resize: undefined, what });
      continue;
    }
    const found = resolveTarget(spec, relocation, { main: target, modules }, what);
    const after = found.worth;
    if (before === undefined || after === undefined) {
      poison(result, at);
      unresolved.push({ insn: at, description });
      continue;
    }
    let resize: Patch['resize'];
    if (before.field !== undefined && after.field !== undefined && before.field.size !== after.field.size) {
      resize = mayResize(local, before.field.type, found.spec?.btf ?? target, after.field.type)
        ? 'allowed'
        : 'forbidden';
    }
    // An existence that is false was written as true by the compiler: what it holds is the local value.
    if (!apply(result, at, { before, after, resize, what })) {
      poison(result, at);
      unresolved.push({ insn: at, description: `${description}: a signed field changed its size` });
    }
  }
  return { insns: result, unresolved };
}
