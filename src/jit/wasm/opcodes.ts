/**
 * The WebAssembly instructions that the JIT uses (WebAssembly core specification 2.0 section 5.4, tail-call and threads
 * proposals). One table: the writer takes the code, the printer the text and the shape of the immediates.
 * Invariant: `code` is the opcode byte, or `prefix << 8 | second byte` for the two-byte forms.
 */

/** What follows an opcode: nothing, an index, a memory argument, … */
export type Immediate =
  | 'none'
  | 'blocktype'
  | 'label'
  | 'labels'
  | 'local'
  | 'global'
  | 'func'
  | 'indirect'
  | 'mem'
  | 'memory'
  | 'i32'
  | 'i64'
  | 'lane'
  | 'zero';

export interface WasmOp {
  readonly code: number;
  readonly text: string;
  readonly imm: Immediate;
}

/** Name → [code, text, immediates]. */
const TABLE = {
  unreachable: [0x00, 'unreachable', 'none'],
  nop: [0x01, 'nop', 'none'],
  block: [0x02, 'block', 'blocktype'],
  loop: [0x03, 'loop', 'blocktype'],
  if: [0x04, 'if', 'blocktype'],
  else: [0x05, 'else', 'none'],
  end: [0x0b, 'end', 'none'],
  br: [0x0c, 'br', 'label'],
  brIf: [0x0d, 'br_if', 'label'],
  brTable: [0x0e, 'br_table', 'labels'],
  return: [0x0f, 'return', 'none'],
  call: [0x10, 'call', 'func'],
  callIndirect: [0x11, 'call_indirect', 'indirect'],
  returnCall: [0x12, 'return_call', 'func'],
  returnCallIndirect: [0x13, 'return_call_indirect', 'indirect'],
  drop: [0x1a, 'drop', 'none'],
  select: [0x1b, 'select', 'none'],
  localGet: [0x20, 'local.get', 'local'],
  localSet: [0x21, 'local.set', 'local'],
  localTee: [0x22, 'local.tee', 'local'],
  globalGet: [0x23, 'global.get', 'global'],
  globalSet: [0x24, 'global.set', 'global'],

  i32Load: [0x28, 'i32.load', 'mem'],
  i64Load: [0x29, 'i64.load', 'mem'],
  i32Load8S: [0x2c, 'i32.load8_s', 'mem'],
  i32Load8U: [0x2d, 'i32.load8_u', 'mem'],
  i32Load16S: [0x2e, 'i32.load16_s', 'mem'],
  i32Load16U: [0x2f, 'i32.load16_u', 'mem'],
  i64Load8S: [0x30, 'i64.load8_s', 'mem'],
  i64Load8U: [0x31, 'i64.load8_u', 'mem'],
  i64Load16S: [0x32, 'i64.load16_s', 'mem'],
  i64Load16U: [0x33, 'i64.load16_u', 'mem'],
  i64Load32S: [0x34, 'i64.load32_s', 'mem'],
  i64Load32U: [0x35, 'i64.load32_u', 'mem'],
  i32Store: [0x36, 'i32.store', 'mem'],
  i64Store: [0x37, 'i64.store', 'mem'],
  i32Store8: [0x3a, 'i32.store8', 'mem'],
  i32Store16: [0x3b, 'i32.store16', 'mem'],
  i64Store8: [0x3c, 'i64.store8', 'mem'],
  i64Store16: [0x3d, 'i64.store16', 'mem'],
  i64Store32: [0x3e, 'i64.store32', 'mem'],
  memorySize: [0x3f, 'memory.size', 'memory'],

  i32Const: [0x41, 'i32.const', 'i32'],
  i64Const: [0x42, 'i64.const', 'i64'],
  i32Eqz: [0x45, 'i32.eqz', 'none'],
  i32Eq: [0x46, 'i32.eq', 'none'],
  i32Ne: [0x47, 'i32.ne', 'none'],
  i32LtS: [0x48, 'i32.lt_s', 'none'],
  i32LtU: [0x49, 'i32.lt_u', 'none'],
  i32GtS: [0x4a, 'i32.gt_s', 'none'],
  i32GtU: [0x4b, 'i32.gt_u', 'none'],
  i32LeS: [0x4c, 'i32.le_s', 'none'],
  i32LeU: [0x4d, 'i32.le_u', 'none'],
  i32GeS: [0x4e, 'i32.ge_s', 'none'],
  i32GeU: [0x4f, 'i32.ge_u', 'none'],
  i64Eqz: [0x50, 'i64.eqz', 'none'],
  i64Eq: [0x51, 'i64.eq', 'none'],
  i64Ne: [0x52, 'i64.ne', 'none'],
  i64LtS: [0x53, 'i64.lt_s', 'none'],
  i64LtU: [0x54, 'i64.lt_u', 'none'],
  i64GtS: [0x55, 'i64.gt_s', 'none'],
  i64GtU: [0x56, 'i64.gt_u', 'none'],
  i64LeS: [0x57, 'i64.le_s', 'none'],
  i64LeU: [0x58, 'i64.le_u', 'none'],
  i64GeS: [0x59, 'i64.ge_s', 'none'],
  i64GeU: [0x5a, 'i64.ge_u', 'none'],
  i32Add: [0x6a, 'i32.add', 'none'],
  i32Sub: [0x6b, 'i32.sub', 'none'],
  i32Mul: [0x6c, 'i32.mul', 'none'],
  i32DivS: [0x6d, 'i32.div_s', 'none'],
  i32DivU: [0x6e, 'i32.div_u', 'none'],
  i32RemS: [0x6f, 'i32.rem_s', 'none'],
  i32RemU: [0x70, 'i32.rem_u', 'none'],
  i32And: [0x71, 'i32.and', 'none'],
  i32Or: [0x72, 'i32.or', 'none'],
  i32Xor: [0x73, 'i32.xor', 'none'],
  i32Shl: [0x74, 'i32.shl', 'none'],
  i32ShrS: [0x75, 'i32.shr_s', 'none'],
  i32ShrU: [0x76, 'i32.shr_u', 'none'],
  i32Rotl: [0x77, 'i32.rotl', 'none'],
  i32Rotr: [0x78, 'i32.rotr', 'none'],
  i64Add: [0x7c, 'i64.add', 'none'],
  i64Sub: [0x7d, 'i64.sub', 'none'],
  i64Mul: [0x7e, 'i64.mul', 'none'],
  i64DivS: [0x7f, 'i64.div_s', 'none'],
  i64DivU: [0x80, 'i64.div_u', 'none'],
  i64RemS: [0x81, 'i64.rem_s', 'none'],
  i64RemU: [0x82, 'i64.rem_u', 'none'],
  i64And: [0x83, 'i64.and', 'none'],
  i64Or: [0x84, 'i64.or', 'none'],
  i64Xor: [0x85, 'i64.xor', 'none'],
  i64Shl: [0x86, 'i64.shl', 'none'],
  i64ShrS: [0x87, 'i64.shr_s', 'none'],
  i64ShrU: [0x88, 'i64.shr_u', 'none'],
  i64Rotl: [0x89, 'i64.rotl', 'none'],
  i32WrapI64: [0xa7, 'i32.wrap_i64', 'none'],
  i64ExtendI32S: [0xac, 'i64.extend_i32_s', 'none'],
  i64ExtendI32U: [0xad, 'i64.extend_i32_u', 'none'],
  i32Extend8S: [0xc0, 'i32.extend8_s', 'none'],
  i32Extend16S: [0xc1, 'i32.extend16_s', 'none'],
  i64Extend8S: [0xc2, 'i64.extend8_s', 'none'],
  i64Extend16S: [0xc3, 'i64.extend16_s', 'none'],
  i64Extend32S: [0xc4, 'i64.extend32_s', 'none'],

  // Vectors: the opcode behind the prefix has one byte or two.
  v128Load: [0xfd00, 'v128.load', 'mem'],
  v128Store: [0xfd0b, 'v128.store', 'mem'],
  i32x4Splat: [0xfd11, 'i32x4.splat', 'none'],
  i64x2Splat: [0xfd12, 'i64x2.splat', 'none'],
  i32x4ExtractLane: [0xfd1b, 'i32x4.extract_lane', 'lane'],
  i32x4ReplaceLane: [0xfd1c, 'i32x4.replace_lane', 'lane'],
  v128And: [0xfd4e, 'v128.and', 'none'],
  v128Or: [0xfd50, 'v128.or', 'none'],
  v128Xor: [0xfd51, 'v128.xor', 'none'],
  i32x4Shl: [0xfdab01, 'i32x4.shl', 'none'],
  i32x4ShrS: [0xfdac01, 'i32x4.shr_s', 'none'],
  i32x4ShrU: [0xfdad01, 'i32x4.shr_u', 'none'],
  i32x4Add: [0xfdae01, 'i32x4.add', 'none'],
  i32x4Sub: [0xfdb101, 'i32x4.sub', 'none'],
  i32x4Mul: [0xfdb501, 'i32x4.mul', 'none'],

  // Threads proposal: used only where the memory is shared.
  atomicFence: [0xfe03, 'atomic.fence', 'zero'],
  i32AtomicLoad: [0xfe10, 'i32.atomic.load', 'mem'],
  i64AtomicLoad: [0xfe11, 'i64.atomic.load', 'mem'],
  i64AtomicLoad8U: [0xfe14, 'i64.atomic.load8_u', 'mem'],
  i64AtomicLoad16U: [0xfe15, 'i64.atomic.load16_u', 'mem'],
  i64AtomicLoad32U: [0xfe16, 'i64.atomic.load32_u', 'mem'],
  i64AtomicStore: [0xfe18, 'i64.atomic.store', 'mem'],
  i64AtomicStore8: [0xfe1b, 'i64.atomic.store8', 'mem'],
  i64AtomicStore16: [0xfe1c, 'i64.atomic.store16', 'mem'],
  i64AtomicStore32: [0xfe1d, 'i64.atomic.store32', 'mem'],
  i64AtomicAdd: [0xfe1f, 'i64.atomic.rmw.add', 'mem'],
  i64AtomicAdd32: [0xfe24, 'i64.atomic.rmw32.add_u', 'mem'],
  i64AtomicAnd: [0xfe2d, 'i64.atomic.rmw.and', 'mem'],
  i64AtomicAnd32: [0xfe32, 'i64.atomic.rmw32.and_u', 'mem'],
  i64AtomicOr: [0xfe34, 'i64.atomic.rmw.or', 'mem'],
  i64AtomicOr32: [0xfe39, 'i64.atomic.rmw32.or_u', 'mem'],
  i64AtomicXor: [0xfe3b, 'i64.atomic.rmw.xor', 'mem'],
  i64AtomicXor32: [0xfe40, 'i64.atomic.rmw32.xor_u', 'mem'],
  i64AtomicXchg: [0xfe42, 'i64.atomic.rmw.xchg', 'mem'],
  i64AtomicXchg32: [0xfe47, 'i64.atomic.rmw32.xchg_u', 'mem'],
  i64AtomicCmpxchg: [0xfe49, 'i64.atomic.rmw.cmpxchg', 'mem'],
  i64AtomicCmpxchg32: [0xfe4e, 'i64.atomic.rmw32.cmpxchg_u', 'mem'],
} as const satisfies Record<string, readonly [number, string, Immediate]>;

export type OpName = keyof typeof TABLE;

/** Name → code, for the writer. */
export const OP = Object.fromEntries(Object.entries(TABLE).map(([name, [code]]) => [name, code])) as {
  readonly [Name in OpName]: (typeof TABLE)[Name][0];
};

const BY_CODE: ReadonlyMap<number, WasmOp> = new Map(
  Object.values(TABLE).map(([code, text, imm]) => [code, { code, text, imm }]),
);

/** The row of an opcode, for the printer. */
export function wasmOp(code: number): WasmOp | undefined {
  return BY_CODE.get(code);
}

/** Value types and the empty block type (section 5.3). */
export const TYPE = { i32: 0x7f, i64: 0x7e, v128: 0x7b, funcref: 0x70, func: 0x60, empty: 0x40 } as const;

export type ValueType = typeof TYPE.i32 | typeof TYPE.i64 | typeof TYPE.v128;

export function typeText(type: number): string {
  const named = Object.entries({ i32: TYPE.i32, i64: TYPE.i64, v128: TYPE.v128 }).find(
    ([, code]) => code === type,
  );
  return named?.[0] ?? `0x${type.toString(16)}`;
}
