/**
 * What a run has to show for each kind of refusal: the program really does what the verifier feared. Where the interpreter itself
 * stops the run (an access outside of its object, a register that nothing was written to) nothing more is needed.
 */
import { accessBytes, CLASS, insnClass } from '../../asm/index.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { RefusalKind, RefusalReason } from '../../contracts/refusal.ts';
import type { InsnEvent } from '../../interpreter/index.ts';
import { KERNEL_HI_SIGNED } from '../../memory/index.ts';

/** What can be asked at the instruction that was refused, before it runs. */
export interface Moment {
  readonly event: InsnEvent;
  readonly insn: Insn;
  readonly reason: RefusalReason;
  /** Edges of the packet in the linear memory; undefined where there is none. */
  readonly packet: { readonly start: number; readonly length: number } | undefined;
  /** What was acquired at the reason's instruction and not released since. */
  readonly held: number;
  /** Whether a byte of the stack holds what lay there before the run. */
  readonly untouched: (offset: number) => boolean;
}

/** A sentence where it goes wrong, null where it does not. */
type Judge = (m: Moment) => string | null;

function value(event: InsnEvent, register: number): bigint {
  return (BigInt(event.high[register]!) << 32n) | BigInt(event.low[register]! >>> 0);
}

/** The register with the address, its distance, and the bytes that are accessed. */
function operand({ insn, reason, event }: Moment): { register: number; off: number; size: number } {
  if (reason.argument !== undefined) {
    const register = reason.argument;
    return { register, off: 0, size: reason.size ?? event.low[register + 1] ?? 0 };
  }
  const load = insnClass(insn.code) === CLASS.LDX;
  return { register: load ? insn.src : insn.dst, off: insn.off, size: accessBytes(insn.code) };
}

function bytes(n: number): string {
  return n === 1 ? '1 byte' : `${n} bytes`;
}

function verb({ insn, reason }: Moment): string {
  if (reason.argument !== undefined) return 'passes';
  return insnClass(insn.code) === CLASS.LDX ? 'reads' : 'writes';
}

const packetBounds: Judge = (m) => {
  const { packet, event } = m;
  const { register, off, size } = operand(m);
  if (packet === undefined || event.high[register] !== KERNEL_HI_SIGNED) return null;
  const at = event.low[register]! + off - packet.start;
  if (at < 0)
    return `instruction ${event.insn} ${verb(m)} ${bytes(size)} that start ${bytes(-at)} before data`;
  const beyond = at + size - packet.length;
  if (beyond <= 0) return null;
  return `instruction ${event.insn} ${verb(m)} ${bytes(Math.min(size, beyond))} past data_end (offset ${at} of a packet of ${bytes(packet.length)})`;
};

const isNull: Judge = (m) => {
  const register = m.reason.register ?? operand(m).register;
  if (m.event.low[register] !== 0 || m.event.high[register] !== 0) return null;
  return `R${register} is NULL at instruction ${m.event.insn}`;
};

const uninitialised: Judge = (m) => {
  const { register, off, size } = operand(m);
  const start = m.event.low[register]! + off;
  for (let i = 0; i < Math.min(size, 512); i++) {
    if (m.untouched(start + i))
      return `instruction ${m.event.insn} ${m.reason.argument === undefined ? 'reads' : 'passes'} byte ${i} of ${bytes(size)} on the stack, and nothing was written there: it is what an earlier program left`;
  }
  return null;
};

const returnRange: Judge = ({ event, reason }) => {
  const r0 = event.low[0]!;
  const { min, max } = reason;
  if (min === undefined || max === undefined || (r0 >= min && r0 <= max)) return null;
  return `the program returns ${r0}`;
};

const leak: Judge = ({ event, held, reason }) =>
  held === 0
    ? null
    : `the program ends at instruction ${event.insn} while it holds what instruction ${reason.insn} acquired`;

const misaligned: Judge = (m) => {
  const { register, off, size } = operand(m);
  const address = value(m.event, register) + BigInt(off);
  if (size === 0 || address % BigInt(size) === 0n) return null;
  return `instruction ${m.event.insn} accesses ${bytes(size)} at ${hex(address)}`;
};

const address: Judge = ({ event, reason }) => {
  const register = reason.register ?? 0;
  if (event.high[register] !== KERNEL_HI_SIGNED) return null;
  return `the kernel address ${hex(value(event, register))} gets into ${reason.detail === 'map' ? 'a map' : (reason.detail ?? 'the result')} at instruction ${event.insn}`;
};

const zeroSize: Judge = ({ event, reason }) => {
  const register = reason.register ?? 0;
  return event.low[register] === 0 && event.high[register] === 0
    ? `R${register}, the size, is 0 at instruction ${event.insn}`
    : null;
};

const negative: Judge = ({ event, reason }) => {
  const size = value(event, reason.register ?? 0);
  return size < 0n ? `R${reason.register}, the size, is ${size} at instruction ${event.insn}` : null;
};

const deadlock: Judge = ({ event }) => `instruction ${event.insn} takes a lock while one is held`;

function hex(n: bigint): string {
  return `0x${BigInt.asUintN(64, n).toString(16)}`;
}

/** The interpreter's own report is enough. */
const faults: Judge = () => null;

/** Kinds that a run can show; for the others there is nothing to search. */
export const JUDGES: Readonly<Partial<Record<RefusalKind, Judge>>> = {
  packet_bounds: packetBounds,
  null_pointer: isNull,
  pointer_null_arithmetic: isNull,
  argument_null: isNull,
  register_unwritten: faults,
  not_a_pointer: faults,
  negative_offset: (m) => (m.reason.region === 'packet' || m.packet !== undefined ? packetOnly(m) : null),
  unbounded_offset: faults,
  region_bounds: faults,
  variable_offset: faults,
  stack_bounds: faults,
  stack_unbounded: faults,
  stack_uninitialised: uninitialised,
  return_range: returnRange,
  return_pointer: address,
  reference_leak: leak,
  misaligned,
  pointer_leak: address,
  argument_negative_size: negative,
  argument_unbounded_size: faults,
  argument_zero_size: zeroSize,
  stack_zero_size: zeroSize,
  lock_twice: deadlock,
  endless_loop: faults,
  back_edge: faults,
};

/** Kinds for which a run that does not end is the proof. */
export const ENDLESS: ReadonlySet<RefusalKind> = new Set(['endless_loop', 'back_edge']);

/** Packet bounds, for pointers that lie near the packet. */
function packetOnly(m: Moment): string | null {
  const { packet, event } = m;
  const { register, off } = operand(m);
  if (packet === undefined) return null;
  const at = event.low[register]! + off - packet.start;
  return at > -0x1_0000 && at < 0x1_0000 + packet.length ? packetBounds(m) : null;
}
